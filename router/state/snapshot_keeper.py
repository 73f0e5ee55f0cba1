"""Writes the fleet's last good state to disk when it has changed: seldom, and without holding the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from router.clock import Clock
from router.state.codec import Document, Tombstone
from router.state.fold import Held, documents
from router.state.history import bounded
from router.state.keys import Kind
from router.state.snapshot_file import Body, SnapshotFile, document_line, revision_chunks

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# Of the time that passes at most this share is spent on writing.
_SHARE = 0.05
_RETRY_S = 5.0
_LAST_TRIES = 10
_LAST_PAUSE_S = 0.1
_HISTORY_BYTES = 8 * 1024 * 1024
_SLICE = 128


class SnapshotKeeper:
    """Writes what it is told of to the file, at most about once a second, without holding the event loop.

    Run `run()` in a task of the owner; `aclose()`, when that has ended, writes what is left.
    """

    def __init__(self, file: SnapshotFile, *, clock: Clock, interval_s: float = INTERVAL_S) -> None:
        self._file = file
        self._clock = clock
        self._interval_s = interval_s
        self._held: Held | None = None
        self._saved: Held | None = None
        self._changed = asyncio.Event()
        self._failing = False
        self._writing: asyncio.Task[bool] | None = None
        # The line of each document, for as long as it is the same object: only what has changed is encoded.
        self._lines: dict[tuple[Kind, str], tuple[Document | Tombstone, bytes]] = {}

    def note(self, held: Held) -> None:
        """This is the state now."""
        self._held = held
        self._changed.set()

    async def run(self) -> None:
        """Writes for ever; ends only by cancellation."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = self._clock.monotonic()
            done = await self.save()
            took_s = self._clock.monotonic() - began
            await asyncio.sleep(max(self._interval_s, took_s / _SHARE) if done else _RETRY_S)
            if not done:
                self._changed.set()

    async def aclose(self) -> None:
        for _ in range(_LAST_TRIES):
            if await self.save() or self._failing:
                return
            await asyncio.sleep(_LAST_PAUSE_S)

    async def save(self) -> bool:
        """Writes the state as it is now, if that is not on disk yet; False when that was not possible."""
        if self._writing is not None:
            # Its thread goes on when whoever waited for it is cancelled.
            await asyncio.gather(self._writing, return_exceptions=True)
        held = self._held
        if held is None or held is self._saved:
            return True
        body = await self.body(held)
        writing = asyncio.to_thread(self._file.write, body, saved_at=self._clock.time())
        self._writing = asyncio.create_task(writing, name="write fleet snapshot")
        try:
            written = await asyncio.shield(self._writing)
        except OSError as error:
            if not self._failing:
                _log.warning("the fleet snapshot %s cannot be written: %s", self._file.path, error)
            self._failing = True
            return False
        self._failing = False
        if written:
            self._saved = held
        return written

    async def body(self, held: Held) -> Body:
        """A state as lines; the event loop has its turn between slices of them."""
        tail = bounded(held.history.revisions, size=_HISTORY_BYTES)
        chunks: list[bytes] = []
        known, count = self._lines, 0
        lines: dict[tuple[Kind, str], tuple[Document | Tombstone, bytes]] = {}
        part: list[bytes] = []
        for kind, name, document in _everything(held):
            count += 1
            kept = known.get((kind, name))
            if kept is None or kept[0] is not document:
                at = document.at if isinstance(document, Tombstone) else held.times.get((kind, name), 0.0)
                kept = (document, document_line(kind, name, document, at))
            lines[kind, name] = kept
            part.append(kept[1])
            if len(part) == _SLICE:
                chunks.append(b"".join(part))
                part.clear()
                await asyncio.sleep(0)
        chunks.append(b"".join(part))
        self._lines = lines
        for revision in tail:
            chunks += revision_chunks(revision)
        return Body(
            version=held.snapshot.version,
            config_version=held.snapshot.config_version,
            documents=count,
            revisions=len(tail),
            chunks=tuple(chunks),
        )


def _everything(held: Held) -> Iterator[tuple[Kind, str, Document | Tombstone]]:
    yield from documents(held)
    for (kind, name), tombstone in held.tombstones.items():
        yield kind, name, tombstone
