"""Lines of usage as CSV and as Parquet. A file appears when it is whole: what was there before stays until then."""

from __future__ import annotations

import csv
import importlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import click

from router.cli.usage_lines import FIGURES, Line

STDOUT = "-"
_ROWS_PER_GROUP = 10_000


def write_csv(path: str, by: Sequence[str], lines: Iterable[Line]) -> None:
    """Times are ISO 8601 in UTC, dollars exact decimals; "-" is standard output."""
    if path == STDOUT:
        _write_csv(sys.stdout, by, lines)
        return
    with _whole(Path(path)) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        _write_csv(file, by, lines)


def write_parquet(path: str, by: Sequence[str], lines: Iterable[Line]) -> None:
    """Typed: UTC timestamps, unsigned counts, dollars as decimal128(18, 9)."""
    arrow, parquet = load_pyarrow()
    kinds = {"hour": arrow.timestamp("ms", tz="UTC"), "day": arrow.date32()}
    schema = arrow.schema([
        *(arrow.field(name, kinds.get(name, arrow.string()), nullable=False) for name in by),
        *(arrow.field(name, arrow.uint64(), nullable=False) for name in FIGURES),
        arrow.field("cost_usd", arrow.decimal128(18, 9), nullable=False),
        arrow.field("energy_j", arrow.float64(), nullable=False),
    ])  # fmt: skip
    waiting = iter(lines)
    with _whole(Path(path)) as unfinished, parquet.ParquetWriter(unfinished, schema) as writer:
        while batch := list(islice(waiting, _ROWS_PER_GROUP)):
            columns = zip(*((*x.group, *x.figures, x.cost_usd, x.energy_j) for x in batch), strict=True)
            arrays = [arrow.array(values, f.type) for values, f in zip(columns, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def load_pyarrow() -> tuple[ModuleType, ModuleType]:
    """An optional package, as it is larger than all others together.

    Raises:
        click.ClickException: it is not installed; says what to do.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise click.ClickException(
            "Parquet needs the package pyarrow: pip install 'inference-router[export]', or use --csv"
        ) from None


def _write_csv(file: TextIO, by: Sequence[str], lines: Iterable[Line]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*by, *FIGURES, "cost_usd", "energy_j"))
    for line in lines:
        writer.writerow((*map(shown, line.group), *line.figures, f"{line.cost_usd:f}", f"{line.energy_j:.3f}"))


def shown(value: Any) -> str:
    """A dimension's value as text."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else str(value)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends well."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        try:
            yield unfinished
            # As a new file would have it: mkstemp's own mode is for secrets.
            mask = os.umask(0)
            os.umask(mask)
            unfinished.chmod(0o666 & ~mask)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror or error}") from None
