"""Tenant messages to domain values and back; the rules are those of tenants.yaml."""

from __future__ import annotations

from collections.abc import Collection

from router.api.wire.checks import Checks
from router.api.wire.proto_profile import PRIVACY_LEVELS
from router.api.wire.times import timestamp
from router.dispatch.tenants import TenantUse
from router.domain.catalogue import Catalogue
from router.domain.fleet import PrivacyLevel
from router.domain.request import Priority
from router.domain.tenant import ApiKey, Limits, Tenant, TenantPolicy
from router.settings.tenants import contradictions
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as inference
from router.v1 import tenants_pb2 as pb

MAX_NAMES = 256
_LIMITS = ("requests_per_s", "tokens_per_s", "usd_per_day", "usd_per_month", "max_in_flight")


def decode_tenant(
    spec: pb.TenantSpec, keys: tuple[ApiKey, ...], *, catalogue: Catalogue, classes: Collection[str]
) -> Tenant:
    """The tenant that a message describes, with the keys that it has already.

    Raises:
        InvalidRequest: with every field that breaks a rule.
    """
    checks = Checks()
    checks.text("spec.id", spec.id, required=True)
    policy = spec.policy
    privacy = PRIVACY_LEVELS.get(policy.privacy)
    if privacy is None:
        checks.add("spec.policy.privacy", f"unknown value {policy.privacy}")
    # Unset is no ceiling.
    priority = _PRIORITIES.get(policy.priority)
    if priority is None:
        checks.add("spec.policy.priority", f"unknown value {policy.priority}")
    for field in ("models", "classes", "regions"):
        checks.count(f"spec.policy.{field}", len(getattr(policy, field)), MAX_NAMES)
    checks.raise_any()
    limits = spec.limits
    given = {name: getattr(limits, name) for name in _LIMITS if limits.HasField(name)}
    if limits.HasField("burst_s"):
        given["burst_s"] = limits.burst_s
    tenant = Tenant(
        id=spec.id,
        name=spec.name,
        disabled=spec.disabled,
        keys=keys,
        limits=Limits(**given),
        policy=TenantPolicy(
            models=tuple(policy.models),
            classes=tuple(policy.classes),
            default_class=policy.default_class,
            privacy=privacy or PrivacyLevel.ANY,
            regions=tuple(policy.regions),
            priority=priority or Priority.CRITICAL,
            max_cost_usd=policy.max_cost_usd if policy.HasField("max_cost_usd") else None,
        ),
    )
    for field, what in contradictions(tenant, catalogue=catalogue, classes=classes):
        checks.add(f"spec.{field}" if field else "spec.id", what)
    checks.raise_any()
    return tenant


_PRIORITIES: dict[int, Priority] = {0: Priority.CRITICAL} | {p.value: p for p in Priority}


def encode_tenant(tenant: Tenant, use: TenantUse) -> pb.Tenant:
    """Without the hashes of its keys: whoever knows them cannot use them, but nobody needs them either."""
    limits, policy = tenant.limits, tenant.policy
    spec = pb.TenantSpec(
        id=tenant.id,
        name=tenant.name,
        disabled=tenant.disabled,
        limits=pb.TenantLimits(
            requests_per_s=limits.requests_per_s,
            tokens_per_s=limits.tokens_per_s,
            burst_s=limits.burst_s,
            usd_per_day=limits.usd_per_day,
            usd_per_month=limits.usd_per_month,
            max_in_flight=limits.max_in_flight,
        ),
        policy=pb.TenantPolicy(
            models=policy.models,
            classes=policy.classes,
            default_class=policy.default_class,
            privacy=common.PrivacyLevel.Name(policy.privacy),
            regions=policy.regions,
            priority=inference.Priority.Name(policy.priority),
            max_cost_usd=policy.max_cost_usd,
        ),
    )
    state = pb.TenantState(
        usd_today=use.usd_today,
        usd_this_month=use.usd_this_month,
        in_flight=use.in_flight,
        refused=use.refused,
    )
    return pb.Tenant(spec=spec, keys=[encode_key(key) for key in tenant.keys], version=tenant.version, state=state)


def encode_key(key: ApiKey) -> pb.ApiKey:
    return pb.ApiKey(
        id=key.id,
        created_at=timestamp(key.created_at or None),
        expires_at=timestamp(key.expires_at),
        revoked=key.revoked,
    )
