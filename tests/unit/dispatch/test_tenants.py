"""What a tenant's policy makes of a request, and how the director lets tenants in and settles what they used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.contract import Chunk, GenerateRequest, Message
from backends.scripted import Cut, Fail, Finish, Stall, Text
from router.clock import FakeClock, SystemClock
from router.dispatch.decider import Plan
from router.dispatch.director import Director
from router.dispatch.tenants import ANYTHING, Tenants, restrict
from router.domain.catalogue import Catalogue
from router.domain.fleet import PrivacyLevel
from router.domain.outcome import AttemptOutcome, Outcome, PickReport, TokenUsage
from router.domain.policies import Policies, WorkloadClass
from router.domain.request import Objective, Placement, Priority, RequestProfile
from router.domain.tenant import Limits, Tenant, TenantPolicy
from router.errors import NotFound, PermissionDenied, RouterError, Shed, TenantLimited, Unauthenticated
from router.scheduling.filters import region_matches

GOOD = [Text(text="good"), Finish()]
CATALOGUE = Catalogue(aliases={"alias": "m"}, classes={"any": ("m", "other")})
POLICIES = Policies(
    classes={name: WorkloadClass(name=name) for name in ("interactive", "batch", "realtime")},
    objectives={Objective.LATENCY: "realtime", Objective.COST: "batch"},
)
MakeRig = Callable[..., Any]


def profile(**fields: Any) -> RequestProfile:
    base: dict[str, Any] = {"request_id": "r1", "model": "m", "tenant": "t", "input_tokens": 20.0}
    return RequestProfile(**(base | fields))


def restricted(policy: TenantPolicy, **fields: Any) -> RequestProfile:
    return restrict(profile(**fields), policy, catalogue=CATALOGUE, policies=POLICIES)


names = st.sampled_from(["m", "other", "alias", "any"])
classes = st.sampled_from(["interactive", "batch", "realtime"])
regions = st.sampled_from(["eu-1", "eu-2", "eu-*", "eu*", "us-1", "us-*", "*", "e*", "asia-1"])
costs = st.none() | st.floats(0.001, 10.0)
tenant_policies = st.builds(
    TenantPolicy,
    models=st.lists(names, max_size=2).map(tuple),
    classes=st.lists(classes, max_size=2).map(tuple),
    privacy=st.sampled_from(PrivacyLevel),
    regions=st.lists(regions, max_size=3).map(tuple),
    priority=st.sampled_from(Priority),
    max_cost_usd=costs,
)
wishes = st.fixed_dictionaries({
    "model": names,
    "workload_class": classes | st.just(""),
    "objective": st.none() | st.sampled_from(Objective),
    "priority": st.sampled_from(Priority),
    "max_cost_usd": costs,
    "placement": st.builds(
        Placement, privacy=st.sampled_from(PrivacyLevel), regions=st.lists(regions, max_size=3).map(tuple)
    ),
})  # fmt: skip


def effective_class(request: RequestProfile) -> str:
    name = request.workload_class
    if not name and request.objective is not None:
        name = POLICIES.objectives.get(request.objective, "")
    return name or POLICIES.default_class


@settings(max_examples=500)
@given(policy=tenant_policies, wish=wishes)
def test_a_policy_only_tightens(policy: TenantPolicy, wish: dict[str, Any]) -> None:
    """Whatever a caller sends: what comes out is within the policy, and within what was asked."""
    asked = profile(**wish)
    try:
        got = restrict(asked, policy, catalogue=CATALOGUE, policies=POLICIES)
    except PermissionDenied:
        return
    if policy.models:
        allowed = {model for name in policy.models for model in CATALOGUE.resolve(name)}
        assert set(CATALOGUE.resolve(got.model)) <= allowed
    if policy.classes:
        assert effective_class(got) in policy.classes
    assert got.placement.privacy >= max(policy.privacy, asked.placement.privacy)
    assert got.priority <= min(policy.priority, asked.priority)
    for cap in (policy.max_cost_usd, asked.max_cost_usd):
        assert cap is None or (got.max_cost_usd is not None and got.max_cost_usd <= cap)
    for region in ("eu-1", "eu-2", "eu-3", "europe", "us-1", "us-2", "asia-1", "e"):
        matches = [not one or region_matches(region, one) for one in (asked.placement.regions, policy.regions)]
        assert (not got.placement.regions or region_matches(region, got.placement.regions)) == all(matches)
    untouched = {"workload_class", "placement", "priority", "max_cost_usd"}
    kept = {name: getattr(asked, name) for name in untouched}
    assert replace(got, **kept) == asked


@given(policy=tenant_policies, wish=wishes)
def test_a_policy_applied_twice_is_a_policy_applied_once(policy: TenantPolicy, wish: dict[str, Any]) -> None:
    """What a policy allows it allows again, and nothing less."""
    try:
        once = restrict(profile(**wish), policy, catalogue=CATALOGUE, policies=POLICIES)
    except PermissionDenied:
        return
    again = restrict(once, policy, catalogue=CATALOGUE, policies=POLICIES)
    assert set(again.placement.regions) == set(once.placement.regions)
    assert replace(again, placement=once.placement) == once


@pytest.mark.parametrize(
    ("policy", "fields", "named"),
    [
        (TenantPolicy(models=("other",)), {}, "model: 'm'"),
        (TenantPolicy(models=("m",)), {"model": "any"}, "model: 'any'"),
        (TenantPolicy(models=("m",)), {"model": "no-such-model"}, "model: 'no-such-model'"),
        (TenantPolicy(classes=("batch",)), {"workload_class": "realtime"}, "routing.workload_class"),
        (TenantPolicy(classes=("batch",)), {"objective": Objective.LATENCY}, "routing.objective"),
        (TenantPolicy(regions=("eu-*",)), {"placement": Placement(regions=("us-1",))}, "routing.placement.regions"),
    ],
)
def test_what_is_not_allowed_is_refused_by_field(policy: TenantPolicy, fields: dict[str, Any], named: str) -> None:
    """PERMISSION_DENIED begins with the field at fault, and says what is allowed."""
    with pytest.raises(PermissionDenied) as caught:
        restricted(policy, **fields)

    assert str(caught.value).startswith(named)


def test_names_that_mean_allowed_models_are_allowed() -> None:
    """A model is allowed by its own name, by an alias, and by a class of models; and the other way round."""
    assert restricted(TenantPolicy(models=("m",)), model="alias").model == "alias"
    assert restricted(TenantPolicy(models=("alias",)), model="m").model == "m"
    assert restricted(TenantPolicy(models=("any",)), model="other").model == "other"


def test_the_default_class_serves_who_names_nothing() -> None:
    """A request without class or objective has the tenant's default, or the first class that is allowed."""
    assert restricted(TenantPolicy(default_class="batch")).workload_class == "batch"
    assert restricted(TenantPolicy(default_class="batch"), workload_class="realtime").workload_class == "realtime"
    assert restricted(TenantPolicy(default_class="batch"), objective=Objective.COST).workload_class == ""
    assert restricted(TenantPolicy(classes=("realtime", "batch"))).workload_class == "realtime"
    assert restricted(TenantPolicy(classes=("batch", "interactive"))).workload_class == ""


