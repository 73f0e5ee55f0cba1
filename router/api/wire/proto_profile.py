"""From protobuf to the `RequestProfile`: what routing needs of a request, of `Pick`'s and of `Explain`'s.

One function per message, so that a request asks for the same thing through whichever method it comes. Unset means the
default everywhere; in `Slo` zero means it too, as common.proto says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from backends.contract import GenerateRequest
from router.api.wire.checks import Checks
from router.api.wire.estimate import estimate_input_tokens
from router.api.wire.needs import NOTHING_ASKED, derive_needs, derive_parameters
from router.api.wire.prefix import given_blocks, prefix_blocks
from router.api.wire.proto_request import decode_content
from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.prefix_cache import BLOCK_TOKENS
from router.domain.request import Objective, Placement, Priority, RequestProfile, Slo, StreamBreakAction
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

MAX_BACKENDS = 256
MAX_REGIONS = 64
MAX_PREFIX_HASHES = 4_096
MAX_LABELS = 32
MAX_LABEL_CHARS = 256
MAX_ATTEMPTS = 5
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\*?|\*")

CAPABILITIES: dict[int, Capability] = {common_pb2.Capability.Value(f"CAPABILITY_{c.name}"): c for c in Capability}
PRIVACY_LEVELS: dict[int, PrivacyLevel] = {0: PrivacyLevel.ANY} | {level.value: level for level in PrivacyLevel}
_OBJECTIVES: dict[int, Objective | None] = {0: None} | {pb.Objective.Value(f"OBJECTIVE_{o.name}"): o for o in Objective}
_PRIORITIES: dict[int, Priority] = {0: Priority.NORMAL} | {p.value: p for p in Priority}
_ON_BREAK: dict[int, StreamBreakAction] = {0: StreamBreakAction.ERROR} | {
    pb.StreamBreakAction.Value(f"STREAM_BREAK_ACTION_{a.name}"): a for a in StreamBreakAction
}
_REJECT: dict[int, bool] = {
    common_pb2.SLO_INFEASIBLE_ACTION_UNSPECIFIED: False,
    common_pb2.SLO_INFEASIBLE_ACTION_BEST_EFFORT: False,
    common_pb2.SLO_INFEASIBLE_ACTION_REJECT: True,
}
_T = TypeVar("_T")
_NO_ROUTING = pb.RoutingOptions()


def decode_generate(
    message: pb.GenerateRequest, *, request_id: str, deadline_s: float | None, tenant: str = "default"
) -> tuple[GenerateRequest, RequestProfile]:
    """What to generate, and what routing needs of it.

    Raises:
        InvalidRequest: with every violation that was found.
    """
    checks = Checks()
    request, profile = _decode(message, checks, "", request_id, deadline_s, tenant)
    checks.raise_any()
    return request, profile


def decode_profile(
    message: pb.PickRequest | pb.ExplainRequest,
    *,
    request_id: str,
    deadline_s: float | None,
    tenant: str = "default",
) -> RequestProfile:
    """The profile of a request that is given whole or by its shape.

    Raises:
        InvalidRequest: with every violation that was found.
    """
    checks = Checks()
    what = message.WhichOneof("what")
    if what == "request":
        if message.HasField("routing"):
            checks.add("routing", "goes with shape only; a request carries its own, request.routing")
        _, profile = _decode(message.request, checks, "request.", request_id, deadline_s, tenant)
    else:
        if what is None:
            checks.add("shape", "must be set unless request is")
        else:
            _check_shape(message.shape, checks)
        shape = message.shape
        profile = _profile(
            message.routing,
            checks,
            "routing",
            request_id=request_id,
            model=shape.model,
            tenant=tenant,
            deadline_s=deadline_s,
            input_tokens=float(shape.input_tokens),
            max_output_tokens=shape.max_output_tokens if shape.HasField("max_output_tokens") else None,
            expected_output_tokens=(
                float(shape.expected_output_tokens) if shape.HasField("expected_output_tokens") else None
            ),
            shown_needs=frozenset(),
        )
    checks.raise_any()
    return profile


def _decode(
    message: pb.GenerateRequest, checks: Checks, at: str, request_id: str, deadline_s: float | None, tenant: str
) -> tuple[GenerateRequest, RequestProfile]:
    request = decode_content(message, checks, at)
    input_tokens = estimate_input_tokens(request)
    profile = _profile(
        message.routing if message.HasField("routing") else _NO_ROUTING,
        checks,
        f"{at}routing",
        request_id=request_id,
        model=request.model,
        tenant=tenant,
        deadline_s=deadline_s,
        input_tokens=input_tokens,
        max_output_tokens=request.sampling.max_output_tokens,
        expected_output_tokens=None,
        shown_needs=derive_needs(request),
        parameters=derive_parameters(request.sampling, request.tool_choice),
        blocks=prefix_blocks(request, tenant, input_tokens),
    )
    return request, profile


def _check_shape(shape: pb.RequestShape, checks: Checks) -> None:
    checks.text("shape.model", shape.model, required=True)
    checks.number("shape.input_tokens", shape.input_tokens, low=1)
    for name in ("max_output_tokens", "expected_output_tokens"):
        if shape.HasField(name):
            checks.number(f"shape.{name}", getattr(shape, name), low=1)


def _profile(
    options: pb.RoutingOptions,
    checks: Checks,
    at: str,
    *,
    request_id: str,
    model: str,
    tenant: str,
    deadline_s: float | None,
    input_tokens: float,
    max_output_tokens: int | None,
    expected_output_tokens: float | None,
    shown_needs: frozenset[Capability],
    parameters: frozenset[Parameter] = NOTHING_ASKED,
    blocks: tuple[int, ...] = (),
) -> RequestProfile:
    if not options.ListFields():
        return RequestProfile(
            request_id=request_id,
            model=model,
            tenant=tenant,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            expected_output_tokens=expected_output_tokens,
            needs=shown_needs,
            parameters=parameters,
            blocks=blocks,
            deadline_s=deadline_s,
        )
    needs, session = options.needs, options.session
    asked: set[Capability] = set()
    for i, number in enumerate(needs.capabilities[:MAX_BACKENDS]):
        if capability := _member(CAPABILITIES, number, checks, f"{at}.needs.capabilities[{i}]"):
            asked.add(capability)
    _check_labels(options.labels, checks, f"{at}.labels")
    max_attempts = _within(options, "max_attempts", checks, at, low=1, high=MAX_ATTEMPTS)
    return RequestProfile(
        request_id=request_id,
        model=model,
        tenant=tenant,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        expected_output_tokens=expected_output_tokens,
        needs=shown_needs | asked,
        parameters=parameters,
        minimum_quality=_within(needs, "minimum_quality", checks, f"{at}.needs", low=0, high=1),
        minimum_context_tokens=needs.minimum_context_tokens or None,
        task=checks.text(f"{at}.needs.task", needs.task) or "*",
        slo=_slo(options.slo, checks, f"{at}.slo") if options.HasField("slo") else Slo(),
        max_cost_usd=_within(options, "max_cost_usd", checks, at, low=0, open_low=True),
        placement=_placement(options.placement, checks, f"{at}.placement")
        if options.HasField("placement")
        else Placement(),
        objective=_member(_OBJECTIVES, options.objective, checks, f"{at}.objective"),
        workload_class=checks.text(f"{at}.workload_class", options.workload_class),
        service_tier=checks.text(f"{at}.service_tier", options.service_tier),
        session_key=checks.text(f"{at}.session.session_id", session.session_id),
        shared_prefix_tokens=session.shared_prefix_tokens,
        blocks=blocks or _given(session, tenant, checks, f"{at}.session"),
        priority=_member(_PRIORITIES, options.priority, checks, f"{at}.priority") or Priority.NORMAL,
        on_stream_break=_member(_ON_BREAK, options.on_stream_break, checks, f"{at}.on_stream_break")
        or StreamBreakAction.ERROR,
        idempotency_key=checks.text(f"{at}.idempotency_key", options.idempotency_key),
        max_attempts=None if max_attempts is None else int(max_attempts),
        explain=options.explain,
        deadline_s=deadline_s,
    )


def _given(session: pb.SessionHints, tenant: str, checks: Checks, at: str) -> tuple[int, ...]:
    hashes = session.prefix_block_hashes
    tokens = session.prefix_block_tokens if session.HasField("prefix_block_tokens") else BLOCK_TOKENS
    if not checks.count(f"{at}.prefix_block_hashes", len(hashes), MAX_PREFIX_HASHES):
        return ()
    if tokens < 1 or BLOCK_TOKENS % tokens:
        checks.add(f"{at}.prefix_block_tokens", f"must divide {BLOCK_TOKENS}")
        return ()
    return given_blocks(hashes, tenant, tokens) if hashes else ()


def _slo(slo: common_pb2.Slo, checks: Checks, at: str) -> Slo:
    return Slo(
        ttft_s=_within(slo, "ttft_s", checks, at, low=0) or None,
        tpot_s=_within(slo, "tpot_s", checks, at, low=0) or None,
        e2e_s=_within(slo, "e2e_s", checks, at, low=0) or None,
        probability=_within(slo, "probability", checks, at, low=0, high=1, open_low=True, open_high=True),
        reject_infeasible=_member(_REJECT, slo.on_infeasible, checks, f"{at}.on_infeasible") or False,
    )


def _placement(placement: common_pb2.Placement, checks: Checks, at: str) -> Placement:
    if checks.count(f"{at}.regions", len(placement.regions), MAX_REGIONS):
        for i, region in enumerate(placement.regions):
            if not _REGION.fullmatch(region):
                checks.add(f"{at}.regions[{i}]", "must be a region's name, or the beginning of names and a '*'")
    for name in ("only_backends", "excluded_backends"):
        ids = getattr(placement, name)
        if checks.count(f"{at}.{name}", len(ids), MAX_BACKENDS):
            for i, backend in enumerate(ids):
                checks.text(f"{at}.{name}[{i}]", backend, required=True)
    return Placement(
        privacy=_member(PRIVACY_LEVELS, placement.privacy, checks, f"{at}.privacy") or PrivacyLevel.ANY,
        regions=tuple(placement.regions),
        only_backends=tuple(placement.only_backends),
        excluded_backends=tuple(placement.excluded_backends),
    )


def _check_labels(labels: Mapping[str, str], checks: Checks, at: str) -> None:
    if checks.count(at, len(labels), MAX_LABELS):
        for key, value in labels.items():
            path = f"{at}[{key[:MAX_LABEL_CHARS]!r}]"
            checks.text(path, key, required=True, limit=64)
            checks.text(path, value, limit=MAX_LABEL_CHARS)


def _within(
    message: pb.RoutingOptions | pb.Needs | common_pb2.Slo,
    name: str,
    checks: Checks,
    at: str,
    *,
    low: float,
    high: float = float("inf"),
    open_low: bool = False,
    open_high: bool = False,
) -> float | None:
    if not message.HasField(name):
        return None
    value: float = getattr(message, name)
    return checks.number(f"{at}.{name}", value, low=low, high=high, open_low=open_low, open_high=open_high)


def _member(table: Mapping[int, _T], number: int, checks: Checks, at: str) -> _T | None:
    if number in table:
        return table[number]
    checks.add(at, "must be set" if number == 0 else f"is no value of this enum: {number}")
    return None
