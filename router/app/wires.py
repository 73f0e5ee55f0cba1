"""The adapters' own account of the wires, in the words of the domain."""

from __future__ import annotations

from backends import registry
from backends.wire import Wire
from router.domain.fleet import Capability, Parameter
from router.domain.prefix_cache import PrefixCache
from router.domain.wires import Features, WireFacts, Wires


def wire_facts() -> Wires:
    """Every wire that this process can speak."""
    return {name: _facts(wire) for name, wire in registry.WIRES.items()}


def _facts(wire: Wire) -> WireFacts:
    return WireFacts(
        profiles={profile: _features(wire, profile) for profile in wire.profiles},
        schemes=wire.schemes,
        check_options=wire.check_options,
    )


def _features(wire: Wire, profile: str) -> Features:
    dialect = wire.dialect(profile)
    family, cache = dialect.features, dialect.prefix_cache
    # `logprobs` is asked for as a capability; every other name is one or the other.
    return Features(
        capabilities=frozenset(Capability(name) for name in family.capabilities),
        parameters=frozenset(Parameter(name) for name in family.parameters - {"logprobs"}),
        prefix_cache=PrefixCache(
            tokens=cache.tokens,
            ttl_s=cache.ttl_s,
            minimum_tokens=cache.minimum_tokens,
            slots=cache.slots,
            billed=cache.billed,
            told=cache.told,
        ),
    )
