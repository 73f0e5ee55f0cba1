"""The only place where an exception of the HTTP client becomes one of ours; nothing of httpx leaves an adapter."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Final, Self

import httpx

from backends.errors import (
    BackendError,
    ConnectFailed,
    Overloaded,
    ProtocolViolation,
    TimedOut,
    UpstreamFault,
)
from backends.failures.bodies import clean


class map_httpx_errors:  # noqa: N801 - reads as a function, like contextlib.suppress
    """Raises `from_client` in place of what the HTTP client raised.

    Set `answered` once the response's head is there: a lost connection before it says that the request was not served,
    after it that the answer broke off.
    """

    __slots__ = ("answered",)

    def __init__(self) -> None:
        self.answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if isinstance(error, CLIENT_ERRORS):
            raise from_client(error, answered=self.answered) from error


CLIENT_ERRORS: Final = (
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    OSError,
    ssl.SSLError,
)


def from_client(error: Exception, *, answered: bool) -> BackendError:
    """Total over `CLIENT_ERRORS`. Words of errors about our own request are left out: they may quote its headers."""
    words = clean(str(error), None)
    detail = f": {words}" if words else ""
    match error:
        case httpx.PoolTimeout():
            return Overloaded("every connection to this backend is in use")
        case httpx.ConnectTimeout():
            return TimedOut(f"no connection in time{detail}")
        case httpx.TimeoutException() | TimeoutError():
            return TimedOut(f"no answer in time{detail}")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL() | httpx.CookieConflict():
            return ProtocolViolation("the request cannot be sent to this address")
        case httpx.DecodingError() | httpx.TooManyRedirects():
            return ProtocolViolation(f"not a valid answer{detail}")
        case httpx.HTTPStatusError():
            return UpstreamFault(f"HTTP {error.response.status_code}", status=error.response.status_code)
        case httpx.StreamError():
            return ProtocolViolation("the answer was read twice")
        case httpx.NetworkError() | httpx.ProtocolError() | httpx.ProxyError() | OSError() if not answered:
            return ConnectFailed(f"no connection{detail}")
        case _:
            return UpstreamFault(f"the connection broke while it answered{detail}")
