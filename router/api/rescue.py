"""From an error to what a caller of each protocol sees: the one table, after linkerd's `ServerRescue`.

The errors say what happened and what to do; only this file says which status that is. A subclass without a row fails a
test, as does a code of `backends.errors` without one: `UpstreamFailed` is mapped by the code of the last attempt, for a
prompt that no backend accepts is the caller's to correct and a refused credential of ours is not.

gRPC callers get `google.rpc` details: ErrorInfo (domain "router.v1", the reason and its facts), BadRequest with the
fields at fault, RetryInfo where waiting helps, Help with what to do next, RequestInfo. All of it travels in trailing
metadata, which peers bound to 8 KiB, so it is cut to fit. OpenAI callers get the nested object that their SDK expects.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from router import errors
from router.domain.decision import DropReason
from router.errors import RouterError, Violation

DOMAIN = "router.v1"
_DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
_MESSAGE_BYTES = 600
_DETAILS_BYTES = 3_500
_LONGEST_WAIT_S = 86_400.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rescue:
    """One error in each protocol. `hint` replaces the error's own where that would mislead."""

    grpc: grpc.StatusCode
    http: int
    openai_type: str
    openai_code: str
    hint: str | None = None


_Code = grpc.StatusCode
_INTERNAL = Rescue(_Code.INTERNAL, 500, "server_error", "internal_error")

RESCUE: dict[type[RouterError], Rescue] = {
    RouterError: _INTERNAL,
    errors.InvalidRequest: Rescue(_Code.INVALID_ARGUMENT, 400, "invalid_request_error", "invalid_value"),
    errors.UnknownParameter: Rescue(_Code.INVALID_ARGUMENT, 400, "invalid_request_error", "unknown_parameter"),
    errors.UnsupportedParameter: Rescue(_Code.INVALID_ARGUMENT, 400, "invalid_request_error", "unsupported_parameter"),
    errors.Unauthenticated: Rescue(_Code.UNAUTHENTICATED, 401, "invalid_request_error", "invalid_api_key"),
    errors.PermissionDenied: Rescue(_Code.PERMISSION_DENIED, 403, "invalid_request_error", "permission_denied"),
    errors.TenantLimited: Rescue(_Code.RESOURCE_EXHAUSTED, 429, "rate_limit_error", "rate_limit_exceeded"),
    errors.BudgetExhausted: Rescue(_Code.RESOURCE_EXHAUSTED, 429, "insufficient_quota", "insufficient_quota"),
    errors.UnknownModel: Rescue(_Code.NOT_FOUND, 404, "invalid_request_error", "model_not_found"),
    errors.NotFound: Rescue(_Code.NOT_FOUND, 404, "invalid_request_error", "not_found"),
    errors.AlreadyExists: Rescue(_Code.ALREADY_EXISTS, 409, "invalid_request_error", "already_exists"),
    errors.NoEndpoint: Rescue(_Code.UNAVAILABLE, 503, "server_error", "no_endpoint"),
    errors.SloInfeasible: Rescue(_Code.FAILED_PRECONDITION, 422, "invalid_request_error", "slo_infeasible"),
    errors.Shed: Rescue(_Code.RESOURCE_EXHAUSTED, 429, "rate_limit_error", "shed"),
    errors.DeadlineExceeded: Rescue(_Code.DEADLINE_EXCEEDED, 504, "server_error", "deadline_exceeded"),
    errors.UpstreamFailed: Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_failed"),
    errors.StreamBroken: Rescue(_Code.UNAVAILABLE, 502, "server_error", "stream_broken"),
    errors.StaleVersion: Rescue(_Code.ABORTED, 409, "invalid_request_error", "stale_version"),
    errors.StoreUnavailable: Rescue(_Code.UNAVAILABLE, 503, "server_error", "store_unavailable"),
    errors.ShuttingDown: Rescue(_Code.UNAVAILABLE, 503, "server_error", "shutting_down"),
}

# Nothing that time heals dropped a backend: the same request cannot be served however often it is sent.
NO_ENDPOINT_EVER = Rescue(_Code.FAILED_PRECONDITION, 422, "invalid_request_error", "no_endpoint")
TRANSIENT_DROPS = frozenset({
    DropReason.HEALTH,
    DropReason.DRAINING,
    DropReason.CIRCUIT_OPEN,
    DropReason.RATE_LIMIT,
    DropReason.SATURATED,
})  # fmt: skip

_CORRECT = "Correct the request: another backend would refuse it as well."
_OURS = "A fault of the router's configuration, not of the request; tell its operator."

