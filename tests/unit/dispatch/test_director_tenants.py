"""How the director lets tenants in, and settles and accounts for what they used, once, whatever ends a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from backends.contract import Chunk, GenerateRequest, Message
from backends.scripted import Cut, Fail, Finish, Stall, Text
from router.clock import SystemClock
from router.dispatch.decider import Plan
from router.dispatch.director import Director
from router.dispatch.tenants import Tenants
from router.domain.fleet import PrivacyLevel
from router.domain.outcome import AttemptOutcome, Outcome, PickReport, TokenUsage
from router.domain.request import RequestProfile
from router.domain.tenant import Limits, Tenant, TenantPolicy
from router.errors import NotFound, PermissionDenied, RouterError, Shed, TenantLimited

GOOD = [Text(text="good"), Finish()]
MakeRig = Callable[..., Any]


def profile(**fields: Any) -> RequestProfile:
    base: dict[str, Any] = {"request_id": "r1", "model": "m", "tenant": "t", "input_tokens": 20.0}
    return RequestProfile(**(base | fields))


class Notes:
    """A meter that notes what it is told."""

    def __init__(self) -> None:
        self.metered: list[tuple[str, list[AttemptOutcome]]] = []

    def record(self, tenant: str, attempts: Sequence[AttemptOutcome]) -> None:
        self.metered.append((tenant, list(attempts)))


class Memory:
    """A memory of recent requests, as plain as can be."""

    def __init__(self) -> None:
        self.recorded: list[tuple[RequestProfile, str, bool]] = []

    def record(self, profile: RequestProfile, plan: Plan, outcome: Outcome | None, result: str) -> None:
        assert plan.decision.id == profile.request_id
        self.recorded.append((profile, result, outcome is not None))


class House:
    """A director of scripted backends with one tenant, and who is told of what."""

    def __init__(self, rig: Any, tenant: Tenant) -> None:
        self.rig = rig
        self.notes = Notes()
        self.memory = Memory()
        self.tenants = Tenants(
            tenants=lambda: self.there,
            policies=lambda: rig.fleet.policies,
            catalogue=rig.fleet.catalogue,
            clock=SystemClock(),
            replicas=lambda: 1,
        )
        self.there = {"t": tenant}
        old = rig.director
        self.director = Director(
            fleet=rig.fleet,
            decider=old._decider,
            executor=old._executor,
            feedback=old._feedback,
            admission=rig.admission,
            metrics=rig.metrics,
            clock=SystemClock(),
            tenants=self.tenants,
            meter=self.notes,
            recent=self.memory,
        )
        self.gate = self.tenants._member("t").gate

    async def serve(self, **fields: Any) -> list[Any]:
        request = GenerateRequest(model="m", messages=(Message(role="user", content="hello"),))
        events = []
        async with aclosing(self.director.serve(request, profile(**fields))) as stream:
            async for event in stream:
                events.append(event)
                if fields.get("task") == "leave" and isinstance(event, Chunk):
                    break
        return events

    @property
    def metered(self) -> list[tuple[str, list[str]]]:
        return [(tenant, [a.result for a in attempts]) for tenant, attempts in self.notes.metered]

    @property
    def usd(self) -> float:
        return sum(a.cost_usd for _, attempts in self.notes.metered for a in attempts)

    def check_settled(self) -> None:
        """Nothing is open, and what was spent is what was metered."""
        budget = self.gate.budgets["usd_per_day"]
        assert self.gate.in_flight == self.rig.admission.in_flight == 0
        assert budget.reserved == pytest.approx(0.0, abs=1e-12)
        assert budget.spent == pytest.approx(self.usd)


PAYING = Tenant(id="t", limits=Limits(usd_per_day=1000.0, tokens_per_s=1e6))


async def test_an_answered_request_is_metered_and_settled(make_rig: MakeRig) -> None:
    """The tenant's meter has the attempt, its budget the cost, and the memory the request with its outcome."""
    house = House(make_rig({"a": [GOOD]}), PAYING)
    await house.serve()

    assert house.metered == [("t", ["OK"])]
    assert house.usd > 0.0
    house.check_settled()
    assert [(result, answered) for _, result, answered in house.memory.recorded] == [("OK", True)]


async def test_failed_attempts_before_an_answer_are_metered_too(make_rig: MakeRig) -> None:
    """Each attempt of a request that failed over is accounted for once, in one record."""
    house = House(make_rig({"a": [[Fail(code="UPSTREAM_FAULT")]], "b": [GOOD]}), PAYING)
    await house.serve()

    assert house.metered == [("t", ["UPSTREAM_FAULT", "OK"])]
    house.check_settled()


async def test_a_request_that_failed_everywhere_is_metered(make_rig: MakeRig) -> None:
    """The attempts of an error are accounted for, and nothing stays reserved."""
    house = House(make_rig({"a": [[Fail(code="UPSTREAM_FAULT")]], "b": [[Fail(code="UPSTREAM_FAULT")]]}), PAYING)
    with pytest.raises(RouterError):
        await house.serve()

    assert house.metered == [("t", ["UPSTREAM_FAULT", "UPSTREAM_FAULT"])]
    house.check_settled()
    assert [result for _, result, _ in house.memory.recorded] == ["UPSTREAM_FAILED"]


