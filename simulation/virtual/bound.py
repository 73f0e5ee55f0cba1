"""A bound on every policy: what a clairvoyant could reach who may split requests and never waits (DECISION 3.3).

A linear program over all pairs of request and backend. Each request is served as well as it could be there on its own,
by the same draws of chance; no more work is accepted in any window of time than could be done by the last deadline. So
no policy in the same simulation can cost less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from router.domain.pricing import Price
from simulation.virtual.events import Kind
from simulation.virtual.extra import need
from simulation.virtual.scenario import Scenario
from simulation.virtual.servers import START_BURST_MINUTES
from simulation.virtual.traces import BLOCK_TOKENS, Ask
from simulation.virtual.truth import HOST_AND_BUILDING, EngineTruth, HostedTruth
from simulation.virtual.world import Draws, draws, tokens_usd

# The narrowest window; each next is twice as wide.
WINDOW_S = 4.0


@dataclass(frozen=True, slots=True)
class Bound:
    """The least objective, in dollars per request, and the share of objectives met at that."""

    objective_usd: float
    attainment: float


@dataclass(slots=True)
class _Pair:
    """One request at one backend, at its best. `work_s` is the prefill, `tokens` what is to be decoded."""

    ask: int
    usd: float
    work_s: float
    tokens: float


class _Program:
    """Rows of a sparse `A x <= b`."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[float] = []
        self.limits: list[float] = []

    def at_most(self, terms: list[tuple[int, float]], limit: float) -> None:
        """A row that can never bind is left out."""
        if sum(value for _, value in terms) <= limit:
            return
        row = len(self.limits)
        for column, value in terms:
            self.rows.append(row)
            self.columns.append(column)
            self.values.append(value)
        self.limits.append(limit)


def bound(scenario: Scenario) -> Bound:
    """Solves the program.

    Raises:
        Missing: scipy is not installed.
        RuntimeError: the solver gave up.
    """
    optimize, sparse = need("scipy.optimize"), need("scipy.sparse")
    site, asks = scenario.site, scenario.asks
    chance, cached = draws(scenario), _reusable(scenario)
    misses = [site.workload(ask).usd_per_slo_miss for ask in asks]
    count = len(asks)
    costs = list(misses)
    serves: list[list[int]] = [[] for _ in asks]
    program = _Program()
    for backend in site.backends:
        truth = site.truths[backend.id]
        price = _least(site.prices.get(backend.id), scenario, backend.id)
        first = len(costs)
        pairs = list(_pairs(scenario, truth, price, chance, cached))
        for place, pair in enumerate(pairs):
            costs.append(pair.usd)
            serves[pair.ask].append(first + place)
        _capacity(program, scenario, truth, pairs, first, chance.error[backend.id])
    equal_rows = [ask for ask in range(count) for _ in (None, *serves[ask])]
    equal_columns = [column for ask in range(count) for column in (ask, *serves[ask])]
    size = len(costs)
    result = optimize.linprog(
        costs,
        A_ub=sparse.csr_matrix((program.values, (program.rows, program.columns)), shape=(len(program.limits), size))
        if program.limits
        else None,
        b_ub=program.limits or None,
        A_eq=sparse.csr_matrix(([1.0] * len(equal_rows), (equal_rows, equal_columns)), shape=(count, size)),
        b_eq=[1.0] * count,
        bounds=(0.0, 1.0),
        method="highs",
    )
    if not result.success:
        raise RuntimeError(f"the linear program was not solved: {result.message}")
    return Bound(objective_usd=float(result.fun) / count, attainment=1.0 - float(sum(result.x[:count])) / count)


def _least(price: Price | None, scenario: Scenario, backend: str) -> Price | None:
    """The least that a backend ever charges in the scenario."""
    factors = [e.amount for e in scenario.events if e.kind is Kind.PRICE and e.backend == backend]
    factor, least = 1.0, 1.0
    for each in factors:
        factor *= each
        least = min(least, factor)
    return price.scaled(least) if price is not None else None


def _reusable(scenario: Scenario) -> list[int]:
    """Tokens of each prompt that somebody has sent before; what an endless cache would hold."""
    known: set[int] = set()
    found: list[int] = []
    for ask in scenario.asks:
        hits = 0
        while hits < len(ask.blocks) and ask.blocks[hits] in known:
            hits += 1
        known.update(ask.blocks)
        found.append(min(hits * BLOCK_TOKENS, ask.input_tokens - 1) if scenario.prefix_cache else 0)
    return found


