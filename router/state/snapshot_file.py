"""The last good state on disk.

A replica that starts while the store is away serves from it, and a store that was wiped while no replica ran is rebuilt
from it. One file for each store and namespace: a line that says what it is, then one line per document, tombstone and
revision. It is written beside the old one, flushed to the disk and renamed, so that a crash leaves the old or the new
one whole. Replicas on one machine may share it: the newest fleet version stays. A file that is damaged or of another
store is named in the log and left out of account. To begin anew on purpose with an empty store, remove it first.

A router that runs its own store (no `REDIS_URL`) neither writes nor reads one: there the configuration files are the
truth of every start.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from router.clock import Clock
from router.state import codec
from router.state.codec import Document, Tombstone
from router.state.fold import Draft, Held, documents
from router.state.history import History, StoredRevision, bounded
from router.state.keys import Kind

_log = logging.getLogger(__name__)

FORMAT = 1
INTERVAL_S = 1.0
# Of the time that passes at most this share is spent on writing.
_SHARE = 0.05
_RETRY_S = 5.0
_HISTORY_BYTES = 8 * 1024 * 1024
_SLICE = 128
_MAGIC = b"inference-router fleet snapshot"


class BadSnapshotError(Exception):
    """The file is damaged, or of another store; the message says why."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    store: str
    version: int
    config_version: int
    saved_at: float
    documents: int
    revisions: int
    size: int
    sha256: str


class _Line(msgspec.Struct, frozen=True):
    kind: str
    id: str
    version: int
    at: float
    doc: msgspec.Raw


