"""The director's other entries: explain, pick and report, models, admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backends.scripted import Fail, Finish, Text
from router.domain.decision import DropReason
from router.domain.fleet import Capability, Health, HealthState, Parameter, PrivacyLevel
from router.domain.outcome import PickReport, TokenUsage
from router.domain.request import Placement, Priority, RequestProfile, Slo
from router.domain.wires import Features, WireFacts
from router.errors import (
    AlreadyExists,
    InvalidRequest,
    NoEndpoint,
    NotFound,
    Shed,
    ShuttingDown,
    SloInfeasible,
    UnknownModel,
    UpstreamFailed,
)

GOOD = [Text(text="good"), Finish()]
MakeRig = Callable[..., Any]


def profile(**fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": "r1", "model": "m", "input_tokens": 20.0, "max_output_tokens": 64}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]


def test_explain_names_every_candidate_and_every_drop(make_rig: MakeRig) -> None:
    """Each backend is either a candidate with numbers or a drop with a reason."""
    rig = make_rig(
        {"a": [GOOD], "b": [GOOD], "c": [GOOD]},
        b={"privacy": PrivacyLevel.OWN_HARDWARE},
        c={"models": ()},
    )
    decision = rig.director.explain(profile(placement=Placement(privacy=PrivacyLevel.ZERO_RETENTION)))
    assert [c.backend for c in decision.ranked] == ["b"]
    assert {d.backend: d.reason for d in decision.drops} == {"a": DropReason.PRIVACY, "c": DropReason.MODEL}
    assert decision.snapshot_version == 7
    assert not rig.adapters["b"].calls


@pytest.mark.parametrize(
    ("fields", "facts", "reason"),
    [
        ({"placement": Placement(regions=("eu-*",))}, {"region": "us-1"}, DropReason.REGION),
        ({"placement": Placement(only_backends=("z",))}, {}, DropReason.EXCLUDED),
        ({"placement": Placement(excluded_backends=("a",))}, {}, DropReason.EXCLUDED),
        ({"needs": frozenset({Capability.VISION})}, {}, DropReason.CAPABILITY),
        ({"input_tokens": 9000.0}, {}, DropReason.CONTEXT),
        ({"minimum_context_tokens": 9000}, {}, DropReason.CONTEXT),
        ({"minimum_quality": 0.9}, {}, DropReason.QUALITY),
        ({"max_cost_usd": 1e-9}, {}, DropReason.COST_CAP),
        ({}, {"drained": True}, DropReason.DRAINING),
        ({}, {"requests_per_minute": 0}, None),
    ],
)
def test_each_hard_constraint_drops_with_its_reason(
    make_rig: MakeRig, fields: dict[str, object], facts: dict[str, object], reason: DropReason | None
) -> None:
    """A constraint that a backend does not satisfy drops it, with both sides of the comparison in the detail."""
    rig = make_rig({"a": [GOOD]}, a=facts)
    decision = rig.director.explain(profile(**fields))
    assert [d.reason for d in decision.drops] == ([reason] if reason else [])
    assert all(d.detail for d in decision.drops)


WIRES = {
    "plain": WireFacts(
        profiles={"generic": Features(parameters=frozenset(Parameter) - {Parameter.TOP_K, Parameter.SEED})}
    ),
    "scripted": WireFacts(profiles={"generic": Features()}),
}


async def test_a_parameter_that_a_family_does_not_take_keeps_a_request_away(make_rig: MakeRig) -> None:
    """Nothing is sent to a backend whose dialect lacks it, not even as a fallback; explain and why-not name it."""
    scripts = {"a": [GOOD], "b": [[Fail(code="UPSTREAM_FAULT")]], "c": [GOOD]}
    rig = make_rig(scripts, wires=WIRES, a={"wire": "plain"}, c={"wire": "plain"})
    asked = profile(parameters=frozenset({Parameter.TOP_K, Parameter.TEMPERATURE}))
    decision = rig.director.explain(asked)
    assert {d.backend: d.detail for d in decision.drops} == dict.fromkeys(("a", "c"), "m: does not take top_k")
    assert {d.reason for d in decision.drops} == {DropReason.CAPABILITY}
    assert "does not take top_k" in (await rig.director.why_not(asked, "a")).why
    with pytest.raises(UpstreamFailed):
        await rig.serve(parameters=asked.parameters)
    assert [name for name, adapter in rig.adapters.items() if adapter.calls] == ["b"]


async def test_a_parameter_that_nobody_takes_is_named(make_rig: MakeRig) -> None:
    """The error says what stands in the way, so that the caller knows what to leave out."""
    rig = make_rig({"a": [GOOD]}, wires=WIRES, a={"wire": "plain"})
    with pytest.raises(NoEndpoint, match=r"'m': CAPABILITY \(does not take top_k, seed\)"):
        await rig.serve(parameters=frozenset({Parameter.TOP_K, Parameter.SEED}))


async def test_what_a_backend_declares_beyond_its_family_counts_for_nothing(make_rig: MakeRig) -> None:
    """A stored backend may claim what its wire cannot do; it does not get such requests."""
    wires = {"plain": WireFacts(profiles={"generic": Features(capabilities=frozenset())})}
    rig = make_rig({"a": [GOOD]}, wires=wires, a={"wire": "plain", "capabilities": frozenset({Capability.TOOLS})})
    decision = rig.director.explain(profile(needs=frozenset({Capability.TOOLS})))
    assert [(d.reason, d.detail) for d in decision.drops] == [(DropReason.CAPABILITY, "m: cannot do: tools")]


async def test_nothing_left_is_an_error_that_lists_the_drops(make_rig: MakeRig) -> None:
    """NO_ENDPOINT carries each backend's reason for programs."""
    rig = make_rig({"a": [GOOD]}, a={"drained": True})
    with pytest.raises(NoEndpoint) as caught:
        await rig.serve()
    assert caught.value.metadata() == {"drop/a": "DRAINING"}