def _pairs(
    scenario: Scenario, truth: EngineTruth | HostedTruth, price: Price | None, chance: Draws, cached: list[int]
) -> Iterator[_Pair]:
    """The requests that a backend could serve within their objectives."""
    prefill_error, decode_error = chance.error[truth.id]
    for n, ask in enumerate(scenario.asks):
        steps = ask.output_tokens - 1
        if isinstance(truth, EngineTruth):
            work = truth.prefill_s(ask.input_tokens - cached[n]) * prefill_error * chance.prefill[n][truth.id]
            noise = decode_error * chance.decode[n][truth.id]
            ttft, tpot = work + truth.rtt_s, min(truth.tpot_s[1:]) * noise
            if _meets(scenario, ask, ttft, tpot):
                yield _Pair(n, _owned_usd(truth, price, work, steps * noise), work, steps * chance.decode[n][truth.id])
            continue
        call = truth.calls[int(chance.call[n][truth.id] * len(truth.calls))]
        if _meets(scenario, ask, call.ttft_s * prefill_error, call.tpot_s * decode_error):
            yield _Pair(n, tokens_usd(price, ask) if price is not None else 0.0, 0.0, ask.input_tokens + steps + 1.0)


def _meets(scenario: Scenario, ask: Ask, ttft: float, tpot: float) -> bool:
    slo = scenario.site.slo(ask)
    return (
        (slo.ttft_s is None or ttft <= slo.ttft_s)
        and (slo.tpot_s is None or ask.output_tokens == 1 or tpot <= slo.tpot_s)
        and (slo.e2e_s is None or ttft + tpot * (ask.output_tokens - 1) <= slo.e2e_s)
    )


def _owned_usd(truth: EngineTruth, price: Price | None, work: float, steps: float) -> float:
    """The least that an answer costs on owned hardware: decoding in the batch that is the best for it."""
    if price is None or price.usd_per_hour is None:
        return 0.0
    batches = range(1, truth.max_batch + 1)
    share = min(truth.tpot_s[b] / b for b in batches)
    joules = min(truth.watts[b] * truth.tpot_s[b] / b for b in batches)
    rent = (work + steps * share) * price.usd_per_hour / 3600.0
    energy = HOST_AND_BUILDING * (truth.prefill_watts * work + joules * steps)
    elastic = price.elastic_fraction
    return elastic * rent + (1.0 - elastic) * energy * price.electricity_usd_per_kwh / 3.6e6


def _capacity(
    program: _Program,
    scenario: Scenario,
    truth: EngineTruth | HostedTruth,
    pairs: list[_Pair],
    first: int,
    error: tuple[float, float],
) -> None:
    """No window of arrivals brings more than can be done from its beginning to its last deadline."""
    asks = scenario.asks
    slack = [_patience_s(scenario, ask) for ask in asks]
    sets = ([n for n, p in enumerate(pairs) if asks[p.ask].interactive], list(range(len(pairs))))
    for members in sets:
        if not members:
            continue
        patience = max(slack[pairs[n].ask] for n in members)
        for window in _windows(pairs, members, asks):
            # As wide as the arrivals in it really are.
            length = asks[pairs[window[-1]].ask].at_s - asks[pairs[window[0]].ask].at_s + patience
            if isinstance(truth, EngineTruth):
                program.at_most([(first + n, pairs[n].work_s) for n in window], length)
                continue
            for per_minute, amounts in (
                (truth.requests_per_minute, [1.0] * len(window)),
                (truth.tokens_per_minute, [pairs[n].tokens for n in window]),
            ):
                if per_minute:
                    terms = [(first + n, amount) for n, amount in zip(window, amounts, strict=True)]
                    program.at_most(terms, per_minute * (START_BURST_MINUTES + length / 60.0))
    if isinstance(truth, EngineTruth) and pairs:
        rate = max(b / truth.tpot_s[b] for b in range(1, truth.max_batch + 1)) / error[1]
        longest = max(_end_s(scenario, asks[p.ask]) for p in pairs)
        length = asks[pairs[-1].ask].at_s - asks[pairs[0].ask].at_s + longest
        program.at_most([(first + n, p.tokens) for n, p in enumerate(pairs)], rate * length)


def _patience_s(scenario: Scenario, ask: Ask) -> float:
    """How long after its arrival the first token of a request may come."""
    slo = scenario.site.slo(ask)
    return min(slo.ttft_s or math.inf, slo.e2e_s or math.inf)


def _end_s(scenario: Scenario, ask: Ask) -> float:
    """How long after its arrival a request may end that meets its objectives."""
    slo = scenario.site.slo(ask)
    paced = (slo.ttft_s or math.inf) + (slo.tpot_s or math.inf) * ask.output_tokens
    return min(slo.e2e_s or math.inf, paced)


def _windows(pairs: list[_Pair], members: list[int], asks: tuple[Ask, ...]) -> Iterator[list[int]]:
    """Members by windows of their arrival, each width twice the one before, up to one that holds all."""
    start, end = asks[pairs[members[0]].ask].at_s, asks[pairs[members[-1]].ask].at_s
    width = WINDOW_S
    while True:
        found: dict[int, list[int]] = {}
        for n in members:
            found.setdefault(int((asks[pairs[n].ask].at_s - start) / width), []).append(n)
        yield from found.values()
        if width > end - start:
            return
        width *= 2.0
