"""What a decider adds to the ranking: floors of classes, exploring, refusing, staleness, and how fast traffic moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, Usage
from router.dispatch.decider import may_explore
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies, WorkloadClass
from router.domain.pricing import Price
from router.domain.request import Placement, Priority, Slo
from router.errors import Shed, SloInfeasible
from router.scheduling.filters import region_matches
from tests.unit.dispatch.deciding import Site, asked

CATALOGUE = Catalogue(
    hardware={
        "fast": Hardware(id="fast", name="Fast", kind="hosted", fixed_ttft_s=0.1, fixed_tpot_s=0.004, prior_sd_log=0.2),
        "slow": Hardware(id="slow", name="Slow", kind="hosted", fixed_ttft_s=0.2, fixed_tpot_s=0.008, prior_sd_log=0.2),
    },
    models={
        "m": Model(id="m", context_tokens=8192, quality=(("*", 0.6), ("code", 0.3))),
        "large": Model(id="large", context_tokens=8192, quality=(("*", 0.9),)),
    },
    classes={"any": ("m", "large")},
)
CHAT = WorkloadClass(name="chat", slo=Slo(ttft_s=2.0, tpot_s=0.05, probability=0.9))
EXPLORING = WorkloadClass(name="exploring", slo=CHAT.slo, explore_share=0.02)


def backend(name: str, hardware: str = "fast", model: str = "m", **fields: object) -> Backend:
    facts: dict[str, object] = {
        "id": name,
        "wire": "scripted",
        "address": f"http://{name}.test",
        "models": (ServedModel(model=model),),
        "hardware": hardware,
    }
    return Backend(**(facts | fields))  # type: ignore[arg-type]


def price(name: str, usd: float) -> Price:
    return Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd)


def site(*entries: tuple[Backend, float], classes: tuple[WorkloadClass, ...] = (CHAT,), **how: Any) -> Site:
    policies = Policies(classes={c.name: c for c in classes}, default_class=classes[0].name)
    return Site(CATALOGUE, tuple(b for b, _ in entries), tuple(price(b.id, usd) for b, usd in entries), policies, **how)


def answer(place: Site, backend_id: str, *, tpot_s: float, ttft_s: float = 0.1) -> None:
    """One request decided, sent to where it was decided, and answered at this pace."""
    plan = place.decider.plan(asked(max_output_tokens=100))
    forecast = next(f for f in plan.ranking.ordered if f.row.id == backend_id)
    attempt = place.feedback.begin(forecast)
    assert attempt is not None
    place.clock.advance(ttft_s)
    attempt.take(Chunk(text="a", events=1))
    place.clock.advance(99 * tpot_s)
    attempt.take(Chunk(text="b", events=99, usage=Usage(input=500, output=100), finish_reason=FinishReason.STOP))
    attempt.close("OK")


def test_a_class_only_tightens_privacy() -> None:
    """Its floor holds where the request asks for less, and the request's own where that is more."""
    private = replace(CHAT, privacy=PrivacyLevel.ZERO_RETENTION)
    place = site(*((backend(level.name, privacy=level), 1.0) for level in PrivacyLevel), classes=(private,))
    for asks in PrivacyLevel:
        plan = place.decider.plan(asked(placement=Placement(privacy=asks)))
        served = {f.row.privacy for f in plan.ranking.ordered}
        assert min(served) == max(asks, PrivacyLevel.ZERO_RETENTION)


def test_a_floor_of_quality_is_for_names_of_several_models() -> None:
    """Who names one model has chosen; a name for several gets those that are good enough for the task."""
    picky = replace(CHAT, minimum_quality=(("*", 0.5), ("code", 0.8)))
    place = site((backend("small"), 0.1), (backend("big", model="large"), 5.0), classes=(picky,))
    served = {
        (name, task): {f.row.id for f in place.decider.plan(asked(model=name, task=task)).ranking.ordered}
        for name in ("m", "any")
        for task in ("chat", "code")
    }
    assert served == {
        ("m", "chat"): {"small"},
        ("m", "code"): {"small"},
        ("any", "chat"): {"small", "big"},
        ("any", "code"): {"big"},
    }


def test_a_cheap_model_serves_what_it_can() -> None:
    """With quality in the objective the task decides: where the cheap model is nearly as good it serves."""
    weighing = replace(CHAT, usd_per_quality=8e-3)
    place = site((backend("small"), 0.1), (backend("big", model="large"), 5.0), classes=(weighing,))
    assert place.choose(model="any", task="chat")[0] == "small"
    chosen, why = place.choose(model="any", task="code")
    assert chosen == "big"
    assert "for quality: " in why


def test_grades_move_a_model_across_the_floor() -> None:
    """What callers say of answers changes who serves a task, and leaves other tasks as they were."""
    picky = replace(CHAT, minimum_quality=(("*", 0.5),))
    place = site((backend("small"), 0.1), (backend("big", model="large"), 5.0), classes=(picky,))
    assert place.choose(model="any", task="summary")[0] == "small"
    for _ in range(40):
        place.fleet.quality("m").observe("summary", 0.0)
    assert place.choose(model="any", task="summary")[0] == "big"
    assert place.choose(model="any", task="chat")[0] == "small"