def test_without_a_policy_the_request_is_the_same_object() -> None:
    """What has no policy costs nothing."""
    asked = profile()
    assert restrict(asked, ANYTHING, catalogue=CATALOGUE, policies=POLICIES) is asked


class Snapshot:
    """Tenants that a test can change, as the sync does."""

    def __init__(self, *tenants: Tenant) -> None:
        self.tenants = {tenant.id: tenant for tenant in tenants}

    def put(self, *tenants: Tenant) -> None:
        self.tenants = {tenant.id: tenant for tenant in tenants}


def tenants_of(snapshot: Snapshot) -> Tenants:
    return Tenants(
        tenants=lambda: snapshot.tenants,
        policies=lambda: POLICIES,
        catalogue=CATALOGUE,
        clock=FakeClock(),
        replicas=lambda: 1,
    )


def test_a_new_snapshot_holds_at_once_and_keeps_what_is_counted() -> None:
    """Limits and policy of the next request are the new ones; what is in flight goes on being counted."""
    snapshot = Snapshot(Tenant(id="t"))
    tenants = tenants_of(snapshot)
    _, ticket = tenants.enter(profile())
    snapshot.put(Tenant(id="t", limits=Limits(max_in_flight=1), policy=TenantPolicy(priority=Priority.SHEDDABLE)))
    with pytest.raises(TenantLimited):
        tenants.enter(profile())
    assert (tenants.state("t").in_flight, tenants.state("t").refused) == (1, 1)
    ticket.settle(0.0, 0.0, 0.0)

    assert tenants.enter(profile())[0].priority is Priority.SHEDDABLE


def test_a_removed_tenant_is_not_served_and_the_default_always_is() -> None:
    """Between authentication and here a tenant may go; the default tenant needs no document."""
    tenants = tenants_of(Snapshot())
    with pytest.raises(Unauthenticated):
        tenants.enter(profile())

    assert tenants.enter(profile(tenant="default"))[0].tenant == "default"
    assert tenants.state("t").in_flight == 0


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
