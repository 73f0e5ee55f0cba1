"""Admin messages to domain values and back; everything wrong with a message is found in one go and named by its field.

The rules of a backend and the policies are those of the configuration files: what can be written there can be
registered here, and the other way round. Prices are in `prices`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from router.api.wire.checks import Checks
from router.api.wire.times import timestamp
from router.domain.catalogue import Catalogue
from router.domain.fleet import (
    Backend,
    Capability,
    Change,
    Health,
    HealthState,
    Left,
    LiveLoad,
    PrivacyLevel,
    ServedModel,
)
from router.domain.wires import Wires
from router.errors import InvalidRequest, Violation
from router.settings.backend_rules import validate_backend
from router.v1 import admin_pb2 as pb
from router.v1 import common_pb2 as common

MAX_MODELS = 1_000
MAX_LABELS = 64
MAX_OPTIONS = 64
# The scripted wire's scripts are the longest.
MAX_OPTION_CHARS = 65_536

_CAPABILITIES: Mapping[int, Capability] = {
    common.Capability.Value(f"CAPABILITY_{capability.name}"): capability for capability in Capability
}
HEALTH_NUMBERS: Mapping[HealthState, common.HealthState] = {
    HealthState.UNKNOWN: common.HEALTH_STATE_UNKNOWN,
    HealthState.HEALTHY: common.HEALTH_STATE_HEALTHY,
    HealthState.SUSPECT: common.HEALTH_STATE_SUSPECT,
    HealthState.EJECTED: common.HEALTH_STATE_EJECTED,
    HealthState.DRAINING: common.HEALTH_STATE_DRAINING,
    HealthState.WARMING: common.HEALTH_STATE_WARMING,
}
# Where a field of the domain's backend is in the message.
_PATHS = {
    "hardware": "hardware.id",
    "hardware_count": "hardware.count",
    "requests_per_minute": "limits.requests_per_minute",
    "tokens_per_minute": "limits.tokens_per_minute",
}
_DEFAULT = Backend(id="", wire="", address="", models=())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRules:
    """What a backend is checked against; None leaves unchecked what is a wire's own."""

    catalogue: Catalogue
    wires: Wires | None = None


def decode_backend(spec: pb.BackendSpec, rules: FleetRules) -> Backend:
    """The backend that a message describes, never drained and without a version.

    Raises:
        InvalidRequest: with every field that breaks a rule.
    """
    checks = Checks()
    privacy = _DEFAULT.privacy
    if spec.privacy:
        try:
            privacy = PrivacyLevel(spec.privacy)
        except ValueError:
            checks.add("spec.privacy", f"unknown value {spec.privacy}")
    capabilities: set[Capability] = set()
    for index, number in enumerate(spec.capabilities):
        if (capability := _CAPABILITIES.get(number)) is None:
            checks.add(f"spec.capabilities[{index}]", f"unknown value {number}")
        else:
            capabilities.add(capability)
    checks.text("spec.region", spec.region)
    if checks.count("spec.labels", len(spec.labels), MAX_LABELS):
        for key, value in spec.labels.items():
            checks.text("spec.labels", key, required=True)
            checks.text(f"spec.labels[{key[:64]}]", value)
    if checks.count("spec.options", len(spec.options), MAX_OPTIONS):
        for name, value in spec.options.items():
            checks.text("spec.options", name, required=True)
            if len(value) > MAX_OPTION_CHARS:
                checks.add(f"spec.options.{name[:63]}", f"must have at most {MAX_OPTION_CHARS} characters")
    checks.count("spec.models", len(spec.models), MAX_MODELS)
    backend = Backend(
        id=spec.id,
        wire=spec.wire,
        address=spec.address,
        models=tuple(_served(model) for model in spec.models[:MAX_MODELS]),
        profile=spec.profile or _DEFAULT.profile,
        hardware=spec.hardware.id or _DEFAULT.hardware,
        hardware_count=spec.hardware.count or _DEFAULT.hardware_count,
        emulated=spec.hardware.emulated,
        region=spec.region,
        privacy=privacy,
        capabilities=frozenset(capabilities),
        max_concurrency=spec.max_concurrency or _DEFAULT.max_concurrency,
        requests_per_minute=spec.limits.requests_per_minute if spec.limits.HasField("requests_per_minute") else None,
        tokens_per_minute=spec.limits.tokens_per_minute if spec.limits.HasField("tokens_per_minute") else None,
        credential=spec.credential or None,
        options=tuple(sorted(spec.options.items())),
        labels=tuple(sorted(spec.labels.items())),
        network_rtt_s=spec.network_rtt_s,
        first_token_timeout_s=spec.first_token_timeout_s if spec.HasField("first_token_timeout_s") else None,
    )
    for violation in validate_backend(backend, rules.catalogue, wires=rules.wires):
        checks.add(f"spec.{_PATHS.get(violation.field, violation.field)}", violation.description)
    checks.raise_any()
    return backend


