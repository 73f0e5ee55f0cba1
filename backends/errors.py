"""Everything that can go wrong with a backend, as one tree.

    BackendError
    |- ConnectFailed        refused, reset or unresolvable before a response
    |- TimedOut             no response, or no first token, in time
    |- RateLimited          429: ours to slow down; `retry_after_s`
    |- QuotaExhausted       402, or 429 with a billing code: waiting does not help
    |- Overloaded           503 or 529 of a full queue: load, not sickness
    |- Warming              the model is still loading
    |- UpstreamFault        5xx of the engine itself
    |- AuthFailed           401 or 403: our credential
    |- ContextTooLong       the prompt does not fit this model
    |- ContentFiltered      the provider refuses the prompt
    |- ModelNotServed       404: the model is not there
    |- Unsupported          asked for what this dialect cannot say, or this server was started without
    |- BadRequest           the rest of 4xx: the same everywhere
    |- ProtocolViolation    not the wire that was promised
    `- StreamBroken         the stream ended or failed after it had begun

Flags say what to do, so that nobody inspects types: `retryable` (another backend may succeed), `counts_against_health`
(evidence that this backend is sick).
"""

from __future__ import annotations

from typing import ClassVar

from backends.contract import Signals


class BackendError(Exception):
    """Base of all. `message` is safe to show to a caller; it never holds a credential or a prompt.

    Attributes:
        code: stable reason code, upper snake case.
        status: the upstream's HTTP status, if there was one.
        retry_after_s: how long the upstream asks to be left alone.
        param: the request field at fault, if the upstream named it.
        signals: what the answer's head said of limits and load.
    """

    code: ClassVar[str] = "BACKEND_ERROR"
    retryable: ClassVar[bool] = True
    counts_against_health: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
        signals: Signals | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.param = param
        self.signals = signals


class ConnectFailed(BackendError):
    code = "CONNECT_FAILED"


class TimedOut(BackendError):
    code = "TIMED_OUT"


class RateLimited(BackendError):
    code = "RATE_LIMITED"
    counts_against_health = False


class QuotaExhausted(BackendError):
    code = "QUOTA_EXHAUSTED"
    counts_against_health = False


class Overloaded(BackendError):
    code = "OVERLOADED"
    counts_against_health = False


class Warming(BackendError):
    code = "WARMING"
    counts_against_health = False


class UpstreamFault(BackendError):
    code = "UPSTREAM_FAULT"


class AuthFailed(BackendError):
    code = "AUTH_FAILED"


class ContextTooLong(BackendError):
    """Retryable on a backend with a longer window only; the executor checks the window, not this flag alone."""

    code = "CONTEXT_TOO_LONG"
    counts_against_health = False


class ContentFiltered(BackendError):
    code = "CONTENT_FILTERED"
    retryable = False
    counts_against_health = False


class ModelNotServed(BackendError):
    code = "MODEL_NOT_SERVED"


class Unsupported(BackendError):
    """The request asks for something this dialect cannot express, and dropping it silently would be a lie.

    Also from a server that says it was started without the part it takes: another one of its kind may have it.
    """

    code = "UNSUPPORTED"
    counts_against_health = False


class BadRequest(BackendError):
    code = "BAD_REQUEST"
    retryable = False
    counts_against_health = False


class ProtocolViolation(BackendError):
    code = "PROTOCOL_VIOLATION"


class StreamBroken(BackendError):
    """Raised in place of any of the others once a chunk has been delivered."""

    code = "STREAM_BROKEN"


def once_delivered(error: BackendError) -> BackendError:
    """The error a caller sees when chunks were out already: the kind stays readable in the message."""
    if isinstance(error, StreamBroken):
        return error
    return StreamBroken(
        f"{error.code}: {error.message}",
        status=error.status,
        retry_after_s=error.retry_after_s,
        param=error.param,
        signals=error.signals,
    )


def by_code() -> dict[str, type[BackendError]]:
    """Every class of the tree by its code."""
    found: dict[str, type[BackendError]] = {}
    queue = [BackendError]
    while queue:
        kind = queue.pop()
        found[kind.code] = kind
        queue.extend(kind.__subclasses__())
    return found
