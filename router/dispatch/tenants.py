"""What a tenant's policy makes of a request, and the limits that it passes on its way in.

A policy only tightens: nothing a caller sends loosens it. It is applied before anything else looks at the request, so
that admission, deciding, failover and restarts all see what is allowed. Limits come next, from what this replica holds
of them (`resilience.tenant_gate`); a refused request costs a few comparisons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from router.clock import Clock
from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.request import RequestProfile
from router.domain.slices import Ask, BudgetAsk, BudgetGrant, Grant, RateAsk, RateGrant
from router.domain.tenant import DEFAULT_TENANT, Tenant, TenantPolicy
from router.errors import PermissionDenied, Unauthenticated
from router.resilience.tenant_gate import TenantGate, Ticket

ANYTHING = TenantPolicy()
NOBODY: Mapping[str, Tenant] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUse:
    """What is known here of a tenant's use: dollars of all replicas, the rest of this one."""

    usd_today: float = 0.0
    usd_this_month: float = 0.0
    in_flight: int = 0
    refused: int = 0


def restrict(
    profile: RequestProfile, policy: TenantPolicy, *, catalogue: Catalogue, policies: Policies
) -> RequestProfile:
    """The request as the policy allows it.

    Raises:
        PermissionDenied: it asks for what the tenant may not have; the message names the field.
    """
    if policy is ANYTHING:
        return profile
    if policy.models and not _model_allowed(profile.model, policy.models, catalogue):
        raise _denied("model", f"'{profile.model}' is not allowed; allowed are {', '.join(policy.models)}")
    placement = profile.placement
    return replace(
        profile,
        workload_class=_workload_class(profile, policy, policies),
        placement=replace(
            placement,
            privacy=max(placement.privacy, policy.privacy),
            regions=_regions(placement.regions, policy.regions),
        ),
        priority=min(profile.priority, policy.priority),
        max_cost_usd=_least(profile.max_cost_usd, policy.max_cost_usd),
    )


def _denied(field: str, what: str) -> PermissionDenied:
    return PermissionDenied(f"{field}: {what}")


def _model_allowed(asked: str, allowed: Sequence[str], catalogue: Catalogue) -> bool:
    """Whether every model that a name stands for is allowed, by its own name, an alias or a class."""
    if asked in allowed:
        return True
    models = {model for name in allowed for model in catalogue.resolve(name)}
    return models.issuperset(catalogue.resolve(asked))


def _workload_class(profile: RequestProfile, policy: TenantPolicy, policies: Policies) -> str:
    name = profile.workload_class
    if name:
        field = "routing.workload_class"
    elif profile.objective is not None:
        field, name = "routing.objective", policies.objectives.get(profile.objective, "") or policies.default_class
    elif policy.default_class:
        return policy.default_class
    else:
        name = policies.default_class
        # Who names nothing is served by what is allowed.
        return "" if not policy.classes or name in policy.classes else policy.classes[0]
    if policy.classes and name not in policy.classes:
        raise _denied(field, f"class '{name}' is not allowed; allowed are {', '.join(policy.classes)}")
    return profile.workload_class


