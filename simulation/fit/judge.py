"""How far off the prior is on what it was not fitted to: models, families and accelerators that are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from router.domain.catalogue import Catalogue
from simulation.fit.solve import solve
from simulation.fit.terms import DECODE, PREFILL, Array, prefill_terms, terms
from simulation.measured import mlenergy, splitwise
from simulation.measured.row import Measured
from simulation.validate.streams import Point, Score, misses, scored

SEEDS: Final = tuple(range(20))
# Prompts up to a batch of this are prefilled at once; larger ones wait for each other in that stack.
PREFILL_BATCH: Final = 4.0
Key = Callable[[Measured], str]


@dataclass(frozen=True)
class Tables:
    """What is fitted to (`decode`, `prefill`) and what is reported on (`published`: the points of DECISION 2.1)."""

    catalogue: Catalogue
    decode: list[Measured]
    published: list[Measured]
    prefill: list[Measured]


def read(data: Path, catalogue: Catalogue) -> Tables:
    """The tables of a data folder.

    Raises:
        NoTable: one is missing.
    """
    rows = mlenergy.rows(data, catalogue)
    prompts = [row for row in splitwise.rows(data, catalogue) if row.batch <= PREFILL_BATCH]
    return Tables(catalogue, mlenergy.usual(rows), mlenergy.published(rows), prompts)


def fit(tables: Tables) -> dict[str, float]:
    """Every constant, by name."""
    decode = solve(terms(tables.decode, tables.catalogue), _tpot(tables.decode), DECODE)
    first = np.array([row.ttft_s for row in tables.prefill])
    prefill = solve(prefill_terms(tables.prefill, tables.catalogue), first, PREFILL)
    return {name: float(value) for name, value in zip((*DECODE, *PREFILL), (*decode, *prefill), strict=True)}


def by_model(row: Measured) -> str:
    """As the table names it: an FP8 and a 16-bit version are two."""
    return row.name


def by_architecture(row: Measured) -> str:
    """Stricter: all versions of one architecture are left out together."""
    return row.model.replace("-coder", "").replace("llama-3.3", "llama-3.1").replace("deepseek-r1", "deepseek-v3.1")


def by_family(row: Measured) -> str:
    """Stricter still: all that one maker trained in one generation."""
    names = ("qwen3", "llama-3", "llama-4", "gemma", "gpt-oss", "deepseek", "nemotron")
    return next((name for name in names if row.model.startswith(name)), row.model)


def left_out(
    tables: Tables, rows: Sequence[Measured], key: Key, *, of: Sequence[Measured] | None = None
) -> list[Point]:
    """The prior of each row by constants that were fitted without any row of the same key."""
    fitted = tables.decode if of is None else of
    decode, observed = terms(fitted, tables.catalogue), _tpot(fitted)
    wanted = terms(rows, tables.catalogue)
    keys, groups = np.array([key(row) for row in rows]), np.array([key(row) for row in fitted])
    prior = np.zeros(len(rows))
    for group in sorted(set(keys)):
        others = groups != group
        prior[keys == group] = wanted[keys == group] @ solve(decode[others], observed[others], DECODE)
    return points(tables, rows, prior)


def across(tables: Tables, rows: Sequence[Measured], *, from_: str, to: str) -> list[Point]:
    """The prior of the rows of one accelerator by constants that were fitted to another."""
    source = [row for row in tables.decode if row.accelerator == from_]
    target = [row for row in rows if row.accelerator == to]
    constants = solve(terms(source, tables.catalogue), _tpot(source), DECODE)
    return points(tables, target, terms(target, tables.catalogue) @ constants)


def points(tables: Tables, rows: Sequence[Measured], prior: Array) -> list[Point]:
    """Rows with a prior for each, (rows,) in seconds."""
    known = tables.catalogue
    return [
        Point(row, float(value), known.models[row.model], known.hardware[row.accelerator])
        for row, value in zip(rows, prior, strict=True)
    ]


def after(found: Sequence[Point], seen: int) -> Score:
    """Errors and coverage after so many observations of each stream, in random orders."""
    return scored(misses(found, seen, seeds=SEEDS))


def _tpot(rows: Sequence[Measured]) -> Array:
    return np.array([row.tpot_s for row in rows])
