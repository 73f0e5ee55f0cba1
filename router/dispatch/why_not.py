"""Answers "why not that one?": what kept it out or what it lost by, and what would have to change for it to be chosen.

Each change is found by deciding again with it, by the decider that serves, over copies of the request, the backend and
its state: a price, a time or a load by bisection, a constraint by loosening what dropped the backend until nothing
does. Ties are decided by the least objective, not by a draw, so that the answer is the same each time. No term of the
objective depends on the other candidates, so the best of them stand for all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from router.clock import Clock
from router.dispatch.decider import Decider, Plan
from router.dispatch.fleet import Fleet
from router.dispatch.loosening import Alter, loosen
from router.dispatch.plain import copied, names, remade
from router.dispatch.supposed import SupposedFleet
from router.domain.pricing import PriceBook
from router.domain.request import RequestProfile
from router.domain.rows import Forecast, Row
from router.domain.snapshot import FleetSnapshot
from router.domain.why import ChangeKind, Counterfactual, WhyNot
from router.errors import NotFound
from router.prediction.output_length import OutputLength
from router.scheduling import filters
from router.scheduling.objective import terms

RIVALS = 16
DROPPED_RIVALS = 64
STEPS = 24
# A backend is kept out by some filters at once, and a filter tells only the first.
MAX_LOOSENED = 12
RELATIVE_STEP = 1e-4
# A draw that lets no class explore.
NEVER_EXPLORES = 1.0 - 2.0**-53
LIFETIME_S = 1e6  # an objective as loose as that is none


class _Still:
    """A clock that stands at the moment of the decision."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic, self._time = clock.monotonic(), clock.time()

    def monotonic(self) -> float:
        return self._monotonic

    def time(self) -> float:
        return self._time


@dataclass(frozen=True, slots=True)
class _Trial:
    """The request, and what is changed of the backend in question."""

    profile: RequestProfile
    price: float = 1.0
    alters: tuple[Alter, ...] = ()

    def altered(self, alter: Alter) -> _Trial:
        return replace(self, alters=(*self.alters, alter))


class _BenchFleet(SupposedFleet):
    """A supposed fleet in which rows can be swapped for altered ones."""

    def swap(self, rows: list[Row]) -> None:
        self._swapped = {(row.id, row.model): row for row in rows}

    def rows_for(self, name: str) -> list[Row]:
        return [self._swapped.get((row.id, row.model), row) for row in super().rows_for(name)]


class _Bench:
    """Decides trials over the backend in question and its rivals, as they are at this moment."""

    def __init__(self, fleet: Fleet, lengths: OutputLength, clock: Clock, target: str, plan: Plan) -> None:
        self._real = fleet
        self._clock = clock
        self._target = target
        # Whoever is dropped now may be let in by what is loosened.
        rivals = [f.row.id for f in plan.ranking.ordered[:RIVALS]]
        rivals += [row.id for row, _, _ in plan.ranking.dropped[:DROPPED_RIVALS]]
        chosen = {target, *rivals}
        whole = fleet.snapshot
        # In the order of the fleet, so that equal candidates stand as they do there.
        backends = {name: whole.backends[name] for name in fleet.members if name in chosen and name in whole.backends}
        self._snapshot = replace(
            whole,
            backends=backends,
            prices={key: book for key, book in whole.prices.items() if key[0] in backends},
            health={name: whole.health[name] for name in backends if name in whole.health},
        )
        self._fleet = self._made(self._snapshot)
        self._own = [row for rows in self._fleet.served().values() for row in rows if row.id == target]
        age_s = plan.age_s
        self._decider = Decider(
            fleet=self._fleet,
            lengths=lengths,
            clock=clock,
            uniform=lambda: NEVER_EXPLORES,
            age=lambda: age_s,
            money=lambda _: plan.shape.money_multiplier,
        )

    def decide(self, trial: _Trial) -> tuple[Plan, list[Forecast], list[tuple[Row, int, Forecast | None]]]:
        """The plan, and the target's forecasts and drops in it."""
        rows = self._priced(trial.price)
        for row in rows:
            for alter in trial.alters:
                alter(row)
        self._fleet.swap(rows)
        plan = self._decider.plan(trial.profile)
        ranking = plan.ranking
        own = sorted((f for f in ranking.ordered if f.row.id == self._target), key=lambda f: f.rank_usd)
        return plan, own, [drop for drop in ranking.dropped if drop[0].id == self._target]

    def wins(self, trial: _Trial) -> bool:
        plan, own, _ = self.decide(trial)
        if not own:
            return False
        ordered = plan.ranking.ordered
        if trial.profile.session_key:
            return ordered[0].row.id == self._target
        return own[0].rank_usd <= min(f.rank_usd for f in ordered)

    def _made(self, snapshot: FleetSnapshot) -> _BenchFleet:
        real = self._real
        fleet = _BenchFleet(
            catalogue=real.catalogue,
            policies=real.policies,
            clock=self._clock,
            wires=real.wires,
            real=real,
            usable=lambda _: False,
        )
        fleet.swap([])
        fleet.apply(snapshot)
        # The real ones go on changing.
        lives = {name: copied(member.live) for name, member in fleet.members.items()}
        for rows in fleet.served().values():
            for row in rows:
                row.live = lives[row.id]
        return fleet

    def _priced(self, share: float) -> list[Row]:
        """Rows of the target at this share of its price, made anew."""
        name, whole = self._target, self._snapshot
        prices = {key: _scaled(book, share) for key, book in whole.prices.items() if key[0] == name}
        fleet = self._made(replace(whole, backends={name: whole.backends[name]}, prices=prices))
        rows = [row for rows in fleet.served().values() for row in rows]
        for row in rows:
            row.live = self._own[0].live
        return rows


