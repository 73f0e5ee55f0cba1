"""Who asks: tenants with their API keys, what they may do, and what they may use."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.domain.fleet import PrivacyLevel
from router.domain.request import Priority

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept: its name and the SHA-256 of its text (256 random bits need no slow hash). Unix seconds."""

    id: str
    sha256: str
    created_at: float = 0.0
    expires_at: float | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all replicas together let a tenant use; None is no limit.

    `burst_s`: seconds' worth of a rate that may be saved up while nothing is asked. Days and months are of UTC.
    """

    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    burst_s: float = 1.0
    usd_per_day: float | None = None
    usd_per_month: float | None = None
    max_in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicy:
    """What holds for a tenant's requests, whatever they ask for.

    Empty `models`, `regions` or `classes`: any. `privacy` is a floor, `priority` a ceiling, `max_cost_usd` a cap on one
    request; `default_class` serves requests that name neither class nor objective.
    """

    models: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    default_class: str = ""
    privacy: PrivacyLevel = PrivacyLevel.ANY
    regions: tuple[str, ...] = ()
    priority: Priority = Priority.CRITICAL
    max_cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    id: str
    name: str = ""
    disabled: bool = False
    keys: tuple[ApiKey, ...] = ()
    limits: Limits = field(default=Limits())
    policy: TenantPolicy = field(default=TenantPolicy())
    version: int = 0
