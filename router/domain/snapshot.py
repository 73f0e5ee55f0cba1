"""The immutable snapshot that a replica serves from."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSnapshot:
    """Everything at one version. Never changed after it is made; the keys of `prices` are (backend, model or "").

    `config_version` is the fleet version of the last change that an operator made; health does not raise it.
    """

    version: int = 0
    backends: dict[str, Backend] = field(default_factory=dict)
    prices: dict[tuple[str, str], PriceBook] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    policies_yaml: str = ""
    policies_version: int = 0
    config_version: int = 0