def _scaled(book: PriceBook, share: float) -> PriceBook:
    return replace(book, prices=tuple(price.scaled(share) for price in book.prices))


async def why_not(
    fleet: Fleet, lengths: OutputLength, clock: Clock, profile: RequestProfile, plan: Plan, target: str
) -> WhyNot:
    """Why `target` is not the choice of `plan`, and what would make it that; others have their turn meanwhile.

    Raises:
        NotFound: no such backend.
    """
    if target not in fleet.members:
        raise NotFound(f"no backend is called '{target}'")
    chosen = plan.ranking.ordered[0] if plan.ranking.ordered else None
    if chosen is not None and chosen.row.id == target:
        return WhyNot(backend=target, why=f"{target} is the choice")
    bench = _Bench(fleet, lengths, _Still(clock), target, plan)
    trial = _Trial(replace(profile, explain=False))
    unserved = [drop for drop in fleet.not_serving(profile.model) if drop.backend == target]
    if unserved:
        return WhyNot(
            backend=target, why=f"{target} was dropped (MODEL: {unserved[0].detail}); no constraint is at fault"
        )
    first: list[Counterfactual] = []
    said = ""
    decided, own, dropped = bench.decide(trial)
    while not own and dropped and len(first) < MAX_LOOSENED:
        row, code, forecast = dropped[-1]
        detail = filters.detail(code, row, decided.ranking.constraints, decided.ranking.now, forecast)
        said = said or f"{target} was dropped for '{profile.model}' ({filters.REASONS[code].value}: {detail})"
        loosened = loosen(code, row, trial.profile, forecast)
        if loosened is None:
            return WhyNot(
                backend=target, why=f"{said}; nothing that the request asks for would change that", first=tuple(first)
            )
        asked, alter, told = loosened
        first.append(told)
        trial = replace(trial, profile=asked)
        trial = trial.altered(alter) if alter is not None else trial
        decided, own, dropped = bench.decide(trial)
    if not own:
        return WhyNot(backend=target, why=said or f"{target} serves nothing of what was asked", first=tuple(first))
    if bench.wins(trial):
        if first:
            return WhyNot(backend=target, why=f"{said}; without that it is the choice", first=tuple(first))
        name = chosen.row.id if chosen is not None else "another"
        said = f"{target} is a near-tie with {name} and has the least objective; the draw went the other way"
        return WhyNot(backend=target, why=said)
    lost = _lost(own[0], decided)
    return WhyNot(
        backend=target,
        why=f"{said}; even without that, {lost}" if said else lost,
        first=tuple(first),
        changes=tuple(await _changes(bench, trial, decided, own[0])),
    )


