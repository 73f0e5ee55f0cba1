"""fleet.yaml: the backends that a new state store is seeded with.

`validate_backend` holds the rules that a backend must keep whoever describes it. The admin API asks it too, so what can
be written in the file can be registered, and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.errors import Violation
from router.settings.strict import (
    Positive,
    PositiveSeconds,
    Problem,
    Seconds,
    Strict,
    enum_by_name,
    enum_by_value,
    nearest,
)
from router.settings.yaml_text import Document

BACKEND_ID = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,62}\Z")
_CREDENTIAL = re.compile(r"^(env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:\S.*)\Z")
_SECRET = re.compile(
    r"(?i)^(env:|file:)?(sk-|sk_|gsk_|csk-|xai-|hf_|r8_|AIza|AKIA|ghp_|Bearer\s|eyJ)|^env:[0-9a-f]{32,}$"
)
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\Z")
MAX_COUNT = 100_000

_BACKEND = Backend(id="", wire="", address="", models=())


class ServedModelEntry(Strict):
    """One model of one backend."""

    synonyms: ClassVar = {"name": "model", "upstream": "upstream_name", "context": "context_tokens"}

    model: str
    upstream_name: str = ""
    context_tokens: int | None = None
    bytes_per_weight: Positive | None = None


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
    known_wires: frozenset[str] | None = None,
    known_profiles: frozenset[str] | None = None,
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
        violations = validate_backend(backend, catalogue, known_wires=known_wires, known_profiles=known_profiles)
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
    fields = entry.model_dump(exclude={"id", "models", "capabilities", "labels", "address"})
    return Backend(
        id=backend_id,
        address=address,
        models=tuple(ServedModel(**served.model_dump()) for served in entry.models),
        capabilities=frozenset(entry.capabilities),
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


def validate_backend(
    backend: Backend,
    catalogue: Catalogue,
    *,
    known_wires: frozenset[str] | None = None,
    known_profiles: frozenset[str] | None = None,
) -> list[Violation]:
    """Every rule that the backend breaks, by field; wires and profiles are checked where they are given."""
    found: list[Violation] = []
    if not BACKEND_ID.match(backend.id):
        found.append(Violation("id", "1 to 63 lower case letters, digits, '-', '_' and '.', a letter or digit first"))
    _unknown(found, "wire", "wire", backend.wire, known_wires)
    _unknown(found, "profile", "profile", backend.profile, known_profiles)
    wrong = wrong_address(backend.address)
    if wrong:
        found.append(Violation("address", wrong))
    _unknown(found, "hardware", "hardware", backend.hardware, catalogue.hardware)
    _count(found, "hardware_count", backend.hardware_count, 1, MAX_COUNT)
    _count(found, "max_concurrency", backend.max_concurrency, 1, MAX_COUNT)
    _count(found, "requests_per_minute", backend.requests_per_minute, 1, None)
    _count(found, "tokens_per_minute", backend.tokens_per_minute, 1, None)
    if not 0.0 <= backend.network_rtt_s <= 60.0:
        found.append(Violation("network_rtt_s", f"must be 0 to 60 seconds, got {backend.network_rtt_s:g}"))
    timeout = backend.first_token_timeout_s
    if timeout is not None and not 0.0 < timeout <= 3600.0:
        found.append(Violation("first_token_timeout_s", f"must be above 0 and at most 3600 seconds, got {timeout:g}"))
    wrong = wrong_credential(backend.credential)
    if wrong:
        found.append(Violation("credential", wrong))
    _served(found, backend, catalogue)
    return found


def _served(found: list[Violation], backend: Backend, catalogue: Catalogue) -> None:
    if not backend.models:
        found.append(Violation("models", "must name at least one model"))
    hardware = catalogue.hardware.get(backend.hardware)
    for index, served in enumerate(backend.models):
        field = f"models[{index}]"
        _unknown(found, f"{field}.model", "model", served.model, catalogue.models)
        if served.model in [other.model for other in backend.models[:index]]:
            found.append(Violation(f"{field}.model", f"'{served.model}' is listed twice"))
        _count(found, f"{field}.context_tokens", served.context_tokens, 1, None)
        weight = served.bytes_per_weight
        if weight is not None and not 0.0 < weight <= 4.0:
            found.append(Violation(f"{field}.bytes_per_weight", f"must be above 0 and at most 4, got {weight:g}"))
        model = catalogue.models.get(served.model)
        if model is None or hardware is None or hardware.kind == "hosted":
            continue
        if not model.parameters:
            found.append(
                Violation(f"{field}.model", f"the size of '{served.model}' is not published: hardware must be 'hosted'")
            )
            continue
        if served.context_tokens is not None and served.context_tokens > model.context_tokens > 0:
            found.append(
                Violation(f"{field}.context_tokens", f"more than the model's own {model.context_tokens} tokens")
            )
        needed = model.parameters * (weight or 2.0)
        room = hardware.memory_bytes * backend.hardware_count
        if 0.0 < room < needed:
            what = f"{needed / 1e9:.1f} GB of weights do not fit {backend.hardware_count} x {hardware.id}"
            found.append(Violation(field, f"{what} ({room / 1e9:.1f} GB)"))


def _unknown(
    found: list[Violation], field: str, what: str, name: str, known: Mapping[str, object] | frozenset[str] | None
) -> None:
    if not name:
        found.append(Violation(field, "required, and missing"))
    elif known is not None and name not in known:
        near = nearest(name, known) or f" (known: {', '.join(sorted(known))})"
        found.append(Violation(field, f"unknown {what} '{name[:63]}'{near}"))


def _count(found: list[Violation], field: str, value: int | None, low: int, high: int | None) -> None:
    if value is None:
        return
    if value < low or (high is not None and value > high):
        span = f"{low} to {high}" if high is not None else f"at least {low}"
        found.append(Violation(field, f"must be {span}, got {value}"))


def wrong_address(address: str) -> str:
    """What is wrong with a base URL, or "". Never shows the URL's user part: it may hold a password."""
    try:
        parts = urlsplit(address)
        port_wrong = parts.port == 0
    except ValueError:
        return "not a valid URL; expected http://HOST:PORT or https://HOST"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password; use credential"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port_wrong or re.search(r"\s", address):
        return "expected an http:// or https:// URL with a host"
    if parts.query or parts.fragment:
        return "must not have a query or fragment"
    return ""


def wrong_credential(reference: str | None) -> str:
    """What is wrong with a credential reference, or "". Never shows the reference: it may be a secret."""
    if reference is None:
        return ""
    if _SECRET.search(reference):
        return "looks like the secret itself; write a reference, 'env:NAME' or 'file:PATH'"
    if not _CREDENTIAL.match(reference):
        return "must be a reference, 'env:NAME' or 'file:PATH', never the secret itself"
    return ""