def encode_backend(backend: Backend, health: Health, live: LiveLoad, catalogue: Catalogue) -> pb.Backend:
    hardware = catalogue.hardware.get(backend.hardware)
    spec = pb.BackendSpec(
        id=backend.id,
        wire=backend.wire,
        profile=backend.profile,
        address=backend.address,
        models=[
            pb.ServedModel(
                model=served.model,
                upstream_name=served.upstream_name,
                context_tokens=served.context_tokens,
                bytes_per_weight=served.bytes_per_weight,
                bytes_per_kv=served.bytes_per_kv,
                expert_parallel=served.expert_parallel,
                draft_tokens=served.draft_tokens,
                draft_acceptance=served.draft_acceptance,
            )
            for served in backend.models
        ],
        hardware=common.Hardware(
            id=backend.hardware,
            name=hardware.name if hardware else "",
            count=backend.hardware_count,
            emulated=backend.emulated,
        ),
        region=backend.region,
        privacy=common.PrivacyLevel.Name(backend.privacy),
        capabilities=sorted(f"CAPABILITY_{capability.name}" for capability in backend.capabilities),
        max_concurrency=backend.max_concurrency,
        credential=backend.credential or "",
        options=dict(backend.options),
        labels=dict(backend.labels),
        network_rtt_s=backend.network_rtt_s,
        first_token_timeout_s=backend.first_token_timeout_s,
    )
    if backend.requests_per_minute is not None:
        spec.limits.requests_per_minute = backend.requests_per_minute
    if backend.tokens_per_minute is not None:
        spec.limits.tokens_per_minute = backend.tokens_per_minute
    seen = live.health or health
    state = pb.BackendState(
        health=HEALTH_NUMBERS[seen.state],
        health_reason=seen.reason,
        health_since=timestamp(seen.since or None),
        drained=backend.drained,
        in_flight=live.in_flight,
        running=live.running,
        waiting=live.waiting,
        kv_cache_usage=live.kv_cache_usage,
        load_at=timestamp(live.load_at_unix),
        health_version=health.version,
        requests_left=_left(live.requests_left),
        tokens_left=_left(live.tokens_left),
    )
    return pb.Backend(spec=spec, version=backend.version, state=state)


def _left(left: Left | None) -> pb.Headroom | None:
    return pb.Headroom(remaining=left.remaining, until=timestamp(left.until_unix)) if left is not None else None


def encode_change(change: Change) -> pb.WatchChangesResponse:
    return pb.WatchChangesResponse(
        fleet_version=change.fleet_version,
        kind=change.kind,
        id=change.id,
        operation=change.operation,
        version=change.version,
        changed_at=timestamp(change.at),
        actor=change.actor,
    )


def invalid(problems: Iterable[tuple[str, str]], under: str) -> InvalidRequest:
    """Problems of a text that is one field of a message, as violations below that field."""
    return InvalidRequest(*(Violation(f"{under}.{path}" if path else under, what) for path, what in problems))


def _served(message: pb.ServedModel) -> ServedModel:
    return ServedModel(
        model=message.model,
        upstream_name=message.upstream_name,
        context_tokens=message.context_tokens if message.HasField("context_tokens") else None,
        bytes_per_weight=message.bytes_per_weight if message.HasField("bytes_per_weight") else None,
        bytes_per_kv=message.bytes_per_kv if message.HasField("bytes_per_kv") else None,
        expert_parallel=message.expert_parallel,
        draft_tokens=message.draft_tokens,
        draft_acceptance=message.draft_acceptance,
    )