def _lost(own: Forecast, plan: Plan) -> str:
    rival = min(plan.ranking.ordered, key=lambda f: f.rank_usd)
    if rival.feasible and not own.feasible:
        return (
            f"{own.row.id} is too unlikely to meet the SLO (TTFT {own.p_ttft:.2f}, TPOT {own.p_tpot:.2f}, "
            f"end to end {own.p_e2e:.2f}, {plan.shape.probability:.2f} is asked), {rival.row.id} is not"
        )
    gap = own.objective_usd - rival.objective_usd
    theirs = dict(terms(rival))
    worst, amount = max(((name, usd - theirs.get(name, 0.0)) for name, usd in terms(own)), key=lambda pair: pair[1])
    if gap <= 0.0:
        return f"{own.row.id} costs ${-gap:.6f} less in all than {rival.row.id}, which is likelier to meet the SLO"
    return (
        f"{own.row.id} costs ${gap:.6f} more in all than {rival.row.id}, most of it {worst.replace('_', ' ')} "
        f"(${amount:.6f})"
    )


async def _changes(bench: _Bench, trial: _Trial, plan: Plan, own: Forecast) -> list[Counterfactual]:
    """Each change by itself, found and held against a decision with it."""
    finders: list[Callable[[], Counterfactual]] = [
        lambda: _price(bench, trial, own),
        lambda: _paced(bench, trial, own, ChangeKind.SPEED),
        lambda: _paced(bench, trial, own, ChangeKind.TTFT),
        lambda: _paced(bench, trial, own, ChangeKind.TPOT),
        lambda: _load(bench, trial, own),
    ]
    if not own.feasible:
        finders.append(lambda: _objective(bench, trial, plan, own.row))
    made = []
    for find in finders:
        # Some milliseconds each: serving comes first.
        await asyncio.sleep(0)
        made.append(find())
    return made


