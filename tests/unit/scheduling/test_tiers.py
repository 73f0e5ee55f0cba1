"""What comes before what: objectives that are given up in order, backends that are full or new, near-ties."""

from __future__ import annotations

import math

import pytest

from router.domain.policies import WorkloadClass
from router.domain.request import Slo
from router.domain.rows import Forecast, Row, Shape
from router.scheduling import objective, picker
from router.scheduling.objective import Weights, score
from tests.unit.scheduling.fleets import ask, rank, row


def shape(**fields: float) -> Shape:
    return Shape(
        input_tokens=100.0,
        cached_tokens=0.0,
        max_output_tokens=200.0,
        expected_output_tokens=0.0,
        ttft_slo_s=1.0,
        tpot_slo_s=1.0,
        e2e_slo_s=1.0,
        probability=0.9,
        batch=False,
        quality_task="*",
        **fields,  # type: ignore[arg-type]  # a test's own keywords
    )


SHAPE = shape()
MONEY_ONLY = Weights(
    WorkloadClass(
        name="w",
        usd_per_s=0.0,
        usd_per_ttft_s=0.0,
        usd_per_slo_miss=0.0,
        usd_per_error=0.0,
        usd_per_slowed_s=0.0,
    )
)


def forecast(
    name: str, *, usd: float = 1e-4, p: tuple[float, float, float] = (1.0, 1.0, 1.0), busy: float = 0.0
) -> Forecast:
    """A candidate with these chances of meeting the three objectives; its money is its objective."""
    found = Forecast(row(name))
    found.cost_usd = usd
    found.p_ttft, found.p_tpot, found.p_e2e = p
    found.batch = busy
    return found


def order(forecasts: list[Forecast], shape: Shape = SHAPE) -> list[str]:
    for f in forecasts:
        score(f, shape, MONEY_ONLY)
    return [f.row.id for f in picker.order(forecasts, shape, session="", uniform=lambda: 0.0)]


def test_objectives_are_given_up_end_to_end_first_then_each_token_then_the_first() -> None:
    """Each tier comes before the next, however cheap what is in it."""
    found = order(
        [
            forecast("none", usd=1e-8, p=(0.5, 0.9, 0.9)),
            forecast("first token", usd=1e-7, p=(0.9, 0.5, 0.9)),
            forecast("tokens", usd=1e-6, p=(0.9, 0.9, 0.5)),
            forecast("all", usd=1.0, p=(0.9, 0.9, 0.9)),
        ]
    )
    assert found == ["all", "tokens", "first token", "none"]


def test_where_nothing_is_within_reach_the_likeliest_comes_first_and_the_price_decides_among_alike() -> None:
    """Chances within five per cent are taken for alike."""
    found = order(
        [
            forecast("unlikely", usd=1e-6, p=(0.2, 1.0, 1.0)),
            forecast("dear", usd=1e-2, p=(0.601, 1.0, 1.0)),
            forecast("cheap", usd=1e-4, p=(0.6, 1.0, 1.0)),
            forecast("hopeless", usd=1e-8, p=(0.0, 0.0, 0.0)),
        ]
    )
    assert found == ["cheap", "dear", "unlikely", "hopeless"]


def test_each_objective_has_its_own_probability() -> None:
    """Where a class asks for less surety of one of them, that one rules out less."""
    lenient = shape(tpot_probability=0.4)
    cheap = forecast("cheap", usd=1e-6, p=(0.95, 0.5, 0.95))
    assert order([cheap, forecast("dear")], lenient) == ["cheap", "dear"]
    assert order([cheap, forecast("dear")]) == ["dear", "cheap"]


@pytest.mark.parametrize(("busy", "first"), [(63.0, "full"), (64.0, "free")])
def test_a_queue_as_long_as_the_batch_puts_a_backend_behind_others(busy: float, first: str) -> None:
    """Even where nobody waits and it is the cheapest by far; its slots are 32."""
    assert order([forecast("full", usd=1e-7, busy=busy), forecast("free", usd=1.0)])[0] == first


def test_an_engine_whose_cache_is_full_takes_nobody_else() -> None:
    """It would throw out what it has begun; alone, it still serves."""
    full = forecast("full", usd=1e-7)
    full.row.live.kv_cache_usage, full.row.live.waiting = 0.99, 1.0
    assert order([full, forecast("free", usd=1.0)]) == ["free", "full"]
    assert order([full]) == ["full"]


def new_row(age_s: float, observations: int) -> Row:
    found = row("new")
    found.live.joined_at = -age_s
    found.learned.observations = observations
    return found