class _RevisionLine(msgspec.Struct, frozen=True):
    version: int
    at: str
    actor: str
    origin: str
    action: str
    note: str
    changes: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A state as lines, ready to be written."""

    version: int
    config_version: int
    documents: int
    revisions: int
    chunks: tuple[bytes, ...]


_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_revision = msgspec.json.Decoder(_RevisionLine).decode


class SnapshotFile:
    """One file; its methods wait for the disk, so the event loop calls them in a thread."""

    def __init__(self, directory: Path, store: str) -> None:
        """`store`: what `router.state.connection.store_identity` calls the store and its namespace."""
        self.path = directory / f"fleet-{store}.snapshot"
        self._store = store

    def read(self) -> tuple[Held, float] | None:
        """The state and when it was saved, Unix seconds; None when there is none that can be used."""
        try:
            data = self.path.read_bytes()
            return self._decode(data)
        except FileNotFoundError:
            return None
        except (OSError, BadSnapshotError) as error:
            _log.warning("the fleet snapshot %s is not used: %s", self.path, error)
            return None

    def write(self, body: Body, *, saved_at: float) -> bool:
        """Replaces the file, unless it is newer or another replica is writing it; True when it has been.

        Raises:
            OSError: the disk does not take it.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as mine:
            if not mine or self._version_on_disk() > body.version:
                return False
            digest = hashlib.sha256()
            for chunk in body.chunks:
                digest.update(chunk)
            head = _Head(
                format=FORMAT,
                store=self._store,
                version=body.version,
                config_version=body.config_version,
                saved_at=saved_at,
                documents=body.documents,
                revisions=body.revisions,
                size=sum(map(len, body.chunks)),
                sha256=digest.hexdigest(),
            )
            beside = self.path.with_suffix(".new")
            with open(beside, "wb", opener=_private) as file:
                file.write(_head_line(head))
                for chunk in body.chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            _flush_directory(self.path.parent)
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether the file is ours to write: the system frees the lock of a replica that dies."""
        with open(self.path.with_suffix(".lock"), "wb", opener=_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _version_on_disk(self) -> int:
        try:
            with self.path.open("rb") as file:
                return self._check_head(file.readline(4096)).version
        except (OSError, BadSnapshotError):
            return -1

    def _check_head(self, line: bytes) -> _Head:
        magic, _, rest = line.rstrip(b"\n").partition(b" {")
        text = b"{" + rest
        name, _, checksum = magic.rpartition(b" ")
        if name != _MAGIC or checksum != b"%08x" % zlib.crc32(text):
            raise BadSnapshotError("its first line is damaged, or it is something else")
        try:
            head = _decode_head(text)
        except msgspec.MsgspecError as error:
            raise BadSnapshotError(f"its first line cannot be read: {error}") from None
        if head.format != FORMAT:
            raise BadSnapshotError(f"its format is {head.format}, this version reads {FORMAT}")
        if head.store != self._store:
            raise BadSnapshotError("it is of another store or namespace")
        return head

    def _decode(self, data: bytes) -> tuple[Held, float]:
        first, _, body = data.partition(b"\n")
        head = self._check_head(first)
        if len(body) != head.size or hashlib.sha256(body).hexdigest() != head.sha256:
            raise BadSnapshotError("its checksum is wrong")
        lines = body.split(b"\n")[:-1]
        if len(lines) != head.documents + head.revisions:
            raise BadSnapshotError("lines are missing")
        draft = Draft(Held())
        draft.version, draft.config_version = head.version, head.config_version
        for line in lines[: head.documents]:
            _take(draft, line)
        draft.history = _history(lines[head.documents :])
        return draft.done(), head.saved_at


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
        await self.save()

    async def save(self) -> bool:
        """Writes the state as it is now, if that is not on disk yet; False when the disk did not take it."""
        held = self._held
        if held is None or held is self._saved:
            return True
        body = await self._body(held)
        try:
            await asyncio.to_thread(self._file.write, body, saved_at=self._clock.time())
        except OSError as error:
            if not self._failing:
                _log.warning("the fleet snapshot %s cannot be written: %s", self._file.path, error)
            self._failing = True
            return False
        self._failing = False
        self._saved = held
        return True

    async def _body(self, held: Held) -> Body:
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
                kept = (document, _line(kind, name, document, at))
            lines[kind, name] = kept
            part.append(kept[1])
            if len(part) == _SLICE:
                chunks.append(b"".join(part))
                part.clear()
                await asyncio.sleep(0)
        chunks.append(b"".join(part))
        self._lines = lines
        for revision in tail:
            chunks += _revision_chunks(revision)
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


def _line(kind: Kind, name: str, document: Document | Tombstone, at: float) -> bytes:
    doc = b"null" if isinstance(document, Tombstone) else codec.encode(document)
    return _encode(_Line(kind.value, name, document.version, at, msgspec.Raw(doc))) + b"\n"


def _take(draft: Draft, text: bytes) -> None:
    """One document of the file; one that cannot be read is named in the log and left out."""
    try:
        line = _decode_line(text)
        kind, doc = Kind(line.kind), bytes(line.doc)
        if doc == b"null":
            draft.bury(kind, line.id, Tombstone(line.version, line.at))
        else:
            draft.put(kind, line.id, codec.decode(kind, line.id, doc, version=line.version, at=line.at), line.at)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("skipped a document of the fleet snapshot on disk: %s: %.80r", error, text)


def _revision_chunks(stored: StoredRevision) -> tuple[bytes, ...]:
    """The line of a revision; its changes, which may be many megabytes, are not copied."""
    head = _encode(
        {
            "version": stored.version,
            "at": stored.at,
            "actor": stored.actor,
            "origin": stored.origin,
            "action": stored.action,
            "note": stored.note,
        }
    )
    # Between the tokens of JSON a line break means nothing, and inside of them there is none.
    changes = stored.changes.replace(b"\n", b" ") if b"\n" in stored.changes else stored.changes
    return head[:-1] + b',"changes":', changes, b"}\n"


def _history(texts: Sequence[bytes]) -> History:
    """The revisions, but for one that cannot be read and those before it: a history has no gaps."""
    found: list[StoredRevision] = []
    for text in texts:
        try:
            line = _decode_revision(text)
        except msgspec.MsgspecError as error:
            _log.warning("skipped a revision of the fleet snapshot on disk: %s: %.80r", error, text)
            found.clear()
            continue
        head = (line.version, line.at, line.actor, line.origin, line.action, line.note)
        found.append(StoredRevision(*head, changes=bytes(line.changes)))
    return History(tuple(found))


def _head_line(head: _Head) -> bytes:
    text = _encode(head)
    return b"%s %08x %s\n" % (_MAGIC, zlib.crc32(text), text)


def _private(path: str, flags: int) -> int:
    """Addresses of backends and hashes of keys are nobody else's business."""
    return os.open(path, flags, 0o600)


def _flush_directory(directory: Path) -> None:
    """A rename is on disk when its directory is."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
