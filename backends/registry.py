"""Which adapter speaks which wire. A new wire is one package and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import httpx

from backends import anthropic, gemini, jetstream, llama_embedded, ollama, openai, replicate, scripted, triton
from backends.aws import bedrock, sagemaker
from backends.contract import Backend
from backends.spec import BackendSpec
from backends.wire import Resources, Wire

WIRES: Mapping[str, Wire] = MappingProxyType(
    {
        wire.name: wire
        for wire in (
            openai.WIRE,
            llama_embedded.WIRE,
            anthropic.WIRE,
            gemini.WIRE,
            ollama.WIRE,
            bedrock.WIRE,
            sagemaker.WIRE,
            replicate.WIRE,
            triton.WIRE,
            jetstream.WIRE,
            scripted.WIRE,
        )
    }
)


PROFILES = frozenset(name for wire in WIRES.values() for name in wire.profiles)


class UnknownWire(ValueError):
    """No adapter of that name."""


class MissingExtra(ValueError):
    """The wire needs packages that are not installed."""


def wire(name: str) -> Wire:
    """The wire of that name.

    Raises:
        UnknownWire: there is none.
    """
    found = WIRES.get(name)
    if found is None:
        raise UnknownWire(f"unknown wire {name!r}; known: {', '.join(sorted(WIRES))}")
    return found


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
        MissingExtra: its packages are not installed.
        backends.wire.UnknownProfile: there is no such dialect.
        backends.auth.MissingCredential: the credential's variable or file is absent.
        ValueError: an address or an option that is not valid.
    """
    found = wire(spec.wire)
    wrong = found.check_options(spec.options)
    if wrong:
        name, reason = wrong[0]
        raise ValueError(f"{spec.id}: options.{name}: {reason}")
    try:
        return found.build(spec, Resources(transport=transport, control=control, env=env))
    except ModuleNotFoundError as error:
        if not found.extra:
            raise
        raise MissingExtra(
            f"wire {found.name!r} needs {error.name}: pip install 'inference-router[{found.extra}]'"
        ) from error