def test_exploring_is_at_most_one_request_in_fifty() -> None:
    """Over many requests the share that explores is the class's, within chance."""
    place = site((backend("a"), 1.0), (backend("b"), 1.0), classes=(EXPLORING,))
    explored = sum(place.decider.plan(asked()).shape.explore for _ in range(5000))
    assert 60 < explored < 140


@pytest.mark.parametrize(
    ("fields", "workload", "may"),
    [
        ({}, EXPLORING, True),
        ({}, CHAT, False),
        ({"priority": Priority.CRITICAL}, EXPLORING, False),
        ({"priority": Priority.SHEDDABLE}, EXPLORING, True),
        ({"placement": Placement(privacy=PrivacyLevel.NO_TRAINING)}, EXPLORING, False),
        ({"session_key": "s"}, EXPLORING, False),
    ],
)
def test_critical_private_and_bound_requests_never_explore(
    fields: dict[str, object], workload: WorkloadClass, *, may: bool
) -> None:
    """Nor does a class that does not allow it."""
    assert may_explore(asked(**fields), workload) is may


def test_a_backend_of_which_little_is_known_is_explored() -> None:
    """Of two alike the one that has never answered gets the requests that explore, and the sentence says so."""
    place = site((backend("known"), 1.0), (backend("unknown"), 1.02), classes=(EXPLORING,))
    for _ in range(20):
        answer(place, "known", tpot_s=0.004)
    explored = [plan for _ in range(2000) if (plan := place.decider.plan(asked())).shape.explore]
    assert explored
    assert {plan.ranking.ordered[0].row.id for plan in explored} == {"unknown"}
    assert "for exploration" in place.decider.full(explored[0]).why


facts = st.tuples(
    st.sampled_from(PrivacyLevel),
    st.sampled_from(["eu-1", "us-1"]),
    st.booleans(),
    st.sampled_from([0.01, 1.0, 100.0]),
    st.booleans(),
)


@given(
    st.lists(facts, min_size=1, max_size=6),
    st.sampled_from([PrivacyLevel.ANY, PrivacyLevel.ZERO_RETENTION]),
    st.sampled_from([(), ("eu-*",)]),
    st.sampled_from([None, 1e-3]),
    st.frozensets(st.sampled_from(["b0", "b1", "b2"])),
    st.integers(0, 50),
    st.sampled_from([1e-4, 2.0]),
)
def test_nothing_that_may_be_tried_passes_a_hard_limit(
    fleet: list[tuple[PrivacyLevel, str, bool, float, bool]],
    privacy: PrivacyLevel,
    regions: tuple[str, ...],
    cap: float | None,
    avoid: frozenset[str],
    seed: int,
    ttft_s: float,
) -> None:
    """Choice, fallbacks, retries, hedges and what is explored: all have privacy, region, capability and fit the cap."""
    exploring = replace(EXPLORING, explore_share=1.0, slo=Slo(ttft_s=ttft_s, probability=0.9))
    able = frozenset({Capability.TOOLS})
    place = site(
        *(
            (backend(f"b{n}", privacy=p, region=r, capabilities=able if can else frozenset()), usd)
            for n, (p, r, can, usd, _) in enumerate(fleet)
        ),
        classes=(exploring,),
        seed=seed,
    )
    for n, fact in enumerate(fleet):
        place.fleet.members[f"b{n}"].live.ejected = fact[4]
    profile = asked(needs=able, placement=Placement(privacy=privacy, regions=regions), max_cost_usd=cap)
    for shunned in (frozenset[str](), avoid):
        for f in place.decider.plan(profile, avoid=shunned).ranking.ordered:
            assert f.row.privacy >= privacy
            assert not regions or region_matches(f.row.region, regions)
            assert place.backends[f.row.id].capabilities == able
            assert cap is None or f.cost_p90_usd <= cap
            assert f.row.id not in shunned


def test_a_sheddable_request_without_a_chance_is_refused_until_the_queue_is_gone() -> None:
    """Below one in five it is shed, with the expected queue as the time to wait; others are served all the same."""
    place = site((backend("a", max_concurrency=4), 1.0))
    place.busy("a", 40)
    slo = Slo(ttft_s=0.2)
    with pytest.raises(Shed) as caught:
        place.decider.require(place.decider.plan(asked(slo=slo, priority=Priority.SHEDDABLE)))
    plan = place.decider.plan(asked(slo=slo))
    assert caught.value.retry_after_s == pytest.approx(plan.ranking.ordered[0].ttft_s - 0.1, rel=0.01)
    place.decider.require(plan)
    place.decider.require(place.decider.plan(asked(slo=Slo(ttft_s=60.0), priority=Priority.SHEDDABLE)))
    with pytest.raises(SloInfeasible):
        place.decider.require(place.decider.plan(asked(slo=replace(slo, reject_infeasible=True))))
    strict = site((backend("a"), 1.0), classes=(replace(CHAT, slo=Slo(ttft_s=1e-3, reject_infeasible=True)),))
    with pytest.raises(SloInfeasible):
        strict.decider.require(strict.decider.plan(asked()))


