"""Errors as callers of gRPC and of the OpenAI API see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

import backends.errors
from router import errors
from router.api.rescue import http_status, openai_error, rescue, to_grpc_status
from router.domain.decision import Drop, DropReason, HardwareLabel
from router.domain.outcome import AttemptOutcome

H100 = HardwareLabel(id="h100", name="H100")
Detail = TypeVar("Detail", bound=Message)


def upstream_failed(code: str, param: str | None = None) -> errors.UpstreamFailed:
    attempt = AttemptOutcome(backend="b1", model="m", result=code)
    return errors.UpstreamFailed("all attempts failed", attempts=(attempt,), last_code=code, param=param)


def detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def family(base: type[backends.errors.BackendError]) -> Iterator[type[backends.errors.BackendError]]:
    yield base
    for kind in base.__subclasses__():
        yield from family(kind)


def test_a_status_names_reason_hint_wait_and_request() -> None:
    """A shed request's status carries ErrorInfo, RetryInfo, Help and RequestInfo."""
    status = to_grpc_status(errors.Shed("queue is full", retry_after_s=1.25), "req-1")

    info = detail(status, error_details_pb2.ErrorInfo)
    retry = detail(status, error_details_pb2.RetryInfo)
    advice = detail(status, error_details_pb2.Help)
    request = detail(status, error_details_pb2.RequestInfo)
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert status.message == "queue is full"
    assert info is not None
    assert (info.domain, info.reason) == ("router.v1", "SHED")
    assert retry is not None
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (1, 250_000_000)
    assert advice is not None
    assert advice.links[0].description == errors.Shed.default_hint
    assert request is not None
    assert request.request_id == "req-1"


def test_bad_fields_become_field_violations() -> None:
    """Each violation of an invalid request is a field violation of BadRequest."""
    error = errors.InvalidRequest(errors.Violation("model", "must not be empty"), errors.Violation("tools", "no"))

    bad = detail(to_grpc_status(error, "r"), error_details_pb2.BadRequest)

    assert bad is not None
    assert [(v.field, v.description) for v in bad.field_violations] == [("model", "must not be empty"), ("tools", "no")]


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest(*[errors.Violation(f"messages[{i}].é" * 20, "ü" * 500) for i in range(300)]),
        errors.NoEndpoint(
            "ж" * 5_000,
            drops=tuple(
                Drop(backend=f"{i}" * 100, reason=DropReason.MODEL, detail="", hardware=H100) for i in range(500)
            ),
        ),
        upstream_failed("B" * 5_000, "p" * 5_000),
    ],
    ids=["violations", "drops", "upstream"],
)
def test_a_status_fits_into_trailing_metadata(error: errors.RouterError) -> None:
    """However much there is to say, message (percent-encoded) and details (base64) stay below 8 KiB together."""
    status = to_grpc_status(error, "r" * 128)

    assert len(status.message.encode()) * 3 + status.ByteSize() * 4 / 3 < 8_000


def test_text_that_protobuf_refuses_is_replaced() -> None:
    """A lone surrogate in a message does not turn an error into another one."""
    assert to_grpc_status(errors.UnknownModel("no model \ud800"), "r").message == "no model ?"


@pytest.mark.parametrize("kind", list(family(backends.errors.BackendError)), ids=lambda kind: kind.code)
def test_an_upstream_failure_is_never_blamed_on_the_caller_s_credential(
    kind: type[backends.errors.BackendError],
) -> None:
    """No failure of an upstream becomes UNAUTHENTICATED, PERMISSION_DENIED, 401 or 403: the credentials are ours."""
    row = rescue(upstream_failed(kind.code))

    assert row.grpc not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    assert row.http not in {401, 403}


@pytest.mark.parametrize(
    ("code", "status", "http", "openai_code"),
    [
        ("RATE_LIMITED", grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "rate_limit_exceeded"),
        ("QUOTA_EXHAUSTED", grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "insufficient_quota"),
        ("CONTEXT_TOO_LONG", grpc.StatusCode.INVALID_ARGUMENT, 400, "context_length_exceeded"),
        ("CONTENT_FILTERED", grpc.StatusCode.INVALID_ARGUMENT, 400, "content_filter"),
        ("TIMED_OUT", grpc.StatusCode.UNAVAILABLE, 504, "upstream_timeout"),
        ("SOMETHING_NEW", grpc.StatusCode.UNAVAILABLE, 502, "upstream_failed"),
    ],
)
def test_an_upstream_failure_is_mapped_by_its_last_code(
    code: str, status: grpc.StatusCode, http: int, openai_code: str
) -> None:
    """What the last attempt died of decides the status."""
    row = rescue(upstream_failed(code))

    assert (row.grpc, row.http, row.openai_code) == (status, http, openai_code)


def test_the_field_that_an_upstream_names_is_a_violation() -> None:
    """When a backend says which parameter it refuses, both protocols name it."""
    error = upstream_failed("BAD_REQUEST", "temperature")

    bad = detail(to_grpc_status(error, "r"), error_details_pb2.BadRequest)

    assert bad is not None
    assert bad.field_violations[0].field == "temperature"
    assert openai_error(error, "r")["error"]["param"] == "temperature"


@pytest.mark.parametrize(
    ("reasons", "status", "http"),
    [
        ((), grpc.StatusCode.UNAVAILABLE, 503),
        ((DropReason.MODEL, DropReason.HEALTH), grpc.StatusCode.UNAVAILABLE, 503),
        ((DropReason.MODEL, DropReason.PRIVACY), grpc.StatusCode.FAILED_PRECONDITION, 422),
    ],
)
def test_only_what_time_heals_is_unavailable(
    reasons: tuple[DropReason, ...], status: grpc.StatusCode, http: int
) -> None:
    """A request that this fleet can never serve is not told to come back, for clients retry UNAVAILABLE and 503."""
    drops = tuple(Drop(backend=f"b{i}", reason=r, detail="", hardware=H100) for i, r in enumerate(reasons))

    row = rescue(errors.NoEndpoint("nothing can serve this", drops=drops))

    assert (row.grpc, row.http) == (status, http)


def test_an_unforeseen_exception_shows_nothing_of_itself() -> None:
    """An exception that is no RouterError is INTERNAL, 500, and its text stays inside."""
    error = ValueError("secret of /etc/passwd")

    status, body = to_grpc_status(error, "req-9"), openai_error(error, "req-9")

    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert http_status(error) == 500
    assert "secret" not in str(status)
    assert "secret" not in str(body)
    assert body["error"]["router"]["request_id"] == "req-9"


def test_an_openai_error_is_nested_as_the_sdk_expects() -> None:
    """message, type, param and code are inside `error`; the router's own facts have a place of their own."""
    body = openai_error(errors.UnknownModel("no model 'x'"), "req-2")

    assert body == {
        "error": {
            "message": "no model 'x'",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "router": {
                "reason": "UNKNOWN_MODEL",
                "hint": errors.UnknownModel.default_hint,
                "request_id": "req-2",
            },
        }
    }
