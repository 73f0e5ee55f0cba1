"""The journals that dead processes left in our directory: whoever finds one takes its cells over and removes it.

The kernel drops the lock of a process that dies, however it dies. Taking over twice does no harm: cells keep the name
of the incarnation that counted them, and a copy that is not later changes nothing.
"""

from __future__ import annotations

import fcntl
import logging
from dataclasses import dataclass
from pathlib import Path

from router.metering.frames import Row, unpack
from router.metering.journal import SUFFIX

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Legacy:
    """A dead process's journal: the last copy of each row that can be read."""

    path: Path
    rows: tuple[Row, ...]

    def remove(self) -> None:
        """Only when its rows are safe elsewhere."""
        self.path.unlink(missing_ok=True)


def journals(directory: Path) -> list[Path]:
    """Every journal there, of the living and the dead, by name."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []


def read_dead(path: Path) -> Legacy | None:
    """The journal, or None while its owner lives or when it cannot be read."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return None
            data = file.read()
    except OSError as error:
        _log.warning("the usage journal %s of a dead process cannot be read: %s", path, error)
        return None
    latest: dict[tuple[int | str, ...], Row] = {}
    for rows in unpack(data):
        for row in rows:
            key = row[:5]
            if (known := latest.get(key)) is None or row[5] > known[5]:
                latest[key] = row
    return Legacy(path, tuple(latest.values()))
