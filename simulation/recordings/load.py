"""A folder of recordings, DIRECTORY/provider/file, read as a whole: what is in it, and what of it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from simulation.recordings.formats import SUFFIXES, Unreadable, read_file
from simulation.recordings.interaction import Interaction
from simulation.recordings.predictions import joined

# What lies beside recordings and is none.
_NOT_RECORDINGS = frozenset({"index.json", "package.json", "metadata.json", "manifest.json"})


class NoRecordings(ValueError):
    """No such folder, or nothing in it that could be a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A file, or an interaction of one, that cannot be read."""

    provider: str
    file: str
    reason: str


@dataclass(slots=True)
class Library:
    """All of a folder. `files` counts recordings by provider, `others` are files that are none by their names."""

    files: dict[str, int] = field(default_factory=dict)
    interactions: list[Interaction] = field(default_factory=list)
    unreadable: list[Trouble] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def load(directory: Path, *, on_file: Callable[[int, int], None] = lambda _done, _of: None) -> Library:
    """Reads every file below the directory; the folder that a file lies in names its provider.

    Args:
        directory: the folder.
        on_file: told how many files of how many are read.

    Raises:
        NoRecordings: there is nothing to read.
    """
    if not directory.exists():
        raise NoRecordings(f"{directory}: no such directory")
    if not directory.is_dir():
        raise NoRecordings(f"{directory}: not a directory")
    files, others = _files(directory)
    if not files:
        raise NoRecordings(f"{directory}: no recordings in it (DIRECTORY/provider/file.yaml or .json)")
    library = Library(others=others)
    for done, file in enumerate(files, start=1):
        provider = file.parent.name if file.parent != directory else ""
        name = file.relative_to(directory).as_posix()
        library.files[provider] = library.files.get(provider, 0) + 1
        try:
            found = read_file(file)
        except Unreadable as error:
            library.unreadable.append(Trouble(provider=provider, file=name, reason=str(error)))
            found = []
        placed = []
        for number, item in enumerate(found):
            if isinstance(item, Unreadable):
                where = f"{name}#{number}"
                library.unreadable.append(Trouble(provider=provider, file=where, reason=str(item)))
            else:
                placed.append(replace(item, provider=provider, file=name, number=number))
        library.interactions += joined(placed)
        on_file(done, len(files))
    return library


def _files(directory: Path) -> tuple[list[Path], list[str]]:
    files: list[Path] = []
    others: list[str] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix.lower() in SUFFIXES and name.lower() not in _NOT_RECORDINGS and not name.startswith("."):
                files.append(path)
            else:
                others.append(path.relative_to(directory).as_posix())
    return files, others
