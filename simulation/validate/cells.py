"""Cells of anybody's CSV file: how it is encoded and separated, and what its numbers mean. What was assumed is said."""

from __future__ import annotations

import csv
import math
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulation.measured.row import NoTable

SEPARATORS: Final = ",;\t|"
SEPARATOR_NAMES: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
COMMENT: Final = "# "
# What may stand behind a number in its cell.
TIMES: Final = {
    "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "\u00b5s": 1e-6,
}  # fmt: skip
# "1k" of a context is 1,024 tokens: so do benchmarks say it.
K: Final = 1024.0
_NUMBER = re.compile(r"^([-+]?[\d.,'_\u00a0\u202f ]*\d[\d.,]*(?:e[-+]?\d+)?)\s*([a-z\u00b5]*)$", re.IGNORECASE)
_GROUPED = re.compile(r"^[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$")
_GROUPED_BY_DOTS = re.compile(r"^[-+]?[1-9]\d{0,2}(\.\d{3})+$")
_COMMA = re.compile(r"^[-+]?\d+,\d+$")
_DOT = re.compile(r"^[-+]?\d+\.\d+$")


@dataclass(frozen=True, slots=True)
class Cells:
    """A file as text: its header, its rows (line, cells by column), and what had to be assumed to read it.

    `uneven` are lines with more cells than there are columns, as a comma within a number makes them.
    """

    header: list[str]
    rows: list[tuple[int, dict[str, str]]]
    uneven: list[tuple[int, int]]
    said: list[str]
    decimal_comma: bool = False


def cells(path: Path) -> Cells:
    """Reads a file.

    Raises:
        NoTable: it cannot be read, or is empty.
    """
    try:
        text = _text(path.read_bytes())
    except OSError as error:
        raise NoTable(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise NoTable(f"{path}: is not text: {error}") from error
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith(COMMENT)), "")
    if not first:
        raise NoTable(f"{path}: is empty")
    outside = re.sub(r'"[^"]*"', "", first)
    separator = max(SEPARATORS, key=outside.count)
    said = [f"cells are separated by {SEPARATOR_NAMES[separator]}"] if separator != "," else []
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    header: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    uneven: list[tuple[int, int]] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row) or row[0].startswith(COMMENT):
                continue
            if not header:
                header = [cell.strip() for cell in row]
            elif len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                uneven.append((reader.line_num, len(row)))
            else:
                # Of two columns with one name the first is read, so it is written last.
                rows.append((reader.line_num, dict(reversed(list(zip(header, row, strict=False))))))
    except csv.Error as error:
        raise NoTable(f"{path}: line {reader.line_num}: {error}") from error
    said += [f"column '{name}' is there twice: the first is read" for name in _twice(header)]
    decimal_comma = separator != "," and _decimal_comma(rows)
    if decimal_comma:
        said.append("commas in numbers are read as decimal marks")
    return Cells([name for name in dict.fromkeys(header) if name], rows, uneven, said, decimal_comma)


def number(text: str, *, decimal_comma: bool = False) -> tuple[float, float | None] | None:
    """(A finite number, seconds of the unit behind it if there is one), or None: "1,024", "20.0 ms", "8k", "1e3"."""
    found = _NUMBER.match(text.strip())
    if found is None:
        return None
    digits, unit = re.sub(r"['_\u00a0\u202f ]", "", found[1]), found[2].lower()
    if decimal_comma:
        if "," in digits or _GROUPED_BY_DOTS.match(digits):
            digits = digits.replace(".", "").replace(",", ".")
    elif _GROUPED.match(digits):
        digits = digits.replace(",", "")
    try:
        value = float(digits)
    except ValueError:
        return None
    if unit == "k":
        value *= K
    elif unit and unit not in TIMES:
        return None
    return (value, TIMES.get(unit)) if math.isfinite(value) else None


def _text(raw: bytes) -> str:
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in raw:
            raise
        return raw.decode("cp1252")


def _twice(header: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(header) if name and header.count(name) > 1]


def _decimal_comma(rows: list[tuple[int, dict[str, str]]]) -> bool:
    """Some number has a comma that separates no thousands, and none has a decimal point."""
    numbers = [cell.strip() for _, row in rows for cell in row.values()]
    return any(_COMMA.match(cell) and not _GROUPED.match(cell) for cell in numbers) and not any(
        _DOT.match(cell) and not _GROUPED_BY_DOTS.match(cell) for cell in numbers
    )
