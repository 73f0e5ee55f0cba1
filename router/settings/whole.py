"""The rules between documents that a change has to keep, and what an operator should know of it beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from router.domain.fleet import Backend
from router.domain.policies import Policies
from router.domain.snapshot import FleetSnapshot
from router.settings.strict import Problem
from router.state.keys import Kind, price_id
from router.state.writes import Write

NAMED = 8


def lost_classes(result: FleetSnapshot, policies: Policies, file: str) -> Iterator[Problem]:
    """The workload classes that tenants are given and the policies of a file would no longer have."""
    for tenant in result.tenants.values():
        asked = {*tenant.policy.classes, tenant.policy.default_class} - {""}
        for name in sorted(asked - set(policies.classes)):
            what = f"tenant '{tenant.id}' is given class '{name}', which there would not be"
            yield Problem(file, "classes", what, 1)


def shared_keys(result: FleetSnapshot, file: str) -> Iterator[Problem]:
    """Keys that would name two tenants: one of a file and one that it does not name."""
    owners: dict[str, str] = {}
    for tenant in result.tenants.values():
        for key in tenant.keys:
            owner = owners.setdefault(key.sha256, tenant.id)
            if owner != tenant.id:
                what = f"key '{key.id}' of tenant '{tenant.id}' is also a key of tenant '{owner}'"
                yield Problem(file, "tenants", what, 1)


def remarks(before: FleetSnapshot, after: FleetSnapshot, writes: Iterable[Write]) -> Iterator[str]:
    """What nothing forbids, and an operator should know."""
    if any(write.kind is Kind.TENANT for write in writes):
        yield "what tenants may do is not part of the effect on recent traffic"
    lost = _all_models(before) - _all_models(after)
    if lost:
        yield f"nobody serves any more: {some(sorted(lost))}"
    priced = {backend for backend, _ in after.prices}
    new = [name for name in after.backends if name not in before.backends and name not in priced]
    if new:
        yield f"without a price, so that the dearest known one is assumed: {some(new)}"
    idle = [
        price_name(key)
        for key in after.prices
        if key[1] and key[0] in after.backends and key[1] not in models_of(after.backends[key[0]])
    ]
    if idle:
        yield f"prices of models that their backends do not serve: {some(idle)}"


def models_of(backend: Backend) -> frozenset[str]:
    return frozenset(served.model for served in backend.models)


def price_name(key: tuple[str, str]) -> str:
    return price_id(*key).removesuffix("/")


def stays(file: str, what: str, names: Sequence[str]) -> str:
    """The note on what a file does not name."""
    if len(names) == 1:
        return f"one {what} that {file} does not name stays as it is: {names[0]}"
    return f"{len(names)} {what}s that {file} does not name stay as they are: {some(names)}"


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _all_models(snapshot: FleetSnapshot) -> set[str]:
    return {served.model for backend in snapshot.backends.values() for served in backend.models}
