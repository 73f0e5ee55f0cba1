"""What a decision never does, over random fleets in random states."""

from __future__ import annotations

import math
from typing import NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from router.domain.policies import WorkloadClass
from router.domain.request import RequestProfile, Slo
from router.domain.rows import Row
from router.scheduling.objective import terms
from tests.unit.scheduling.fleets import ask, rank, row

MODERATE = WorkloadClass(
    name="w",
    usd_per_s=1e-4,
    usd_per_kg_co2=0.2,
    usd_per_quality=1e-3,
    slo=Slo(ttft_s=0.2, tpot_s=0.03, e2e_s=4.0, probability=0.9),
)


class Fact(NamedTuple):
    """One backend; `usd` negative: nobody knows its price; `joined_ago_s` None: it has always been there."""

    bandwidth: float
    usd: float
    busy: int
    failing: float
    joined_ago_s: float | None
    kv_cache: float


facts = st.builds(
    Fact,
    bandwidth=st.floats(5e10, 2e13),
    usd=st.one_of(st.just(-1.0), st.floats(0.01, 50.0)),
    busy=st.integers(0, 80),
    failing=st.floats(0.0, 0.5),
    joined_ago_s=st.one_of(st.none(), st.floats(0.0, 90.0)),
    kv_cache=st.sampled_from([0.0, 0.5, 0.99]),
)
fleets = st.lists(facts, min_size=1, max_size=8)
slos = st.builds(
    Slo,
    ttft_s=st.one_of(st.none(), st.floats(1e-4, 10.0)),
    tpot_s=st.one_of(st.none(), st.floats(1e-4, 1.0)),
    e2e_s=st.one_of(st.none(), st.floats(1e-3, 100.0)),
    probability=st.sampled_from([0.5, 0.9, 0.99]),
)
NOW = 1000.0


def built(name: str, fact: Fact) -> Row:
    found = row(name, bandwidth=fact.bandwidth, usd=max(0.0, fact.usd), busy=fact.busy, task_quality=0.7)
    found.price_known = fact.usd >= 0.0
    live = found.live
    live.failure_rate = fact.failing
    live.kv_cache_usage, live.waiting = fact.kv_cache, 2.0
    if fact.joined_ago_s is not None:
        live.joined_at = NOW - fact.joined_ago_s
    return found


def keys(rows: list[Row], profile: RequestProfile, *, explore: bool = False) -> dict[str, float]:
    """What the ranking goes by, of each backend; draws among near-ties are not in it."""
    ordered = rank(rows, profile, workload=MODERATE, explore=explore, now=NOW).ordered
    return {f.row.id: f.rank_usd for f in ordered}


@given(fleets, facts, slos)
def test_an_irrelevant_backend_never_changes_how_others_compare(fleet: list[Fact], other: Fact, slo: Slo) -> None:
    """Whoever joins, feasible or not, dear, full, new or without a price: all others keep place and objective."""
    rows = [built(f"b{n}", fact) for n, fact in enumerate(fleet)]
    profile = ask(slo=slo)
    before = keys(rows, profile)
    after = keys([*rows, built("other", other)], profile)
    assert {name: after[name] for name in before} == before


@given(facts, st.floats(1.0, 4.0), st.floats(0.1, 1.0), slos)
def test_a_cheaper_or_faster_copy_is_never_ranked_below(fact: Fact, faster: float, cheaper: float, slo: Slo) -> None:
    """What is as good or better in everything never comes later, whatever the objectives."""
    assume(fact.usd >= 0.0)
    better = fact._replace(bandwidth=fact.bandwidth * faster, usd=fact.usd * cheaper)
    found = keys([built("plain", fact), built("better", better)], ask(slo=slo))
    assert found["better"] <= found["plain"] + 1e-9 * abs(found["plain"])


@given(fleets, slos, st.integers(0, 100))
def test_equal_inputs_give_equal_decisions(fleet: list[Fact], slo: Slo, seed: int) -> None:
    """A decision is a function of rows, request, time and the seed of its draws."""
    profile = ask(slo=slo)
    once, again = (
        rank([built(f"b{n}", f) for n, f in enumerate(fleet)], profile, workload=MODERATE, seed=seed, now=NOW)
        for _ in range(2)
    )
    assert [(f.row.id, f.objective_usd) for f in once.ordered] == [(f.row.id, f.objective_usd) for f in again.ordered]


@given(st.data(), fleets, slos, st.sampled_from([{}, {"explore": True}]))
def test_the_order_of_rows_decides_nothing(
    data: st.DataObject, fleet: list[Fact], slo: Slo, how: dict[str, bool]
) -> None:
    """Permuted rows are ranked as before; what is drawn is a near-tie of the best in either case."""
    profile = ask(slo=slo)
    rows = [built(f"b{n}", fact) for n, fact in enumerate(fleet)]
    before = keys(rows, profile, **how)
    rows = [built(f"b{n}", fact) for n, fact in enumerate(fleet)]
    assert keys(data.draw(st.permutations(rows)), profile, **how) == before


@given(fleets, slos)
def test_the_terms_are_the_objective(fleet: list[Fact], slo: Slo) -> None:
    """What explains a decision adds up to what it was made by, exploring or not."""
    rows = [built(f"b{n}", fact) for n, fact in enumerate(fleet)]
    for explore in (False, True):
        for f in rank(rows, ask(slo=slo), workload=MODERATE, explore=explore, now=NOW).ordered:
            assert math.isclose(sum(usd for _, usd in terms(f)), f.objective_usd, rel_tol=1e-9)


@given(fleets, slos, st.integers(0, 100))
def test_exploring_goes_only_where_objectives_are_met_at_no_more_than_twice_the_cost(
    fleet: list[Fact], slo: Slo, seed: int
) -> None:
    """Against what would have been chosen: as feasible, with room, and at most twice as dear."""
    profile = ask(slo=slo)
    usual = rank([built(f"b{n}", f) for n, f in enumerate(fleet)], profile, workload=MODERATE, now=NOW)
    best = min(usual.ordered, key=lambda f: f.rank_usd)
    rows = [built(f"b{n}", f) for n, f in enumerate(fleet)]
    chosen = rank(rows, profile, workload=MODERATE, seed=seed, explore=True, now=NOW).ordered[0]
    if chosen.explore_usd < 0.0:
        assert chosen.feasible
        assert not chosen.crowded
        assert chosen.cost_usd <= 2.0 * max(best.cost_usd, 1e-12) or chosen.row.id == best.row.id
