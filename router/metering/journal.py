"""The cells of this process in a file, so that they outlive it.

Each request appends one frame to the page cache of the kernel, where it survives a kill -9; a flush once a second makes
it survive a loss of power. The lock on the file tells others that its owner lives. When the file has grown, its cells
are written to a new file of the next number and the old one is removed; until then there are both, which does no harm.

Nothing here fails a request or keeps it waiting: when the disk is full, or one write has been slow, counting goes on in
memory only, `failed` says so, and every few seconds a whole new file is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from router.clock import Clock
from router.metering.cells import CellKey, Cells
from router.metering.frames import pack

_log = logging.getLogger(__name__)

SUFFIX = ".usage"
REWRITE_BYTES = 8 << 20
SLOW_WRITE_S = 0.05
RETRY_S = 5.0
_ROWS_PER_FRAME = 500
# What is left for the step that cannot be interrupted; every other write of a rewrite is in a thread.
_LAST_ROWS = 100


class Journal:
    """`open` it first, `close` it in the end.

    Attributes:
        failed: what is appended now is in memory only.
        size: bytes of the file.
        rewrites: times that a new file took over.
    """

    def __init__(
        self, directory: Path, incarnation: str, cells: Cells, clock: Clock, *, rewrite_bytes: int = REWRITE_BYTES
    ) -> None:
        self._directory = directory
        self._incarnation = incarnation
        self._cells = cells
        self._clock = clock
        self._file = -1
        self._path = directory
        self._number = 0
        self._unflushed = False
        self._rewrite_bytes = self._rewrite_at = rewrite_bytes
        self._retry_at = 0.0
        # While a rewrite runs: what has changed since it began.
        self._since: dict[CellKey, None] | None = None
        self.failed = False
        self.size = 0
        self.rewrites = 0

    def open(self) -> None:
        """Begins the file; `failed` tells whether that was possible."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file, self._path = self._create()
        except OSError as error:
            self._fail(f"cannot be begun: {error}")

    def append(self, keys: Sequence[CellKey]) -> None:
        """Writes what the cells of these keys have come to. Never raises."""
        if self._since is not None:
            self._since.update(dict.fromkeys(keys))
        if self.failed:
            return
        began = self._clock.monotonic()
        try:
            values = self._cells.values
            frame = pack([(*key, *values[key]) for key in keys])
            written = os.write(self._file, frame)
        except (OSError, ValueError, OverflowError) as error:
            self._fail(str(error))
            return
        self.size += written
        self._unflushed = True
        if written < len(frame):
            self._fail("the disk is full")
        elif (took := self._clock.monotonic() - began) > SLOW_WRITE_S:
            self._fail(f"a write took {took:.2f} s")

    async def keep(self) -> None:
        """What is due: a flush, or a new file. To be called every second."""
        if self.failed:
            if self._clock.monotonic() >= self._retry_at:
                await self.rewrite()
        elif self.size >= self._rewrite_at:
            await self.rewrite()
        else:
            await self.flush()

    async def flush(self) -> bool:
        """Whether everything up to now is safe from a loss of power."""
        if self.failed:
            return False
        if self._unflushed:
            self._unflushed = False
            try:
                # Of a copy of the descriptor: the thread outlives a cancelled caller, who may close the file.
                await asyncio.to_thread(_flush_and_close, os.dup(self._file))
            except OSError as error:
                self._fail(str(error))
                return False
        return True

    async def rewrite(self) -> None:
        """Puts the cells into a new file and goes on with that."""
        new, path = -1, self._directory
        self._since = {}
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            new, path = self._create()
            size = await self._write(new, list(self._cells.values))
            while len(self._since) > _LAST_ROWS:
                recent, self._since = list(self._since), {}
                size += await self._write(new, recent)
            await asyncio.to_thread(_flush_and_close, os.dup(new))
            # No await from here to the change of files: a request in between would be in the old one only.
            if self._since:
                size += _write_all(new, self._frame(list(self._since)))
            old, old_path, self._file, self._path, new = self._file, self._path, new, path, -1
            self.size, self._rewrite_at, self._unflushed = size, max(self._rewrite_bytes, 2 * size), True
            self.rewrites += 1
            if self.failed:
                self.failed = False
                _log.info("the usage journal is written again")
        except (OSError, ValueError, OverflowError) as error:
            if self.failed:
                self._fail(str(error))
            else:
                # The file that is being written is still whole.
                self._rewrite_at = self.size + self._rewrite_bytes
                _log.warning("the usage journal in %s cannot be shortened: %s", self._directory, error)
            return
        finally:
            self._since = None
            if new >= 0:
                _remove(path, new)
        if old >= 0:
            await asyncio.to_thread(_remove, old_path, old)

    def close(self) -> None:
        """Ends it. An empty file is removed; another stays for the next process."""
        if self._file < 0:
            return
        if self.size == 0 and not self.failed:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._file)
        self._file = -1
        self.failed = True

    def _create(self) -> tuple[int, Path]:
        """A new file, locked before it has a name that others look for."""
        self._number += 1
        path = self._directory / f"{self._incarnation}.{self._number}{SUFFIX}"
        unnamed = path.with_suffix(".new")
        file = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unnamed.rename(path)
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                unnamed.unlink()
            raise
        return file, path

    async def _write(self, file: int, keys: Sequence[CellKey]) -> int:
        """Writes cells in slices, without holding the event loop, and tells how many bytes."""
        size = 0
        for first in range(0, len(keys), _ROWS_PER_FRAME):
            frame = self._frame(keys[first : first + _ROWS_PER_FRAME])
            # Of a copy of the descriptor, as in `flush`.
            size += await asyncio.to_thread(_write_and_close, os.dup(file), frame)
        return size

    def _frame(self, keys: Sequence[CellKey]) -> bytes:
        values = self._cells.values
        return pack([(*key, *cell) for key in keys if (cell := values.get(key)) is not None])

    def _fail(self, why: str) -> None:
        self._retry_at = self._clock.monotonic() + RETRY_S
        if not self.failed:
            self.failed = True
            _log.warning(
                "the usage journal in %s: %s; usage is counted in memory only, trying again every %g s",
                self._directory,
                why,
                RETRY_S,
            )


def _write_all(file: int, data: bytes) -> int:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
    return len(data)


def _write_and_close(file: int, data: bytes) -> int:
    try:
        return _write_all(file, data)
    finally:
        os.close(file)


def _flush_and_close(file: int) -> None:
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def _remove(path: Path, file: int) -> None:
    try:
        with contextlib.suppress(OSError):
            path.unlink()
    finally:
        os.close(file)
