"""How sure a sum over sampled requests is: a Poisson bootstrap, seeded, in plain Python.

Each replicate counts each request Poisson(1) times, which is what drawing with replacement comes to for many requests
and needs no more memory than one list. The interval is between two quantiles of the replicates.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

REPLICATES = 200
LOW, HIGH = 0.05, 0.95
_GRAIN = 4096


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 90 % interval."""

    value: float
    low: float
    high: float


def _poisson_table() -> list[int]:
    """Poisson(1) as equally likely cells: the counts of `_GRAIN` quantiles."""
    table: list[int] = []
    count, mass, cumulative = 0, math.exp(-1.0), math.exp(-1.0)
    for cell in range(_GRAIN):
        while (cell + 0.5) / _GRAIN > cumulative:
            count += 1
            mass /= count
            cumulative += mass
        table.append(count)
    return table


def replicates(weights: Sequence[float], *, count: int = REPLICATES, seed: int = 0) -> Iterator[list[float]]:
    """The weights, each times a Poisson number."""
    rng = random.Random(seed)
    table = _poisson_table()
    for _ in range(count):
        yield [weight * times for weight, times in zip(weights, rng.choices(table, k=len(weights)), strict=True)]


def figures(
    weights: Sequence[float],
    measure: Callable[[Sequence[float]], dict[str, float]],
    *,
    count: int = REPLICATES,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Figure]:
    """What `measure` makes of the weights, each figure with its interval; `advance` is called for each replicate."""
    real = measure(weights)
    drawn: dict[str, list[float]] = {name: [] for name in real}
    for replicate in replicates(weights, count=count, seed=seed):
        for name, value in measure(replicate).items():
            drawn[name].append(value)
        advance()
    return {name: Figure(value, *_between(drawn[name])) for name, value in real.items()}


def _between(values: list[float]) -> tuple[float, float]:
    ordered = sorted(value for value in values if not math.isnan(value))
    if not ordered:
        return math.nan, math.nan
    last = len(ordered) - 1
    return ordered[round(LOW * last)], ordered[round(HIGH * last)]
