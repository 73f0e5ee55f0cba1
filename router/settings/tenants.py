"""tenants.yaml: who may ask, for what, and how much, when the state store is new; the admin API changes it later.

The file holds no key: it holds SHA-256 hashes, or references to where a key's text is ("env:NAME", "file:PATH").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from router.domain import api_key
from router.domain.catalogue import Catalogue
from router.domain.fleet import PrivacyLevel
from router.domain.request import Priority
from router.domain.tenant import ApiKey, Limits, Tenant, TenantPolicy
from router.settings import quantity as q
from router.settings.backend_rules import wrong_credential
from router.settings.catalogue import NAME
from router.settings.fleet import missing_credential
from router.settings.strict import Problem, Strict, enum_by_name, nearest, quantity
from router.settings.yaml_text import Document, join

MAX_KEYS = 256
# Less than what replicas hold in advance cannot be saved up.
MIN_BURST_S = 0.5
MAX_BURST_S = 3600.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\*?|\*")
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LIMITS = Limits()

PositiveNumber = Annotated[float, Field(gt=0)]
PositiveUsd = Annotated[float, quantity(q.USD), Field(gt=0)]
Names = tuple[str, ...]


class LimitsEntry(Strict):
    """Of all replicas together, but for max_in_flight; absent: no limit."""

    synonyms: ClassVar = {"rps": "requests_per_s", "tps": "tokens_per_s", "max_concurrency": "max_in_flight"}

    requests_per_s: PositiveNumber | None = None
    tokens_per_s: PositiveNumber | None = None
    burst_s: Annotated[float, quantity(q.SECONDS)] = _LIMITS.burst_s
    usd_per_day: PositiveUsd | None = None
    usd_per_month: PositiveUsd | None = None
    max_in_flight: Annotated[int, Field(ge=1)] | None = None


class PolicyEntry(Strict):
    """What holds whatever is asked for."""

    models: list[str] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)
    default_class: str = ""
    privacy: Annotated[PrivacyLevel, enum_by_name(PrivacyLevel)] = PrivacyLevel.ANY
    regions: list[str] = Field(default_factory=list)
    priority: Annotated[Priority, enum_by_name(Priority)] = Priority.CRITICAL
    max_cost_usd: PositiveUsd | None = None


class TenantEntry(Strict):
    synonyms: ClassVar = {"budget": "limits", "policies": "policy", "api_keys": "keys", "hashes": "key_hashes"}

    name: str = ""
    disabled: bool = False
    limits: LimitsEntry = LimitsEntry()
    policy: PolicyEntry = PolicyEntry()
    keys: list[str] = Field(default_factory=list)
    key_hashes: dict[str, str] = Field(default_factory=dict)


class TenantsFile(Strict):
    """tenants.yaml."""

    tenants: dict[str, TenantEntry]


def build_tenants(
    parsed: TenantsFile,
    document: Document,
    problems: list[Problem],
    *,
    env: Mapping[str, str],
    catalogue: Catalogue | None = None,
    classes: Collection[str] | None = None,
    file: str = "tenants.yaml",
) -> tuple[list[Tenant], list[str]]:
    """Every tenant of the file, and a notice for each key that a reference does not lead to; those are left out.

    `catalogue` and `classes` tell which models and workload classes there are; None leaves them unchecked.
    """
    tenants: list[Tenant] = []
    notices: list[str] = []
    seen: dict[str, str] = {}
    for tenant_id, entry in parsed.tenants.items():
        path = join("tenants", tenant_id)

        def wrong(field: str, what: str, path: str = path) -> None:
            where = f"{path}.{field}" if field else path
            line = document.lines.get(where, document.lines.get(path, 0))
            problems.append(Problem(file, where, what, line))

        keys: list[ApiKey] = []
        for key_id, sha256 in entry.key_hashes.items():
            keys.append(ApiKey(id=key_id, sha256=sha256))
        for index, reference in enumerate(entry.keys):
            try:
                keys.append(_key(reference, env))
            except ValueError as error:
                wrong(f"keys[{index}]", str(error))
            except FileNotFoundError as error:
                notices.append(f"a key of tenant '{tenant_id}' is left out: {error}")
        tenant = Tenant(
            id=tenant_id,
            name=entry.name,
            disabled=entry.disabled,
            keys=tuple(keys),
            limits=Limits(**entry.limits.model_dump()),
            policy=TenantPolicy(
                **entry.policy.model_dump(exclude={"models", "classes", "regions"}),
                models=tuple(entry.policy.models),
                classes=tuple(entry.policy.classes),
                regions=tuple(entry.policy.regions),
            ),
        )
        for field, what in contradictions(tenant, catalogue=catalogue, classes=classes):
            wrong(field, what)
        for key in keys:
            if key.sha256 in seen:
                wrong("", f"key '{key.id}' is also a key of tenant '{seen[key.sha256]}'")
            seen[key.sha256] = tenant_id
        tenants.append(tenant)
    return tenants, notices


def _key(reference: str, env: Mapping[str, str]) -> ApiKey:
    """The key behind a reference.

    Raises:
        ValueError: the reference is none, or leads to something else. What stands there is not shown.
        FileNotFoundError: it leads to nothing.
    """
    if wrong := wrong_credential(reference):
        raise ValueError(wrong)
    if api_key.PREFIX in reference:
        raise ValueError("must be a reference, 'env:NAME' or 'file:PATH', never the key itself")
    if absent := missing_credential(reference, env):
        raise FileNotFoundError(absent)
    kind, _, name = reference.partition(":")
    try:
        text = env[name] if kind == "env" else Path(name).read_text(encoding="ascii", errors="replace")
    except OSError:
        raise ValueError(f"{name} cannot be read") from None
    key_id = api_key.id_of(text.strip())
    if key_id is None:
        raise ValueError(f"{name} holds no key of this router; 'admin tenants keys create' makes one")
    return ApiKey(id=key_id, sha256=api_key.digest(text.strip()))


def contradictions(
    tenant: Tenant, *, catalogue: Catalogue | None = None, classes: Collection[str] | None = None
) -> Iterator[tuple[str, str]]:
    """The rules that a tenant breaks, each as (field or "", what is wrong); those of the file and of the admin API."""
    if not NAME.match(tenant.id):
        yield "", "1 to 63 lower case letters, digits, '-', '_' and '.', a letter or digit first"
    if len(tenant.name) > 256 or not tenant.name.isprintable():
        yield "name", "must be printable, and have at most 256 characters"
    yield from _limits(tenant.limits)
    yield from _policy(tenant.policy, catalogue, classes)
    if len(tenant.keys) > MAX_KEYS:
        yield "keys", f"must be at most {MAX_KEYS}"
    ids = [key.id for key in tenant.keys]
    for key in tenant.keys:
        if not _KEY_ID.fullmatch(key.id):
            yield "key_hashes", "a key's id is 1 to 63 lower case letters, digits and '-'"
        elif not _SHA256.fullmatch(key.sha256):
            # What stands there may be the key itself.
            yield f"key_hashes.{key.id}", "must be the SHA-256 of the key, 64 hexadecimal digits in lower case"
        elif ids.count(key.id) > 1:
            yield f"key_hashes.{key.id}", "is there twice"


def _limits(limits: Limits) -> Iterator[tuple[str, str]]:
    for name in ("requests_per_s", "tokens_per_s", "usd_per_day", "usd_per_month", "max_in_flight"):
        value = getattr(limits, name)
        if value is not None and not 0 < value <= 1e15:
            yield f"limits.{name}", f"must be greater than 0, got {value:g}; leave it out for no limit"
    if not MIN_BURST_S <= limits.burst_s <= MAX_BURST_S:
        yield "limits.burst_s", f"must be {MIN_BURST_S:g} to {MAX_BURST_S:g} seconds, got {limits.burst_s:g}"


def _policy(
    policy: TenantPolicy, catalogue: Catalogue | None, classes: Collection[str] | None
) -> Iterator[tuple[str, str]]:
    known = None if catalogue is None else {*catalogue.models, *catalogue.aliases, *catalogue.classes}
    for index, name in enumerate(policy.models):
        if not name or (known is not None and name not in known):
            yield f"policy.models[{index}]", f"unknown model '{name[:63]}'{nearest(name, known or ())}"
    for index, name in enumerate(policy.classes):
        if not name or (classes is not None and name not in classes):
            yield f"policy.classes[{index}]", f"unknown class '{name[:63]}'{nearest(name, classes or ())}"
    default = policy.default_class
    if default and classes is not None and default not in classes:
        yield "policy.default_class", f"unknown class '{default[:63]}'{nearest(default, classes)}"
    elif default and policy.classes and default not in policy.classes:
        yield "policy.default_class", f"'{default[:63]}' must be one of classes"
    for index, region in enumerate(policy.regions):
        if not _REGION.fullmatch(region):
            yield f"policy.regions[{index}]", "must be a region's name, or the beginning of names and a '*'"
    if policy.max_cost_usd is not None and not 0 < policy.max_cost_usd <= 1e9:
        yield "policy.max_cost_usd", f"must be greater than 0, got {policy.max_cost_usd:g}"