def _greatest(wins: Callable[[float], bool]) -> float | None:
    """The greatest share of 1 with which it wins, by bisection; None where not even 0 does."""
    if not wins(0.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if wins(middle) else (low, middle)
        if high - low <= RELATIVE_STEP * max(low, 1e-3):
            break
    return low


def _price(bench: _Bench, trial: _Trial, own: Forecast) -> Counterfactual:
    name = own.row.id
    if not own.row.price_known:
        what = (
            f"the price of {name} is unknown, so the dearest known one is assumed: a price of its own may change that"
        )
        return Counterfactual(kind=ChangeKind.PRICE, possible=False, what=what)
    share = _greatest(lambda x: bench.wins(replace(trial, price=x)))
    if share is None:
        left = min((forecast.cost_usd for forecast in bench.decide(replace(trial, price=0.0))[1]), default=0.0)
        kept = f", with ${left:.6f} of electricity left to pay for," if left > 0.0 else ""
        what = f"no price would do: even for nothing{kept} {name} would not be chosen"
        return Counterfactual(kind=ChangeKind.PRICE, possible=False, what=what, now=own.cost_usd, unit="USD a request")
    cost = bench.decide(replace(trial, price=share))[1][0].cost_usd
    what = f"its price would have to fall by {_percent(share)} (this request: ${own.cost_usd:.6f} to ${cost:.6f})"
    return Counterfactual(
        kind=ChangeKind.PRICE, possible=True, what=what, share=share, now=own.cost_usd, value=cost, unit="USD a request"
    )


def _faster(kind: ChangeKind, share: float) -> Alter:
    """Scales the times of the prior: those until the first token, those of each token, or both."""

    def alter(row: Row) -> None:
        row.speed = speed = remade(row.speed)
        for name in names(speed):
            if not name.endswith("_s"):
                continue
            concerns = ChangeKind.TTFT if name.startswith("prefill") else ChangeKind.TPOT
            if kind in {ChangeKind.SPEED, concerns}:
                setattr(speed, name, getattr(speed, name) * share)
        if kind is not ChangeKind.TPOT:
            row.network_rtt_s *= share

    return alter


def _paced(bench: _Bench, trial: _Trial, own: Forecast, kind: ChangeKind) -> Counterfactual:
    words = {ChangeKind.SPEED: "TTFT and TPOT", ChangeKind.TTFT: "TTFT", ChangeKind.TPOT: "TPOT"}[kind]
    now = own.tpot_s if kind is ChangeKind.TPOT else own.ttft_s
    share = _greatest(lambda x: bench.wins(trial.altered(_faster(kind, x))))
    if share is None:
        what = f"no {words} would do"
        return Counterfactual(kind=kind, possible=False, what=what, now=now, unit="s")
    then = bench.decide(trial.altered(_faster(kind, share)))[1][0]
    value = then.tpot_s if kind is ChangeKind.TPOT else then.ttft_s
    figures = {
        ChangeKind.SPEED: f"TTFT {_ms(own.ttft_s)} to {_ms(then.ttft_s)}, TPOT {_ms(own.tpot_s)} to {_ms(then.tpot_s)}",
        ChangeKind.TTFT: f"{_ms(own.ttft_s)} to {_ms(then.ttft_s)}",
        ChangeKind.TPOT: f"{_ms(own.tpot_s)} to {_ms(then.tpot_s)}",
    }[kind]
    what = f"its {words} would have to be {_percent(share)} shorter ({figures})"
    return Counterfactual(kind=kind, possible=True, what=what, share=share, now=now, value=value, unit="s")


def _lighter(share: float) -> Alter:
    def alter(row: Row) -> None:
        batch = row.live.batch()
        row.live = live = copied(row.live)
        live.in_flight = live.in_flight_heard = 0
        live.others = live.peers = 0.0
        live.elsewhere = share * batch
        live.prefill_tokens *= share

    return alter


def _load(bench: _Bench, trial: _Trial, own: Forecast) -> Counterfactual:
    if own.batch <= 0.0 and own.row.live.prefill_tokens <= 0.0:
        what = "less load would not help: it has none"
        return Counterfactual(kind=ChangeKind.LOAD, possible=False, what=what, now=own.batch, unit="in flight")
    share = _greatest(lambda x: bench.wins(trial.altered(_lighter(x))))
    if share is None:
        what = f"less load would not help: idle, instead of with {own.batch:.3g} in flight, it would not be chosen"
        return Counterfactual(kind=ChangeKind.LOAD, possible=False, what=what, now=own.batch, unit="in flight")
    value = share * own.batch
    what = f"its load would have to be {value:.3g} in flight (now {own.batch:.3g})"
    return Counterfactual(
        kind=ChangeKind.LOAD, possible=True, what=what, share=share, now=own.batch, value=value, unit="in flight"
    )


def _objective(bench: _Bench, trial: _Trial, plan: Plan, row: Row) -> Counterfactual:
    """The SLO as loose as it would have to be: those objectives that are too unlikely to be met, times a factor."""
    slo, shape = trial.profile.slo, plan.shape
    _, own, _ = bench.decide(trial)
    limits = {"ttft_s": shape.ttft_slo_s, "tpot_s": shape.tpot_slo_s, "e2e_s": shape.e2e_slo_s}
    short = {
        "ttft_s": own[0].p_ttft - shape.ttft_probability,
        "tpot_s": own[0].p_tpot - shape.tpot_probability,
        "e2e_s": own[0].p_e2e - shape.e2e_probability,
    }
    missed = [name for name in limits if limits[name] < math.inf and short[name] < 0.0]

    def loose(share: float) -> _Trial:
        # By a factor of 1 / share, up to no objective at all.
        wider = {name: min(LIFETIME_S, limits[name] / max(share, 1e-9)) for name in missed}
        looser = replace(slo, **wider)  # type: ignore[arg-type]  # names of times only
        return replace(trial, profile=replace(trial.profile, slo=looser))

    words = " and ".join(name.removesuffix("_s").upper() for name in missed)
    share = _greatest(lambda x: bench.wins(loose(x)))
    if share is None:
        what = f"no looser SLO on {words} would do: {row.id} would lose on its objective"
        return Counterfactual(kind=ChangeKind.SLO, possible=False, what=what)
    said = ", ".join(
        f"{name.removesuffix('_s').upper()} {_ms(limits[name])} to {_ms(min(LIFETIME_S, limits[name] / share))}"
        for name in missed
    )
    one = missed[0]
    return Counterfactual(
        kind=ChangeKind.SLO,
        possible=True,
        what=f"the SLO would have to be looser: {said}",
        share=1.0 / share,
        now=limits[one],
        value=limits[one] / share,
        unit="s",
    )


def _percent(share: float) -> str:
    fall = 100.0 * (1.0 - share)
    return f"{fall:.3g} %" if fall < 99.95 else f"{fall:.5g} %"


def _ms(seconds: float) -> str:
    if seconds >= LIFETIME_S:
        return "none"
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000.0 * seconds:.3g} ms"