def test_a_deadline_has_to_be_met_more_surely_than_an_objective() -> None:
    """0.95 where nobody says otherwise, for the end-to-end objective alone."""
    place = site((backend("a"), 1.0))
    shape = place.decider.plan(asked(deadline_s=place.clock.monotonic() + 10.0)).shape
    assert (shape.ttft_probability, shape.tpot_probability, shape.e2e_probability) == (0.9, 0.9, 0.95)
    asks = asked(deadline_s=place.clock.monotonic() + 10.0, slo=Slo(probability=0.6))
    assert place.decider.plan(asks).shape.e2e_probability == 0.6
    stated = replace(CHAT, slo=replace(CHAT.slo, tpot_probability=0.7))
    assert site((backend("a"), 1.0), classes=(stated,)).decider.plan(asked()).shape.tpot_probability == 0.7


def test_money_counts_more_for_a_tenant_who_overspends() -> None:
    """The same request of a tenant whose budget would not last goes to the cheaper backend, and is told why."""
    entries = ((backend("dear"), 1.0), (backend("cheap", hardware="slow"), 0.9))
    usual = site(*entries, classes=(replace(CHAT, usd_per_s=1e-3),))
    assert usual.choose()[0] == "dear"
    pressed = site(*entries, classes=(replace(CHAT, usd_per_s=1e-3),), money=lambda _: 20.0)
    chosen, why = pressed.choose()
    assert chosen == "cheap"
    assert "money counts 20.0-fold: the tenant spends faster than its budget lasts" in why


def test_stale_state_makes_predictions_less_sure() -> None:
    """The age of the snapshot reaches the prediction: wider, so that objectives are met less surely."""
    fresh, stale = site((backend("a"), 1.0)), site((backend("a"), 1.0), age_s=4.0)
    sure, unsure = (s.decider.plan(asked(slo=Slo(ttft_s=0.3))).ranking.ordered[0] for s in (fresh, stale))
    assert unsure.ttft_sd > sure.ttft_sd
    assert unsure.p_ttft < sure.p_ttft


def test_a_backend_that_turns_three_times_slower_loses_its_traffic_within_five_requests() -> None:
    """After at most five slow answers nearly all requests go to the other, though it was the second choice."""
    place = site((backend("first"), 1.0), (backend("second"), 1.3), classes=(replace(CHAT, usd_per_s=1e-3),))
    for _ in range(30):
        answer(place, "first", tpot_s=0.004)
        answer(place, "second", tpot_s=0.004)
        place.clock.advance(0.2)
    assert [place.choose()[0] for _ in range(20)].count("first") == 20
    answers = 0
    while place.choose()[0] == "first":
        answer(place, "first", tpot_s=0.012)
        answers += 1
        assert answers <= 5
    assert [place.choose()[0] for _ in range(20)].count("second") == 20


def test_a_doubled_price_moves_the_next_request() -> None:
    """A price holds from the moment the snapshot has it."""
    place = site((backend("first"), 1.0), (backend("second"), 1.3))
    assert place.choose()[0] == "first"
    place.prices["first", ""] = price("first", 2.0)
    place.apply()
    chosen, why = place.choose()
    assert chosen == "second"
    assert why.startswith("for price: ")


def test_a_backend_that_joins_a_running_fleet_starts_slowly() -> None:
    """Its first five answers are of requests that explore; for a minute it takes a growing share of its slots."""
    place = site((backend("old"), 1.0), classes=(CHAT, replace(EXPLORING, explore_share=1.0)))
    place.backends["new"] = backend("new", max_concurrency=60)
    place.prices["new", ""] = price("new", 0.6)
    place.apply()
    place.clock.advance(10.0)
    assert place.choose()[0] == "old"
    assert place.choose(workload_class="exploring")[0] == "new"
    for _ in range(5):
        answer(place, "new", tpot_s=0.004)
    assert place.choose()[0] == "new"
    place.busy("new", 12)
    assert place.choose()[0] == "old"
    place.clock.advance(60.0)
    assert place.choose()[0] == "new"


def test_a_new_backend_serves_at_once_where_nothing_else_can() -> None:
    """Being new is no reason to refuse."""
    place = site((backend("old", region="us-1"), 1.0))
    place.backends["new"] = backend("new", region="eu-1")
    place.prices["new", ""] = price("new", 0.6)
    place.apply()
    assert place.choose(placement=Placement(regions=("eu-1",)))[0] == "new"


def test_the_fleet_that_a_router_starts_with_is_not_new() -> None:
    """Otherwise the first answers of a restarted router would decide where everything goes."""
    place = site((backend("a"), 1.0), (backend("b"), 0.5))
    assert place.choose()[0] == "b"
