"""Where the tables lie, and how one is opened."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from simulation.measured.row import NoTable

DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def folder(given: str | Path | None = None) -> Path:
    """The folder of tables: the one given, or `../shared/data` beside the project.

    Raises:
        NoTable: there is none.
    """
    path = Path(given) if given else DEFAULT
    if not path.is_dir():
        raise NoTable(f"no folder of measurements at {path}: give one with --data DIR")
    return path


def table(data: Path, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file below the folder, each with its line.

    Raises:
        NoTable: the file is not there.
    """
    path = data / name
    if not path.is_file():
        raise NoTable(f"{path} is missing: --data DIR must name a folder that holds {name}")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row
