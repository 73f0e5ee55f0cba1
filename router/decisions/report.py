"""What a replay comes to: shares, money, attainment, energy and times on both sides, with intervals, and who moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul

from router.decisions.bootstrap import REPLICATES, Figure, figures
from router.decisions.replay import Choice, Played, Replayed

MOVERS = 10
BACKENDS = 12
# Fewer requests that were really served by their choice say nothing about predictions in general.
CALIBRATED_FROM = 20


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure on both sides, and their difference."""

    before: Figure
    after: Figure
    difference: Figure


@dataclass(frozen=True, slots=True)
class Mover:
    """Requests that would go from one backend to another, "" for nobody, and what that does to cost."""

    source: str
    target: str
    requests: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a replay. `requests` are those that the `records` stand for."""

    records: int
    requests: float
    reproduced: int
    moved: Figure
    figures: dict[str, Compared]
    shares: dict[str, Compared]
    movers: tuple[Mover, ...]
    calibration: float
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def report(
    played: Played,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
    notes: Sequence[str] = (),
) -> Report:
    """Sums up; `advance` is called for each replicate of the bootstrap."""
    requests = played.requests
    weights = [one.weight for one in requests]
    ratio = _calibration(requests)
    names = _busiest(requests)
    measured = figures(weights, _Measure(requests, names, ratio), count=replicates, seed=seed, advance=advance)

    def compared(name: str) -> Compared:
        return Compared(measured[f"{name} before"], measured[f"{name} after"], measured[f"{name} difference"])

    return Report(
        records=len(requests),
        requests=sum(weights),
        reproduced=sum(one.same for one in requests),
        moved=measured["moved"],
        figures={name: compared(name) for name in FIGURES},
        shares={name: compared(f"share of {name}") for name in names},
        movers=_movers(requests),
        calibration=ratio,
        warnings=tuple(_warnings(played)),
        notes=tuple(notes),
    )


FIGURES = ("served", "cost_usd", "slo_attainment", "energy_j", "carbon_g", "ttft_p50_s", "ttft_p90_s")


class _Measure:
    """Every figure of the report from the weights of the requests."""

    def __init__(self, requests: Sequence[Replayed], names: Sequence[str], ratio: float) -> None:
        self._moved = [float(one.before.backend != one.after.backend) for one in requests]
        self._sums: list[tuple[str, list[float], list[float]]] = []
        self._shares: list[tuple[str, list[float], list[float]]] = []
        sides = [one.before for one in requests], [one.after for one in requests]

        def both(value: Callable[[Choice], float]) -> tuple[list[float], list[float]]:
            return [value(choice) for choice in sides[0]], [value(choice) for choice in sides[1]]

        self._sums = [
            ("cost_usd", *both(lambda c: c.cost_usd)),
            ("energy_j", *both(lambda c: c.energy_j)),
            ("carbon_g", *both(lambda c: c.carbon_g)),
        ]
        self._shares = [
            ("served", *both(lambda c: float(bool(c.backend)))),
            ("slo_attainment", *both(lambda c: _attained(c, ratio))),
        ]
        self._shares += [(f"share of {name}", *both(lambda c, n=name: float(c.backend == n))) for name in names]  # type: ignore[misc]
        self._times = tuple(
            sorted((choice.ttft_s, at) for at, choice in enumerate(side) if choice.backend) for side in sides
        )

    def __call__(self, weights: Sequence[float]) -> dict[str, float]:
        total = sum(weights) or 1.0
        found = {"moved": sum(map(mul, weights, self._moved)) / total}
        for group, scale in ((self._sums, 1.0), (self._shares, total)):
            for name, before, after in group:
                was, would = sum(map(mul, weights, before)) / scale, sum(map(mul, weights, after)) / scale
                found |= {f"{name} before": was, f"{name} after": would, f"{name} difference": would - was}
        for name, share in (("ttft_p50_s", 0.5), ("ttft_p90_s", 0.9)):
            was, would = (_quantile(times, weights, share) for times in self._times)
            found |= {f"{name} before": was, f"{name} after": would, f"{name} difference": would - was}
        return found


def _quantile(times: Sequence[tuple[float, int]], weights: Sequence[float], share: float) -> float:
    total = sum(weights[at] for _, at in times)
    running = 0.0
    for seconds, at in times:
        running += weights[at]
        if running >= share * total and running > 0.0:
            return seconds
    return 0.0


def _attained(choice: Choice, ratio: float) -> float:
    """What was measured where this backend served; the prediction, by how good predictions were, elsewhere."""
    if not choice.backend:
        return 0.0
    return choice.met if choice.met is not None else min(1.0, ratio * choice.likely)


def _calibration(requests: Sequence[Replayed]) -> float:
    """Objectives met over objectives expected to be met, where the choice really served."""
    known = [(one.weight, one.before) for one in requests if one.before.met is not None]
    expected = sum(weight * choice.likely for weight, choice in known)
    if len(known) < CALIBRATED_FROM or expected <= 0.0:
        return 1.0
    return sum(weight * (choice.met or 0.0) for weight, choice in known) / expected


def _busiest(requests: Sequence[Replayed]) -> list[str]:
    totals: dict[str, float] = {}
    for one in requests:
        for choice in (one.before, one.after):
            if choice.backend:
                totals[choice.backend] = totals.get(choice.backend, 0.0) + one.weight
    return sorted(totals, key=lambda name: (-totals[name], name))[:BACKENDS]


def _movers(requests: Sequence[Replayed]) -> tuple[Mover, ...]:
    moves: dict[tuple[str, str], tuple[float, float]] = {}
    for one in requests:
        pair = (one.before.backend, one.after.backend)
        if pair[0] != pair[1]:
            count, cost = moves.get(pair, (0.0, 0.0))
            moves[pair] = (count + one.weight, cost + one.weight * (one.after.cost_usd - one.before.cost_usd))
    ordered = sorted(moves.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Mover(*pair, count, cost) for pair, (count, cost) in ordered[:MOVERS])


def _warnings(played: Played) -> list[str]:
    requests = played.requests
    told = []
    new = sorted({one.after.backend for one in requests} - played.seen - {""})
    if new:
        told.append(f"the log never saw {', '.join(new)}: figures of these are the prior's, at no load")
    if played.unreadable:
        told.append(f"{played.unreadable} records could not be understood and are left out")
    wrong = sum(not one.same for one in requests)
    if wrong:
        told.append(f"{wrong} of {len(requests)} decisions did not come out again as recorded: {played.mismatches[0]}")
    if played.cut:
        told.append(f"{played.cut} records had more candidates than a record holds; those left out take no part")
    if any(one.before.backend != one.after.backend for one in requests):
        told.append("the load that moved requests would make is not played back")
    return told
