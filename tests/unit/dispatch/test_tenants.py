"""What a tenant's policy makes of a request, and how the snapshot's tenants take effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.scripted import Finish, Text
from router.clock import FakeClock
from router.dispatch.tenants import ANYTHING, Tenants, restrict
from router.domain.catalogue import Catalogue
from router.domain.fleet import PrivacyLevel
from router.domain.policies import Policies, WorkloadClass
from router.domain.request import Objective, Placement, Priority, RequestProfile
from router.domain.tenant import Limits, Tenant, TenantPolicy
from router.errors import PermissionDenied, TenantLimited, Unauthenticated
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