async def test_a_stream_that_breaks_is_metered_for_what_it_gave(make_rig: MakeRig) -> None:
    """What was generated before the break costs money, once."""
    house = House(make_rig({"a": [[Text(text="half of it"), Cut()]]}), PAYING)
    with pytest.raises(RouterError):
        await house.serve()

    assert house.metered == [("t", ["STREAM_BROKEN"])]
    assert house.usd > 0.0
    house.check_settled()


async def test_a_caller_who_leaves_pays_for_what_was_generated(make_rig: MakeRig) -> None:
    """A cancelled attempt is metered and settled like any other."""
    house = House(make_rig({"a": [[Text(text="one two three"), Stall()]]}), PAYING)
    await house.serve(task="leave")

    assert house.metered == [("t", ["CANCELLED"])]
    assert house.usd > 0.0
    house.check_settled()
    assert [result for _, result, _ in house.memory.recorded] == ["CANCELLED"]


async def test_a_request_that_is_shed_takes_nothing(make_rig: MakeRig) -> None:
    """What admission refuses gives its place in the rate back, and is neither metered nor remembered."""
    rig = make_rig({"a": [GOOD]})
    house = House(rig, Tenant(id="t", limits=Limits(requests_per_s=1.0, usd_per_day=1.0)))
    rig.admission.in_flight = 100
    for _ in range(3):
        with pytest.raises(Shed):
            await house.serve()
    rig.admission.in_flight = 0
    await house.serve()

    assert len(house.notes.metered) == 1
    assert len(house.memory.recorded) == 1


async def test_a_tenant_at_its_limit_is_refused_before_anything_is_decided(make_rig: MakeRig) -> None:
    """TENANT_LIMITED comes before admission and planning: no decision is made, nothing is tried."""
    rig = make_rig({"a": [GOOD, GOOD]})
    house = House(rig, Tenant(id="t", limits=Limits(requests_per_s=0.1)))
    await house.serve()
    with pytest.raises(TenantLimited):
        await house.serve(request_id="r2")

    assert len(rig.adapters["a"].calls) == 1
    assert rig.metrics.registry.get_sample_value("router_decision_seconds_count") in {1.0, None}
    assert rig.admission.in_flight == 0


async def test_the_policy_holds_for_serving_picking_and_explaining(make_rig: MakeRig) -> None:
    """The floor of privacy drops the same backend everywhere; a model that is not allowed is refused everywhere."""
    rig = make_rig({"a": [GOOD], "b": [GOOD]}, b={"privacy": PrivacyLevel.OWN_HARDWARE})
    house = House(rig, Tenant(id="t", policy=TenantPolicy(privacy=PrivacyLevel.NO_TRAINING, models=("m",))))

    assert (await house.serve())[-1].candidate.backend == "b"
    assert [c.backend for c in house.director.explain(profile()).ranked] == ["b"]
    assert [c.backend for c, _ in house.director.pick(profile()).endpoints] == ["b"]
    for ask in (house.director.explain, house.director.pick):
        with pytest.raises(PermissionDenied):
            ask(profile(model="other"))


def test_a_pick_is_settled_when_it_is_reported(make_rig: MakeRig) -> None:
    """Until the report the estimate is reserved; then what it used is spent, and metered."""
    house = House(make_rig({"a": [GOOD], "b": [GOOD]}), PAYING)
    house.director.pick(profile())
    assert house.gate.in_flight == 1
    assert house.gate.budgets["usd_per_day"].reserved > 0.0
    assert not house.notes.metered
    report = PickReport(
        pick_id="r1", tenant="t", backend="b", ttft_s=0.1, e2e_s=0.2, usage=TokenUsage(input=20, output=7)
    )
    house.director.report(report)

    assert house.metered == [("t", ["CANCELLED", "OK"])]
    assert house.usd > 0.0
    house.check_settled()


def test_a_pick_that_expires_is_settled_with_nothing(make_rig: MakeRig) -> None:
    """A pick that nobody reports on costs nothing, and its place is free again."""
    rig = make_rig({"a": [GOOD]})
    house = House(rig, PAYING)
    house.director.pick(profile())
    house.director._picks.expire(SystemClock().monotonic() + 1e6)

    assert house.usd == 0.0
    house.check_settled()


def test_a_pick_that_fails_is_settled(make_rig: MakeRig) -> None:
    """A pick that nothing can serve, or whose id is taken, leaves nothing reserved but the first one's."""
    house = House(make_rig({"a": [GOOD]}), PAYING)
    with pytest.raises(RouterError):
        house.director.pick(profile(model="no-such-model"))
    house.check_settled()
    house.director.pick(profile())
    with pytest.raises(RouterError):
        house.director.pick(profile())

    assert house.gate.in_flight == 1


def test_a_pick_can_be_reported_by_its_own_tenant_only(make_rig: MakeRig) -> None:
    """To another tenant the pick does not exist."""
    house = House(make_rig({"a": [GOOD]}), PAYING)
    house.director.pick(profile())
    with pytest.raises(NotFound):
        house.director.report(PickReport(pick_id="r1", tenant="default"))

    house.director.report(PickReport(pick_id="r1", tenant="t"))