# By `BackendError.code`; a credential that an upstream refuses is the router's own, so never UNAUTHENTICATED.
UPSTREAM: dict[str, Rescue] = {
    "BACKEND_ERROR": RESCUE[errors.UpstreamFailed],
    "CONNECT_FAILED": Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_unreachable"),
    "TIMED_OUT": Rescue(_Code.UNAVAILABLE, 504, "server_error", "upstream_timeout"),
    "RATE_LIMITED": Rescue(
        _Code.RESOURCE_EXHAUSTED, 429, "rate_limit_error", "rate_limit_exceeded", "Wait, then send the request again."
    ),
    "QUOTA_EXHAUSTED": Rescue(_Code.RESOURCE_EXHAUSTED, 429, "insufficient_quota", "insufficient_quota", _OURS),
    "OVERLOADED": Rescue(_Code.UNAVAILABLE, 503, "server_error", "upstream_overloaded"),
    "WARMING": Rescue(_Code.UNAVAILABLE, 503, "server_error", "upstream_warming"),
    "UPSTREAM_FAULT": Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_fault"),
    "AUTH_FAILED": Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_auth_failed", _OURS),
    "CONTEXT_TOO_LONG": Rescue(
        _Code.INVALID_ARGUMENT,
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "Shorten the prompt, or ask for fewer output tokens or a model with a longer window.",
    ),
    "CONTENT_FILTERED": Rescue(_Code.INVALID_ARGUMENT, 400, "invalid_request_error", "content_filter", _CORRECT),
    "MODEL_NOT_SERVED": Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_model_missing", _OURS),
    "BAD_REQUEST": Rescue(_Code.INVALID_ARGUMENT, 400, "invalid_request_error", "invalid_value", _CORRECT),
    "UNSUPPORTED": Rescue(
        _Code.INVALID_ARGUMENT,
        400,
        "invalid_request_error",
        "unsupported_parameter",
        "Leave the named field out, or choose a model whose backends offer it.",
    ),
    "PROTOCOL_VIOLATION": Rescue(_Code.UNAVAILABLE, 502, "server_error", "upstream_protocol_violation"),
    "STREAM_BROKEN": Rescue(_Code.UNAVAILABLE, 502, "server_error", "stream_broken"),
}


def rescue(error: Exception) -> Rescue:
    """The row of an error; an exception that nobody foresaw has INTERNAL's."""
    if isinstance(error, errors.UpstreamFailed):
        return UPSTREAM.get(error.last_code, RESCUE[errors.UpstreamFailed])
    if isinstance(error, errors.NoEndpoint) and error.drops:
        waiting_helps = any(d.reason in TRANSIENT_DROPS for d in error.drops)
        return RESCUE[errors.NoEndpoint] if waiting_helps else NO_ENDPOINT_EVER
    for kind in type(error).__mro__:
        if row := RESCUE.get(kind):
            return row
    return _INTERNAL


def http_status(error: Exception) -> int:
    return rescue(error).http


def openai_error(error: Exception, request_id: str) -> dict[str, Any]:
    """The body of an error, as OpenAI's API nests it; `router` holds what that shape has no place for."""
    row, known = rescue(error), _known(error)
    violations = _violations(known)
    param = "model" if isinstance(known, errors.UnknownModel) else violations[0].field if violations else None
    facts: dict[str, Any] = {"reason": known.reason, "hint": row.hint or known.hint, "request_id": request_id}
    if metadata := known.metadata():
        facts["metadata"] = metadata
    if known.retry_after_s is not None:
        facts["retry_after_s"] = known.retry_after_s
    return {
        "error": {
            "message": known.message,
            "type": row.openai_type,
            "param": param,
            "code": row.openai_code,
            "router": facts,
        }
    }


def to_grpc_status(error: Exception, request_id: str) -> status_pb2.Status:
    """The error as a `google.rpc.Status` that fits into trailing metadata."""
    row, known = rescue(error), _known(error)
    status = status_pb2.Status(code=row.grpc.value[0], message=_cut(known.message, _MESSAGE_BYTES))
    room = _DETAILS_BYTES - status.ByteSize()
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=known.reason)
    for key, value in known.metadata().items():
        if info.ByteSize() + len(key) + len(value) < room // 2:
            info.metadata[key] = value
    details: list[Message] = [info, error_details_pb2.RequestInfo(request_id=request_id)]
    if known.retry_after_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=_duration(known.retry_after_s)))
    details.append(
        error_details_pb2.Help(links=[error_details_pb2.Help.Link(description=_cut(row.hint or known.hint, 300))])
    )
    room -= sum(d.ByteSize() + 64 for d in details)
    fields = error_details_pb2.BadRequest()
    for violation in _violations(known):
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, 200), description=_cut(violation.description, 300)
        )
        room -= one.ByteSize() + 4
        if room < 0:
            break
        fields.field_violations.append(one)
    if fields.field_violations:
        details.append(fields)
    for detail in details:
        packed = AnyProto()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, request_id: str) -> NoReturn:
    """Ends the call with the error's status. An unforeseen exception is logged here, with its traceback."""
    if not isinstance(error, RouterError):
        _log.error("unexpected error, request_id=%s", request_id, exc_info=error)
    status = to_grpc_status(error, request_id)
    await context.abort(
        rescue(error).grpc, status.message, ((REQUEST_ID_KEY, request_id), (_DETAILS_KEY, status.SerializeToString()))
    )


def _known(error: Exception) -> RouterError:
    """The error itself, or one that shows nothing of an unforeseen exception."""
    return error if isinstance(error, RouterError) else RouterError("internal error")


def _violations(error: RouterError) -> tuple[Violation, ...]:
    if isinstance(error, errors.InvalidRequest):
        return error.violations
    if isinstance(error, errors.UpstreamFailed) and error.param:
        return (Violation(error.param, error.message),)
    return ()


def _duration(seconds: float) -> Duration:
    seconds = min(max(seconds, 0.0), _LONGEST_WAIT_S)  # an upstream may have said anything
    return Duration(seconds=int(seconds), nanos=int((seconds % 1.0) * 1e9))


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, whole characters; a lone surrogate, which protobuf refuses, becomes "?"."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode("utf-8", "ignore") + "..."