async def test_an_ejected_backend_is_passed_over(make_rig: MakeRig) -> None:
    """What the fleet agrees is sick is not chosen while another can serve."""
    rig = make_rig({"a": [GOOD], "b": [GOOD]}, health={"a": Health(state=HealthState.EJECTED)})
    events = await rig.serve()
    assert events[-1].candidate.backend == "b"


async def test_an_unknown_model_is_named(make_rig: MakeRig) -> None:
    """A name that neither catalogue nor fleet knows is UNKNOWN_MODEL; an alias and a class resolve."""
    rig = make_rig({"a": [GOOD]})
    with pytest.raises(UnknownModel, match="nope"):
        await rig.serve(model="nope")
    assert (await rig.serve(model="alias", request_id="r2"))[-1].candidate.model == "m"
    assert (await rig.serve(model="any", request_id="r3"))[-1].candidate.model == "m"


def test_an_unknown_workload_class_is_named(make_rig: MakeRig) -> None:
    """A class that the policies lack is refused with the field and what there is."""
    rig = make_rig({"a": [GOOD]})
    with pytest.raises(InvalidRequest, match=r"routing\.workload_class.*interactive"):
        rig.director.explain(profile(workload_class="nope"))


async def test_an_slo_nobody_can_meet_is_best_effort_or_refused(make_rig: MakeRig) -> None:
    """Best effort serves and says so; reject refuses with the odds."""
    rig = make_rig({"a": [GOOD]})
    events = await rig.serve(slo=Slo(ttft_s=1e-6))
    assert events[0].decision.slo_infeasible
    with pytest.raises(SloInfeasible, match=r"a comes nearest, with 0\.00"):
        await rig.serve(request_id="r2", slo=Slo(ttft_s=1e-6, reject_infeasible=True))


