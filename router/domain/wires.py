"""What is known of a wire beside how it is spoken: its dialects, addresses and options, and what its families can do.

The adapters say it. The rules that a backend must keep and the hard filter read it here, so that neither of them needs
an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from router.domain.fleet import Capability, Parameter
from router.domain.prefix_cache import BILLED, PrefixCache

# The option, of every wire that has it, that names what one server refuses although its family does not.
WITHOUT = "without"
# What is wrong with a backend's options, as (option, reason).
CheckOptions = Callable[[Mapping[str, str]], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a family can be asked for at all, whatever a backend declares, and what its servers keep of prompts."""

    capabilities: frozenset[Capability] = frozenset(Capability)
    parameters: frozenset[Parameter] = frozenset(Parameter)
    prefix_cache: PrefixCache = BILLED


def any_options(_: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Of a wire that does not say which options it has."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFacts:
    """One wire: its families by the name of their profile, and the schemes that an address of it may have."""

    profiles: Mapping[str, Features]
    schemes: frozenset[str] = frozenset({"http", "https"})
    check_options: CheckOptions = any_options


Wires = Mapping[str, WireFacts]
ANYTHING = Features()
