"""Which adapter speaks which wire. A new wire is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from backends.contract import Backend
from backends.openai_chat import OpenAIChatBackend
from backends.profiles import PROFILES as _PROFILES
from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec

Factory = Callable[[BackendSpec, httpx.AsyncBaseTransport, httpx.AsyncClient, Mapping[str, str]], Backend]

_FACTORIES: Mapping[str, Factory] = {
    "openai_chat": OpenAIChatBackend,
    "scripted": lambda spec, _transport, _control, _env: ScriptedBackend.from_spec(spec),
}

WIRES = frozenset(_FACTORIES)
PROFILES = frozenset(_PROFILES)


class UnknownWire(ValueError):
    """No adapter of that name."""


def build(
    spec: BackendSpec,
    *,
    transport: httpx.AsyncBaseTransport,
    control: httpx.AsyncClient,
    env: Mapping[str, str],
) -> Backend:
    """Binds the adapter of `spec.wire` to its address. `transport` carries requests, `control` carries probes.

    Raises:
        UnknownWire: there is no such adapter.
        backends.profiles.UnknownProfile: there is no such dialect.
        backends.auth.MissingCredential: the credential's variable or file is absent.
        ValueError: an address or an option that is not valid.
    """
    factory = _FACTORIES.get(spec.wire)
    if factory is None:
        raise UnknownWire(f"unknown wire {spec.wire!r}; known: {', '.join(sorted(WIRES))}")
    return factory(spec, transport, control, env)
