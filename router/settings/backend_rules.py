"""The rules that a backend must keep whoever describes it: a configuration file or the admin API.

What can be written in the file can be registered, and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.wires import ANYTHING, WireFacts, Wires
from router.errors import Violation
from router.settings.strict import nearest

BACKEND_ID = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,62}\Z")
_CREDENTIAL = re.compile(r"^(env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:\S.*)\Z")
_SECRET = re.compile(
    r"(?i)^(env:|file:)?(sk-|sk_|gsk_|csk-|xai-|hf_|r8_|AIza|AKIA|ASIA|ABSK|ghp_|Bearer\s|eyJ)|^env:[0-9a-f]{32,}$"
)
MAX_COUNT = 100_000
MAX_DRAFT_TOKENS = 64
FILE = "file"
# Of a wire that is not known: addresses with a host.
REMOTE_SCHEMES = frozenset({"http", "https", "grpc", "grpcs"})


def validate_backend(backend: Backend, catalogue: Catalogue, *, wires: Wires | None = None) -> list[Violation]:
    """Every rule that the backend breaks, by field; what is its wire's own is checked where wires are given."""
    found: list[Violation] = []
    if not BACKEND_ID.match(backend.id):
        found.append(Violation("id", "1 to 63 lower case letters, digits, '-', '_' and '.', a letter or digit first"))
    _unknown(found, "wire", "wire", backend.wire, wires)
    facts = wires.get(backend.wire) if wires is not None else None
    wrong = wrong_address(backend.address, facts.schemes if facts is not None else REMOTE_SCHEMES)
    if wrong:
        found.append(Violation("address", wrong))
    _unknown(found, "profile", "profile", backend.profile, facts.profiles if facts is not None else None)
    if facts is not None:
        _family(found, backend, facts)
    found += [
        Violation(f"options.{name[:63]}", "looks like a secret; a secret is named by credential, as a reference")
        for name, value in backend.options
        if _SECRET.search(value)
    ]
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


def _family(found: list[Violation], backend: Backend, facts: WireFacts) -> None:
    """What a backend says of itself against what its wire and its family can do."""
    able = facts.profiles.get(backend.profile, ANYTHING).capabilities
    if beyond := sorted(capability.value for capability in backend.capabilities - able):
        family = backend.wire if len(facts.profiles) == 1 else f"profile '{backend.profile}' of {backend.wire}"
        found.append(Violation("capabilities", f"{family} cannot do {', '.join(beyond)}"))
    found += [Violation(f"options.{name[:63]}", wrong) for name, wrong in facts.check_options(dict(backend.options))]


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
        _decoding(found, field, served)
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


def _decoding(found: list[Violation], field: str, served: ServedModel) -> None:
    """How its cache is stored and what it drafts, as far as a prior can make sense of it."""
    cached = served.bytes_per_kv
    if cached is not None and not 0.0 < cached <= 4.0:
        found.append(Violation(f"{field}.bytes_per_kv", f"must be above 0 and at most 4, got {cached:g}"))
    _count(found, f"{field}.draft_tokens", served.draft_tokens, 0, MAX_DRAFT_TOKENS)
    if not 0.0 <= served.draft_acceptance <= 1.0:
        found.append(Violation(f"{field}.draft_acceptance", f"must be from 0 to 1, got {served.draft_acceptance:g}"))
    elif bool(served.draft_tokens) != bool(served.draft_acceptance):
        missing = "draft_acceptance" if served.draft_tokens else "draft_tokens"
        found.append(Violation(f"{field}.{missing}", "draft_tokens and draft_acceptance go together"))


def _unknown(found: list[Violation], field: str, what: str, name: str, known: Mapping[str, object] | None) -> None:
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


def wrong_address(address: str, schemes: frozenset[str]) -> str:
    """What is wrong with the address of a backend, or "". Never shows a URL's user part: it may hold a password.

    A file is an address only for wires that say so: nobody who may register a backend is to name files of this machine.
    """
    try:
        parts = urlsplit(address)
        port_wrong = parts.port == 0
    except ValueError:
        return f"not a valid URL; expected {_forms(schemes)}"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password; use credential"
    of_a_file = parts.scheme == FILE
    lacking = (parts.netloc or not parts.path.strip("/")) if of_a_file else not parts.hostname
    if parts.scheme not in schemes or lacking or port_wrong or re.search(r"\s", address):
        return f"expected {_forms(schemes)}"
    if parts.query or parts.fragment:
        return "must not have a query or fragment"
    return ""


def _forms(schemes: frozenset[str]) -> str:
    """The addresses that there may be, in words."""
    hosts = " or ".join(f"{scheme}://" for scheme in sorted(schemes - {FILE}))
    forms = [f"{'an' if hosts.startswith('h') else 'a'} {hosts} URL with a host"] if hosts else []
    return " or ".join([*forms, *(["file:PATH"] if FILE in schemes else [])])


def wrong_credential(reference: str | None) -> str:
    """What is wrong with a credential reference, or "". Never shows the reference: it may be a secret."""
    if reference is None:
        return ""
    if _SECRET.search(reference):
        return "looks like the secret itself; write a reference, 'env:NAME' or 'file:PATH'"
    if not _CREDENTIAL.match(reference):
        return "must be a reference, 'env:NAME' or 'file:PATH', never the secret itself"
    return ""
