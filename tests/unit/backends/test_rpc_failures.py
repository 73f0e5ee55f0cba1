"""What gRPC statuses mean, whatever the family."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ConnectFailed,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    TimedOut,
    UpstreamFault,
)
from backends.rpc.failures import from_message, from_status
from backends.rpc.rules import RPC, with_words

SECRET = "sk-secret-0123456789"


def a_status(code: grpc.StatusCode, words: str = "no words", **trailers: str) -> grpc.aio.AioRpcError:
    named = tuple((name.replace("_", "-"), value) for name, value in trailers.items())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*named), details=words)


def read(error: grpc.aio.AioRpcError, *, answered: bool = False) -> BackendError:
    return from_status(error, rules=RPC, secret=SECRET, answered=answered)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, BadRequest),
        (grpc.StatusCode.UNAUTHENTICATED, AuthFailed),
        (grpc.StatusCode.PERMISSION_DENIED, AuthFailed),
        (grpc.StatusCode.NOT_FOUND, ModelNotServed),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.UNIMPLEMENTED, ProtocolViolation),
        (grpc.StatusCode.UNAVAILABLE, ConnectFailed),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOut),
        (grpc.StatusCode.INTERNAL, UpstreamFault),
        (grpc.StatusCode.UNKNOWN, UpstreamFault),
        (grpc.StatusCode.DATA_LOSS, UpstreamFault),
    ],
)
def test_a_status_has_its_kind(code: grpc.StatusCode, kind: type[BackendError]) -> None:
    """And none of HTTP's is pretended."""
    found = read(a_status(code))
    assert type(found) is kind
    assert found.status is None


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_is_an_error_of_ours(code: grpc.StatusCode) -> None:
    """Also those that gRPC never gives for a call of this kind, and without any words."""
    assert isinstance(read(a_status(code, "")), BackendError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Received message larger than max (40000000 vs. 33554432)", ProtocolViolation),
        ("failed to connect to all addresses; last error: connection attempt timed out", TimedOut),
        ("failed to connect to all addresses; last error: Connection refused", ConnectFailed),
    ],
)
def test_words_of_grpc_itself_are_understood(words: str, kind: type[BackendError]) -> None:
    """They are more exact than their status."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED if "larger" in words else grpc.StatusCode.UNAVAILABLE
    assert type(read(a_status(code, words))) is kind


def test_a_connection_that_breaks_after_an_answer_was_there() -> None:
    """Is a fault of the server's and no failure to reach it."""
    found = read(a_status(grpc.StatusCode.UNAVAILABLE, "Socket closed"), answered=True)
    assert type(found) is UpstreamFault
    assert "broke while it answered" in found.message


@pytest.mark.parametrize(("given", "wanted"), [("1500", 1.5), ("-1", None), ("soon", None), ("9" * 12, None)])
def test_a_pushback_is_a_hint_if_it_is_a_time(given: str, wanted: float | None) -> None:
    """In milliseconds."""
    error = a_status(grpc.StatusCode.RESOURCE_EXHAUSTED, grpc_retry_pushback_ms=given)
    assert read(error).retry_after_s == wanted


def test_a_familys_words_come_first_and_no_secret_is_shown() -> None:
    """In a status as in a message."""
    rules = with_words((r"too many words", ContextTooLong))
    error = a_status(grpc.StatusCode.INTERNAL, f"Too many words for {SECRET}")
    for found in (
        from_status(error, rules=rules, secret=SECRET),
        from_message(f"Too many words for {SECRET}", rules=rules, secret=SECRET),
    ):
        assert type(found) is ContextTooLong
        assert SECRET not in str(found)