@pytest.mark.parametrize(
    ("age_s", "observations", "batch", "trying", "crowded"),
    [
        (30.0, 4, 0.0, False, True),
        (30.0, 4, 0.0, True, False),
        (30.0, 5, 0.0, False, False),
        (30.0, 5, 15.0, False, False),
        (30.0, 5, 16.0, False, True),
        (1.0, 5, 0.0, True, False),
        (1.0, 5, 1.0, True, True),
        (60.0, 0, 0.0, False, False),
    ],
)
def test_a_new_backend_is_given_work_slowly(
    age_s: float, observations: int, batch: float, *, trying: bool, crowded: bool
) -> None:
    """After t seconds it may have t / 60 of its 32 slots, and one at once; its first five answers go to few."""
    assert objective.crowded(new_row(age_s, observations), batch, 0.0, trying=trying) is crowded


def test_emissions_are_dollars() -> None:
    """A class that prices carbon goes to the cleaner of two that cost the same."""
    dirty, clean = forecast("dirty"), forecast("clean", usd=1.001e-4)
    dirty.carbon_g = 5.0
    score(dirty, SHAPE, Weights(WorkloadClass(name="green", usd_per_kg_co2=0.2)))
    assert dirty.carbon_usd == pytest.approx(1e-3)
    assert dict(objective.terms(dirty))["carbon"] == dirty.carbon_usd
    score(clean, SHAPE, Weights(WorkloadClass(name="green", usd_per_kg_co2=0.2)))
    assert clean.objective_usd < dirty.objective_usd


def test_what_all_share_makes_no_near_tie() -> None:
    """The dollars of quality are the same for all that serve a model: they do not widen the margin of a tie."""
    weighing = WorkloadClass(name="w", slo=Slo(probability=0.9), usd_per_quality=1.0)
    rows = [row("cheap", usd=1.0, task_quality=0.5), row("dear", usd=2.0, task_quality=0.5)]
    chosen = {rank(rows, ask(), workload=weighing, seed=seed).ordered[0].row.id for seed in range(50)}
    assert chosen == {"cheap"}


def test_prompts_that_begin_alike_gather_at_one_of_the_near_ties() -> None:
    """Without any cache to go by the first block decides, the same for every replica and every draw."""
    rows = [row(f"b{n}") for n in range(4)]
    chosen = {
        block: {rank(rows, ask(blocks=(block, n)), seed=n).ordered[0].row.id for n in range(5)} for block in range(40)
    }
    assert all(len(places) == 1 for places in chosen.values())
    assert len(set[str]().union(*chosen.values())) == 4


def test_a_multiplier_of_money_multiplies_money_alone() -> None:
    """Nothing else in the objective changes for a tenant who overspends."""
    plain, pressed = (rank([row("a")], money=factor).ordered[0] for factor in (1.0, 7.0))
    assert pressed.money_usd == pytest.approx(7.0 * plain.money_usd)
    assert math.isclose(pressed.objective_usd - pressed.money_usd, plain.objective_usd - plain.money_usd)
    assert pressed.cost_usd == plain.cost_usd


def test_what_fills_an_objective_beyond_the_headroom_costs_as_much_as_a_miss() -> None:
    """However likely it is met; no more than that, so that where others are dearer still the queue is used."""
    weights = Weights(WorkloadClass(name="w", usd_per_slo_miss=2e-3))
    dollars = []
    for ttft_s in (0.29, 0.31, 0.99):
        found = forecast("a")
        found.ttft_s = ttft_s
        score(found, shape(headroom=0.3), weights)
        dollars.append(found.slo_usd)
        assert found.feasible
    assert dollars == pytest.approx([0.0, 2e-3, 2e-3])


def test_slowing_others_costs_what_their_time_is_worth() -> None:
    """Who joins a batch of requests that nobody waits for pays nothing, whatever their own second is worth."""
    waited, unwaited, unknown = row("waited", busy=4), row("unwaited", busy=4), row("unknown")
    waited.live.worth_usd_per_s = 4 * 1e-3
    weights = Weights(WorkloadClass(name="w", usd_per_slowed_s=5.0), usual_usd_per_slowed_s=1e-4)
    dollars = []
    for there in (waited, unwaited, unknown):
        found = Forecast(there)
        found.slowed_s = 2.0
        score(found, SHAPE, weights)
        dollars.append(found.slowed_usd)
    assert dollars == pytest.approx([2e-3, 0.0, 2e-4])
