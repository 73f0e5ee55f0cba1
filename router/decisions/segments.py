"""The files of the decision log: segments of lines, the oldest of which go when all together are too large.

Several processes may write into one directory, each into segments of its own; a lock tells a segment that is being
written, which nobody else removes. A crash leaves a torn last line at most, and readers skip it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from router.decisions.record import SUFFIX

PER_LOG = 16
MIN_SEGMENT_BYTES = 64 << 10


class Segments:
    """Appends to the newest segment of this process. Its methods wait for the disk: call them in a thread.

    Attributes:
        size: bytes of the segment that is being written.
    """

    def __init__(self, directory: Path, owner: str, *, max_bytes: int) -> None:
        self._directory = directory
        self._owner = owner
        self._max_bytes = max_bytes
        self._limit = max(MIN_SEGMENT_BYTES, max_bytes // PER_LOG)
        self._file = -1
        self._number = 0
        self.size = 0

    def full(self, waiting: int = 0) -> bool:
        """True when a new segment is to be begun, also for the first one; `waiting` bytes are to be appended yet."""
        return self._file < 0 or self.size + waiting >= self._limit

    def begin(self, unix: float) -> None:
        """Begins a segment, and makes room for it.

        Raises:
            OSError: the disk does not take it.
        """
        self.close()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room()
        self._number += 1
        # By name they are in the order of time.
        path = self._directory / f"{int(unix):012d}-{self._owner}.{self._number:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.size = os.fstat(self._file).st_size

    def append(self, data: bytes) -> None:
        """Writes whole lines.

        Raises:
            OSError: the disk does not take them; what was written of them is a torn line.
        """
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self.size += written
            left = left[written:]

    def close(self) -> None:
        """Ends the segment."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _make_room(self) -> None:
        """Removes the oldest segments until one more fits."""
        files = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            with contextlib.suppress(OSError):
                files.append((path, path.stat().st_size))
        total = sum(size for _, size in files)
        for path, size in files:
            # One segment to be filled, and as much again for a last record, however long.
            if total <= self._max_bytes - 2 * self._limit:
                return
            if _unowned(path):
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size


def _unowned(path: Path) -> bool:
    """Whether nobody writes it any more."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def segments_of(path: Path) -> Iterator[Path]:
    """The segments that a path names: itself, or those in the directory and below it, by name."""
    if path.is_dir():
        yield from sorted(path.rglob(f"*{SUFFIX}"), key=lambda found: (found.name, str(found)))
    else:
        yield path