def _regions(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The regions that are in both; each is a name, or the beginning of names and a "*"."""
    if not allowed:
        return asked
    if not asked:
        return allowed
    both = tuple(dict.fromkeys(common for a in asked for b in allowed if (common := _common(a, b)) is not None))
    if not both:
        raise _denied("routing.placement.regions", f"none of {', '.join(asked)} is in {', '.join(allowed)}")
    return both


def _common(one: str, other: str) -> str | None:
    """The narrower of two patterns, where they have something in common."""
    for narrow, wide in ((one, other), (other, one)):
        if narrow == wide or (wide.endswith("*") and narrow.removesuffix("*").startswith(wide[:-1])):
            return narrow
    return None


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


@dataclass(slots=True)
class _Member:
    tenant: Tenant
    policy: TenantPolicy
    gate: TenantGate


class Tenants:
    """All tenants, as this replica serves them; also the source for which `state.slices` asks.

    `tenants` gives those of the snapshot and `policies` those that are in force; `clock.time()` is the store's, so that
    all replicas agree on what day it is; `replicas` is the number of live ones, last known while the store is away.
    `hungry` is set when it would help to ask the store at once.
    """

    def __init__(
        self,
        *,
        tenants: Callable[[], Mapping[str, Tenant]],
        policies: Callable[[], Policies],
        catalogue: Catalogue,
        clock: Clock,
        replicas: Callable[[], int],
    ) -> None:
        self.hungry = asyncio.Event()
        self._source = tenants
        self._policies = policies
        self._catalogue = catalogue
        self._clock = clock
        self._replicas = replicas
        self._seen: Mapping[str, Tenant] | None = None
        self._members: dict[str, _Member] = {}
        self._away = False

    def restrict(self, profile: RequestProfile) -> RequestProfile:
        """What the tenant's policy makes of a request; see `restrict`."""
        policy = self._member(profile.tenant).policy
        return restrict(profile, policy, catalogue=self._catalogue, policies=self._policies())

    def enter(self, profile: RequestProfile) -> tuple[RequestProfile, Ticket]:
        """The request as the policy allows it, and the right to serve it.

        Raises:
            PermissionDenied, TenantLimited, BudgetExhausted: see `restrict` and `TenantGate.enter`.
            Unauthenticated: the tenant was removed meanwhile.
        """
        member = self._member(profile.tenant)
        gate = member.gate
        if member.policy is not ANYTHING:
            profile = restrict(profile, member.policy, catalogue=self._catalogue, policies=self._policies())
        if gate.free:
            return profile, gate.enter(0.0, 0.0, 0.0, away=False)
        clock = self._clock
        return profile, gate.enter(profile.input_tokens, clock.monotonic(), clock.time(), away=self._away)

    def money_multiplier(self, tenant_id: str) -> float:
        """What a dollar counts for a tenant, 1 to 100; 1 for one without a budget."""
        member = self._members.get(tenant_id)
        if member is None or not member.gate.budgets:
            return 1.0
        return member.gate.money_multiplier(self._clock.monotonic(), self._clock.time())

    def state(self, tenant_id: str) -> TenantUse:
        """What is known here of a tenant's use; zeros of one that is not there."""
        self._refresh()
        member = self._members.get(tenant_id)
        if member is None:
            return TenantUse()
        gate = member.gate
        spent = {name: budget.total for name, budget in gate.budgets.items()}
        return TenantUse(
            usd_today=spent.get("usd_per_day", 0.0),
            usd_this_month=spent.get("usd_per_month", 0.0),
            in_flight=gate.in_flight,
            refused=gate.refused,
        )

    def asks(self, now: float) -> list[Ask]:
        """What to ask the store for now."""
        self._refresh()
        unix, replicas = self._clock.time(), max(1, self._replicas())
        found: list[Ask] = []
        for member in self._members.values():
            gate = member.gate
            if gate.free:
                continue
            found += [ask for rate in gate.rates.values() if (ask := rate.ask(now, replicas)) is not None]
            found += [told for money in gate.budgets.values() if (told := money.ask(now, unix, replicas)) is not None]
        return found

    def answered(self, asks: Sequence[Ask], grants: Sequence[Grant], sent_at: float) -> None:
        self._away = False
        for ask, grant in zip(asks, grants, strict=True):
            member = self._members.get(ask.tenant)
            if member is None:
                continue
            if isinstance(ask, RateAsk) and isinstance(grant, RateGrant):
                if (rate := member.gate.rates.get(ask.limit)) is not None:
                    rate.answered(ask, grant.amount, sent_at)
            elif (
                isinstance(ask, BudgetAsk)
                and isinstance(grant, BudgetGrant)
                and (budget := member.gate.budgets.get(ask.limit)) is not None
            ):
                budget.answered(ask, grant, sent_at)

    def unanswered(self, now: float) -> None:
        """The store is away; each tenant goes on with this replica's share."""
        self._away = True
        for member in self._members.values():
            member.gate.unanswered(now)

    def _member(self, tenant_id: str) -> _Member:
        self._refresh()
        member = self._members.get(tenant_id)
        if member is None:
            raise Unauthenticated(f"tenant '{tenant_id}' no longer exists")
        return member

    def _refresh(self) -> None:
        """Takes over the snapshot's tenants when they are others than last time."""
        tenants = self._source()
        if tenants is self._seen:
            return
        replicas = max(1, self._replicas())
        old, self._members, self._seen = self._members, {}, tenants
        for tenant in ({DEFAULT_TENANT: Tenant(id=DEFAULT_TENANT)} | dict(tenants)).values():
            member = old.get(tenant.id)
            if member is None:
                member = _Member(tenant, ANYTHING, TenantGate(tenant, replicas=replicas, wake=self.hungry.set))
                member.policy = tenant.policy if tenant.policy != ANYTHING else ANYTHING
            elif member.tenant != tenant:
                member.tenant = tenant
                member.policy = tenant.policy if tenant.policy != ANYTHING else ANYTHING
                member.gate.use(tenant.limits, replicas=replicas)
            self._members[tenant.id] = member
