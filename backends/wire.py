"""What the registry knows of a wire without loading what it needs: its dialects, its options, how to build it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import httpx

from backends.contract import Backend
from backends.dialect import Dialect
from backends.spec import BackendSpec

GENERIC = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What adapters share: `transport` carries requests, `control` carries probes, `env` has the secrets."""

    transport: httpx.AsyncBaseTransport
    control: httpx.AsyncClient
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A setting of one backend. `pattern` is what its value must match as a whole."""

    help: str
    pattern: str = r".+"
    required: bool = False


_AMOUNT = r"(?:tokens|ttl_s|minimum_tokens)=\d{1,12}(?:\.\d{1,6})?"
# Of any wire: what the router takes into account, and no adapter reads.
COMMON_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "prefix_cache": Option(
            help="what the server keeps of prompts: 'off', or such as tokens=200000,ttl_s=300,minimum_tokens=1024",
            pattern=rf"off|{_AMOUNT}(?:,{_AMOUNT}){{0,2}}",
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One wire.

    Attributes:
        name: what the configuration calls it.
        dialects: by profile name; the first stands for `generic` where that has no entry of its own.
        build: binds an adapter to a spec. What it needs beyond the base packages is imported in it.
        schemes: of the address.
        options: settings of a backend, by name.
        extra: the optional dependencies it needs, as pip names them; "" for none.
    """

    name: str
    dialects: Mapping[str, Dialect]
    build: Callable[[BackendSpec, Resources], Backend]
    schemes: frozenset[str] = frozenset({"http", "https"})
    options: Mapping[str, Option] = field(default_factory=dict)
    extra: str = ""

    @property
    def profiles(self) -> frozenset[str]:
        return frozenset(self.dialects) | {GENERIC}

    def dialect(self, profile: str) -> Dialect:
        """The dialect of that name.

        Raises:
            UnknownProfile: the wire has none.
        """
        return find_dialect(self.dialects, profile)

    def check_options(self, options: Mapping[str, str]) -> list[tuple[str, str]]:
        """What is wrong with them, as (option, reason)."""
        known = {**self.options, **COMMON_OPTIONS}
        wrong = [
            (name, f"unknown option; wire '{self.name}' has {_list(known)}")
            for name in sorted(options.keys() - known.keys())
        ]
        for name, option in known.items():
            value = options.get(name)
            if value is None:
                if option.required:
                    wrong.append((name, f"required, and missing: {option.help}"))
            elif re.fullmatch(option.pattern, value) is None:
                wrong.append((name, f"not a valid value; expected {option.help}"))
        return wrong


class UnknownProfile(ValueError):
    """No dialect of that name."""


D = TypeVar("D", bound=Dialect)


def find_dialect(dialects: Mapping[str, D], profile: str) -> D:
    """The dialect of that name; the first stands for `generic` where that has no entry of its own.

    Raises:
        UnknownProfile: there is none.
    """
    found = dialects.get(profile)
    if found is None and profile == GENERIC:
        found = next(iter(dialects.values()))
    if found is None:
        raise UnknownProfile(f"unknown profile {profile!r}; known: {_list({**dialects, GENERIC: None})}")
    return found


def _list(names: frozenset[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names))
