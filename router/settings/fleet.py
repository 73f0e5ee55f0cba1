"""fleet.yaml: the backends that a new state store is seeded with.

The rules that a backend must keep, whoever describes it, are in `backend_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.domain.wires import Wires
from router.settings.backend_rules import validate_backend
from router.settings.strict import (
    Positive,
    PositiveSeconds,
    Problem,
    Seconds,
    Share,
    Strict,
    enum_by_name,
    enum_by_value,
    shown,
)
from router.settings.yaml_text import Document

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\Z")

_BACKEND = Backend(id="", wire="", address="", models=())
_SERVED = ServedModel(model="")


def _as_text(value: object) -> str:
    """An option as its adapter reads it: what YAML takes for a number or a truth value is text to it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    # A version of an API is often a day, which YAML reads as one.
    if isinstance(value, int | float) or type(value) is date:
        return str(value)
    raise ValueError(f"expected text, a number or true or false, got {shown(value)}")


OptionText = Annotated[str, BeforeValidator(_as_text)]


class ServedModelEntry(Strict):
    """One model of one backend."""

    synonyms: ClassVar = {"name": "model", "upstream": "upstream_name", "context": "context_tokens"}

    model: str
    upstream_name: str = ""
    context_tokens: int | None = None
    bytes_per_weight: Positive | None = None
    bytes_per_kv: Positive | None = None
    expert_parallel: bool = _SERVED.expert_parallel
    draft_tokens: int = _SERVED.draft_tokens
    draft_acceptance: Share = _SERVED.draft_acceptance


class BackendEntry(Strict):
    """One backend of fleet.yaml; its id is its key."""

    synonyms: ClassVar = {
        "url": "address",
        "base_url": "address",
        "endpoint": "address",
        "api_key": "credential",
        "key": "credential",
        "token": "credential",
        "count": "hardware_count",
        "gpus": "hardware_count",
        "accelerator": "hardware",
        "concurrency": "max_concurrency",
    }

    wire: str
    address: str
    models: list[ServedModelEntry]
    profile: str = _BACKEND.profile
    hardware: str = _BACKEND.hardware
    hardware_count: int = _BACKEND.hardware_count
    emulated: bool = _BACKEND.emulated
    region: str = _BACKEND.region
    privacy: Annotated[PrivacyLevel, enum_by_name(PrivacyLevel)] = _BACKEND.privacy
    capabilities: list[Annotated[Capability, enum_by_value(Capability)]] = Field(default_factory=list)
    max_concurrency: int = _BACKEND.max_concurrency
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    credential: str | None = None
    options: dict[str, OptionText] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    network_rtt_s: Seconds = _BACKEND.network_rtt_s
    first_token_timeout_s: PositiveSeconds | None = None
    drained: bool = False


class FleetFile(Strict):
    """fleet.yaml."""

    backends: dict[str, BackendEntry]


def build_fleet(
    fleet: FleetFile,
    document: Document,
    catalogue: Catalogue,
    env: Mapping[str, str],
    problems: list[Problem],
    *,
    file: str = "fleet.yaml",
    wires: Wires | None = None,
) -> tuple[list[Backend], list[str]]:
    """Every backend of the file, and a notice for each whose credential is absent; those are left out."""
    backends: list[Backend] = []
    notices: list[str] = []
    for backend_id, entry in fleet.backends.items():
        path = f"backends.{backend_id}"
        line = document.lines.get(path, 0)
        address, missing = substitute(entry.address, env)
        if missing:
            problems.append(Problem(file, f"{path}.address", missing, line))
            continue
        backend = backend_of(backend_id, entry, address)
        violations = validate_backend(backend, catalogue, wires=wires)
        for violation in violations:
            where = path if violation.field == "id" else f"{path}.{violation.field}"
            problems.append(Problem(file, where, violation.description, document.lines.get(where, line)))
        absent = None if violations else missing_credential(backend.credential, env)
        if absent:
            notices.append(f"{file}: backend '{backend_id}' skipped: {absent}")
        elif not violations:
            backends.append(backend)
    return backends, notices


def backend_of(backend_id: str, entry: BackendEntry, address: str) -> Backend:
    """The value that an entry describes, with its address filled in."""
    fields = entry.model_dump(exclude={"id", "models", "capabilities", "options", "labels", "address"})
    return Backend(
        id=backend_id,
        address=address,
        models=tuple(ServedModel(**served.model_dump()) for served in entry.models),
        capabilities=frozenset(entry.capabilities),
        options=tuple(sorted(entry.options.items())),
        labels=tuple(sorted(entry.labels.items())),
        **fields,
    )


def substitute(address: str, env: Mapping[str, str]) -> tuple[str, str]:
    """The address with `${NAME}` and `${NAME:-default}` filled in, and what is wrong ("" when nothing is)."""
    wrong: list[str] = []

    def value(match: re.Match[str]) -> str:
        name = _VARIABLE_NAME.match(match[1])
        if name is None:
            wrong.append("a variable is written ${NAME} or ${NAME:-default}")
            return ""
        found = env.get(name[1]) or name[2]
        if found is None:
            wrong.append(f"environment variable {name[1]} is not set, and ${{{name[1]}}} has no default")
            return ""
        return found

    return _VARIABLE.sub(value, address), "; ".join(wrong)


def missing_credential(reference: str | None, env: Mapping[str, str]) -> str | None:
    """Why a well-formed reference leads to nothing, or None."""
    if reference is None:
        return None
    kind, _, name = reference.partition(":")
    if kind == "env" and not env.get(name):
        return f"environment variable {name} is not set"
    if kind == "file" and not Path(name).is_file():
        return f"credential file {name} does not exist"
    return None