def test_a_pick_reserves_until_its_report(make_rig: MakeRig) -> None:
    """A pick counts as in flight until it is reported, and the report teaches."""
    rig = make_rig({"a": [GOOD], "b": [GOOD]})
    pick = rig.director.pick(profile())
    assert [c.backend for c, _ in pick.endpoints] == ["a", "b"]
    assert rig.fleet.members["a"].live.in_flight == 1
    report(rig, pick.pick_id, ttft_s=0.2, e2e_s=0.4, usage=TokenUsage(input=20, output=11))
    assert rig.fleet.members["a"].live.in_flight == 0
    assert rig.fleet.row("a", "m").learned.observations == 1
    with pytest.raises(NotFound):
        report(rig, pick.pick_id)


def test_a_report_of_a_fallback_counts_for_that_one(make_rig: MakeRig) -> None:
    """The caller may have gone to the second endpoint: its learning, its count."""
    rig = make_rig({"a": [GOOD], "b": [GOOD]})
    pick = rig.director.pick(profile())
    report(rig, pick.pick_id, backend="b", ttft_s=0.2, e2e_s=0.4, usage=TokenUsage(input=20, output=11))
    assert rig.fleet.row("b", "m").learned.observations == 1
    assert rig.fleet.row("a", "m").learned.observations == 0
    assert {m.live.in_flight for m in rig.fleet.members.values()} == {0}


def test_a_wrong_report_says_what_is_wrong_and_keeps_the_pick(make_rig: MakeRig) -> None:
    """An unknown backend or result is refused by field; the pick can still be reported."""
    rig = make_rig({"a": [GOOD]})
    pick = rig.director.pick(profile())
    with pytest.raises(InvalidRequest, match="backend"):
        report(rig, pick.pick_id, backend="zzz")
    with pytest.raises(InvalidRequest, match="result"):
        report(rig, pick.pick_id, result="WONDERFUL")
    report(rig, pick.pick_id, result="OVERLOADED")
    assert rig.fleet.members["a"].live.limited_until > 0.0


async def test_admission_sheds_by_priority_and_stops_when_draining(make_rig: MakeRig) -> None:
    """Sheddable requests leave first; while draining nobody gets in."""
    rig = make_rig({"a": [GOOD]})
    rig.admission.in_flight = 85
    with pytest.raises(Shed) as caught:
        await rig.serve(priority=Priority.SHEDDABLE)
    assert caught.value.retry_after_s == 1.0
    await rig.serve()
    rig.director.begin_drain()
    assert not rig.director.ready
    with pytest.raises(ShuttingDown):
        await rig.serve()


async def test_an_idempotency_key_answers_once(make_rig: MakeRig) -> None:
    """The second request with a key is refused; a key whose request failed may be used again."""
    rig = make_rig({"a": [[Fail(code="BAD_REQUEST")], GOOD]})
    with pytest.raises(Exception, match="failed"):
        await rig.serve(idempotency_key="k")
    await rig.serve(idempotency_key="k")
    with pytest.raises(AlreadyExists):
        await rig.serve(idempotency_key="k")


def test_models_lists_what_is_served(make_rig: MakeRig) -> None:
    """Models, aliases and classes that something serves, each with its backends."""
    rig = make_rig({"a": [GOOD]})
    assert [(m.id, m.kind, m.backends) for m in rig.director.models()] == [
        ("m", "model", ("a",)),
        ("alias", "alias", ("a",)),
        ("any", "class", ("a",)),
    ]


async def test_why_not_names_the_constraint_or_the_dollars(make_rig: MakeRig) -> None:
    """A dropped backend is answered with its drop, a dearer one with the gap."""
    rig = make_rig({"a": [GOOD], "b": [GOOD], "c": [GOOD]}, c={"drained": True})
    assert "money" in (await rig.director.why_not(profile(), "b")).why
    assert "DRAINING" in (await rig.director.why_not(profile(), "c")).why
    with pytest.raises(NotFound):
        await rig.director.why_not(profile(), "nope")


def report(rig: Any, pick_id: str, **fields: Any) -> None:
    rig.director.report(PickReport(pick_id=pick_id, **fields))
