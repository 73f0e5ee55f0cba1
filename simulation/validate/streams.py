"""Measurements as observations of the router's own belief: errors and intervals after so many of them.

A stream is what one backend would be: one model on so many accelerators of one kind. The belief is the router's
(`router.prediction.learning`), without the passing of time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.prediction.beginning import beginning
from router.prediction.learning import observe, tpot_features
from simulation.measured.row import Measured

Z50: Final = 0.674
Z90: Final = 1.645


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement with the prior for it, in seconds, of a model on an accelerator."""

    row: Measured
    prior_s: float
    model: Model
    hardware: Hardware


@dataclass(frozen=True, slots=True)
class Miss:
    """One forecast against what was measured: ln(measured / forecast), and its standard deviation as forecast."""

    point: Point
    off_log: float
    sd_log: float

    @property
    def relative(self) -> float:
        """|forecast - measured| over measured."""
        return abs(math.expm1(-self.off_log))


def streams(points: Iterable[Point]) -> list[list[Point]]:
    """The points by stream, in the order in which they came."""
    found: dict[object, list[Point]] = defaultdict(list)
    for point in points:
        found[point.row.stream].append(point)
    return list(found.values())


def believer(point: Point) -> Learned:
    """The belief that the router begins with for such a backend."""
    return beginning(point.model, point.hardware, point.row.engine)


def misses(
    points: Iterable[Point],
    seen: int,
    *,
    seeds: Sequence[int] | None = None,
    begin: Callable[[Point], Learned] = believer,
) -> list[Miss]:
    """Forecasts of what comes after the first `seen` of each stream: in the order given, or shuffled by each seed."""
    found: list[Miss] = []
    for stream in streams(points):
        for seed in (None,) if seeds is None else seeds:
            order = list(stream)
            if seed is not None:
                # A seed of its own for each stream, so that one more stream changes none of the others.
                Random(f"{seed} {stream[0].row.stream}").shuffle(order)
            found += _after(order, seen, begin)
            if not seen:
                break  # without observations the order says nothing
    return found


def _after(order: list[Point], seen: int, begin: Callable[[Point], Learned]) -> list[Miss]:
    if len(order) <= seen:
        return []
    learned = begin(order[0])
    for point in order[:seen]:
        row = point.row
        observe(
            learned,
            prior_ttft_s=1.0,
            prior_tpot_s=point.prior_s,
            ttft_s=None,
            tpot_s=row.tpot_s,
            now=0.0,
            batch=row.batch - 1.0,
            context_tokens=row.context_tokens,
        )
    found = []
    for point in order[seen:]:
        x1, x2 = tpot_features(point.row.batch - 1.0, point.row.context_tokens)
        off = math.log(point.row.tpot_s / point.prior_s) - learned.tpot.mean(x1, x2)
        found.append(Miss(point, off, math.sqrt(learned.tpot.variance(x1, x2))))
    return found


@dataclass(frozen=True, slots=True)
class Score:
    """Of many misses: mean and p90 of relative errors, median of forecast over measured, its spread, coverage."""

    n: int
    mean_error: float
    p90: float
    median_ratio: float
    sd_log: float
    cover50: float
    cover90: float


def score(found: Sequence[Miss]) -> Score | None:
    """Sums up; None where there is nothing to sum up."""
    n = len(found)
    if not n:
        return None
    errors = sorted(miss.relative for miss in found)
    logs = sorted(-miss.off_log for miss in found)
    mean = sum(logs) / n
    return Score(
        n=n,
        mean_error=sum(errors) / n,
        p90=errors[min(n - 1, math.ceil(0.9 * n) - 1)],
        median_ratio=math.exp(0.5 * (logs[(n - 1) // 2] + logs[n // 2])),
        sd_log=math.sqrt(sum((log - mean) ** 2 for log in logs) / n),
        cover50=sum(abs(miss.off_log) <= Z50 * miss.sd_log for miss in found) / n,
        cover90=sum(abs(miss.off_log) <= Z90 * miss.sd_log for miss in found) / n,
    )


def scored(found: Sequence[Miss]) -> Score:
    """Sums up misses of which there are some."""
    summed = score(found)
    if summed is None:
        raise ValueError("nothing was measured")
    return summed
