"""What a gRPC status means, in the terms that hold for every family.

A status is read as the HTTP status of the same meaning, so that the same words and rules decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import grpc
import grpc.aio
import msgspec

from backends.errors import BackendError, ConnectFailed, UpstreamFault
from backends.failures.classify import from_event, from_response
from backends.failures.rules import FailureRules

_HTTP: Mapping[grpc.StatusCode, int] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.FAILED_PRECONDITION: 400,
        grpc.StatusCode.OUT_OF_RANGE: 400,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ABORTED: 409,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.UNIMPLEMENTED: 501,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }
)
_PUSHBACK = "grpc-retry-pushback-ms"


def from_status(
    error: grpc.aio.AioRpcError, *, rules: FailureRules, secret: str | None, answered: bool = False
) -> BackendError:
    """The error that a status means.

    Args:
        error: what the call ended with.
        rules: the habits of the family.
        secret: masked in the message.
        answered: whether anything had come before it.
    """
    code = error.code()
    found = from_response(_HTTP.get(code, 500), {}, _body(error.details() or code.name), rules=rules, secret=secret)
    if answered and isinstance(found, ConnectFailed):
        found = UpstreamFault(f"the connection broke while it answered: {found.message}")
    found.status = None  # it is HTTP's, and nobody said it
    found.retry_after_s = _pushback_s(error) or found.retry_after_s
    return found


def from_message(message: str, *, rules: FailureRules, secret: str | None) -> BackendError:
    """The error that a server explains inside the stream, without a status."""
    return from_event(_body(message), rules=rules, secret=secret)


def _body(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


def _pushback_s(error: grpc.aio.AioRpcError) -> float | None:
    for name, value in error.trailing_metadata() or ():
        if name == _PUSHBACK and isinstance(value, str) and value.isdecimal() and len(value) < 10:
            return int(value) / 1000
    return None
