"""Runs in virtual time: every request ends once, equal seeds give equal runs, and trouble is what it is called."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.virtual.events import Event, Kind
from simulation.virtual.figures import brier, figures, objective_usd
from simulation.virtual.policies import POLICIES, ROUTER
from simulation.virtual.world import Record, run
from tests.unit.simulation.virtual.small import asks, scenario

TROUBLE = (
    (),
    (Event(Kind.DEAD, "fast", 0.0, 5.0),),
    (Event(Kind.ERRORS, "fast", 0.3, 5.0), Event(Kind.LIMITED, "api", 0.0, 8.0)),
    (Event(Kind.SLOW, "slow", 3.0, 5.0), Event(Kind.WELL, "slow", 0.0, 20.0)),
    (Event(Kind.PRICE, "api", 2.0, 5.0), Event(Kind.JOIN, "slow", 0.0, 10.0)),
)


def facts(records: list[Record]) -> list[tuple[object, ...]]:
    """All of a run but the wall time."""
    return [(r.backend, r.attempts, r.ttft_s, r.tpot_s, r.e2e_s, r.usd, r.joules, r.met, r.p_ttft) for r in records]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_every_request_ends_exactly_once(policy: str, trouble: tuple[Event, ...]) -> None:
    """Whatever the policy and whatever goes wrong; what was served has times in their order, and was paid for."""
    records = run(scenario(120, per_minute=60.0, events=trouble, replicas=2), POLICIES[policy])

    assert [r.ended for r in records] == [1] * 120
    for record in records:
        if record.backend:
            assert 0.0 < record.ttft_s <= record.e2e_s < math.inf
            assert record.usd > 0.0
        else:
            assert not record.met
            assert record.attempts >= 1


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_seeds_give_equal_runs(policy: str) -> None:
    """Every figure of every request, with replicas that hear of each other late."""
    told = scenario(100, replicas=3, state_age_s=0.5, late_s=0.5)

    assert facts(run(told, POLICIES[policy])) == facts(run(told, POLICIES[policy]))


def test_another_seed_gives_another_run() -> None:
    """Errors of the model and noise are drawn anew."""
    told = scenario(60)
    assert facts(run(told, POLICIES[ROUTER])) != facts(run(replace(told, seed=1), POLICIES[ROUTER]))


def test_a_backend_that_died_serves_nothing_more() -> None:
    """And nothing is lost: what was on its way there goes elsewhere."""
    records = run(scenario(200, events=(Event(Kind.DEAD, "fast", 0.0, 10.0),)), POLICIES[ROUTER])

    assert all(r.backend for r in records)
    assert any(r.backend == "fast" for r in records)
    assert not any(r.backend == "fast" and r.sent_s > 10.0 for r in records)


def test_a_backend_that_joins_serves_from_then_on_only() -> None:
    """Nothing is sent to it before."""
    records = run(scenario(300, rate=8.0, events=(Event(Kind.JOIN, "fast", 0.0, 10.0),)), POLICIES["round-robin"])

    assert min(r.sent_s for r in records if r.backend == "fast") >= 10.0


def test_a_limit_per_minute_holds_whatever_is_sent() -> None:
    """A hosted service serves a minute's worth at once and then what the limit lets through."""
    records = run(scenario(300, rate=10.0, per_minute=30.0), POLICIES["random"])
    span = max(r.sent_s for r in records)

    assert 0 < sum(r.backend == "api" for r in records) <= 30.0 * (1.0 + span / 60.0) + 1.0


def test_a_slower_backend_takes_longer_from_then_on() -> None:
    """Its answers from then on take three times as long, earlier ones as long as ever."""
    well = run(scenario(80, rate=0.2), POLICIES["litellm-cost"])
    sick = run(scenario(80, rate=0.2, events=(Event(Kind.SLOW, "fast", 3.0, 100.0),)), POLICIES["litellm-cost"])
    pairs = [(a, b) for a, b in zip(well, sick, strict=True) if a.backend == b.backend == "fast"]

    assert all(a.e2e_s == b.e2e_s for a, b in pairs if a.ask.at_s + a.e2e_s < 100.0)
    late = [(a, b) for a, b in pairs if a.ask.at_s > 100.0]
    assert late
    assert all(b.e2e_s > 2.0 * a.e2e_s for a, b in late)


def test_prompts_that_begin_alike_are_read_once() -> None:
    """A replica that has read the blocks of a prompt does not read them again; without the cache it does."""
    told = scenario(100, rate=1.0)
    told = replace(told, asks=asks(100, rate=1.0, blocks=True))
    kept = run(told, POLICIES["litellm-cost"])
    read = run(replace(told, prefix_cache=False), POLICIES["litellm-cost"])

    assert sum(r.cached_tokens for r in kept) > 0
    assert sum(r.cached_tokens for r in read) == 0
    assert sum(r.ttft_s for r in kept) < sum(r.ttft_s for r in read)


@given(count=st.integers(2, 60), rate=st.floats(0.2, 30.0), seed=st.integers(0, 1_000))
@settings(max_examples=25)
def test_shares_and_attainment_are_shares(count: int, rate: float, seed: int) -> None:
    """Whatever the load, and the objective is what its parts add up to."""
    told = scenario(count, rate=rate, seed=seed)
    records = run(told, POLICIES["power-of-two"])
    found = figures(told.site, records)

    assert 0.0 <= found.attainment <= 1.0
    assert sum(found.shares.values()) == pytest.approx(found.served / count)
    missed = sum(told.site.workload(r.ask).usd_per_slo_miss for r in records if not r.met)
    assert objective_usd(told.site, records) == pytest.approx(sum(r.usd for r in records) + missed)


def test_the_brier_score_of_a_certain_and_right_policy_is_zero() -> None:
    """And that of the running base rate is what is known when a request is sent."""
    records = run(scenario(50), POLICIES[ROUTER])
    for record in records:
        record.p_ttft = float(record.ttft_met)
    ours, base, _, count = brier(records)

    assert ours == 0.0
    assert base > 0.0
    assert count == sum(r.ask.interactive for r in records)
