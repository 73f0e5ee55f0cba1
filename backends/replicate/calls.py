"""Replicate's API, one method a call. Every address that comes here has been checked."""

from __future__ import annotations

from typing import NamedTuple

import httpx
import msgspec

from backends.authorise import Authoriser
from backends.contract import Signals
from backends.dialect import Dialect
from backends.errors import ProtocolViolation
from backends.failures.client import map_httpx_errors
from backends.http.answer import read_document, refusal
from backends.http.exchange import Outgoing
from backends.http.request import as_header, post
from backends.replicate.wire import Prediction, decode_prediction
from backends.signals import read_signals
from backends.spec import BackendSpec
from backends.urls import endpoint


class Created(NamedTuple):
    prediction: Prediction
    signals: Signals | None


class Calls:
    def __init__(
        self, spec: BackendSpec, dialect: Dialect, *, transport: httpx.AsyncBaseTransport, authoriser: Authoriser
    ) -> None:
        self._base_url = spec.base_url
        self._dialect = dialect
        self._transport = transport
        self._authoriser = authoriser
        connect = spec.connect_timeout_s
        self._extensions: dict[str, object] = {
            "timeout": {"connect": connect, "pool": connect, "read": None, "write": None}
        }

    async def create(self, outgoing: Outgoing, request_id: str) -> Created:
        """Raises BackendError, also where the answer is no prediction."""
        url = endpoint(self._base_url, outgoing.path)
        headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", as_header(request_id)),
            *outgoing.headers,
        ]
        with map_httpx_errors() as crossing:
            response = await self._send("POST", url, headers, outgoing.body)
            crossing.answered = True
            signals = read_signals(response.headers, self._dialect.limits)
            return Created(await self._prediction(response, signals), signals)

    async def get(self, url: httpx.URL) -> Prediction:
        """Raises BackendError."""
        with map_httpx_errors():
            return await self._prediction(await self._send("GET", url), None)

    async def cancel(self, url: httpx.URL) -> None:
        """Raises BackendError."""
        with map_httpx_errors():
            await self._prediction(await self._send("POST", url), None)

    async def open_stream(self, url: httpx.URL, *, after: bytes) -> httpx.Response:
        """The head of the stream, for the caller to read and close. Raises BackendError or what httpx raises."""
        headers = [(b"accept", b"text/event-stream"), (b"cache-control", b"no-store")]
        if after:
            headers.append((b"last-event-id", after))
        response = await self._send("GET", url, headers)
        if response.status_code == 200 and response.headers.get("content-encoding", "identity") == "identity":
            return response
        try:
            if response.status_code == 200:
                raise ProtocolViolation("a compressed stream, although none was asked for")
            raise await refusal(response, dialect=self._dialect, authoriser=self._authoriser)
        finally:
            await response.aclose()

    async def _send(
        self, method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]] | None = None, body: bytes = b""
    ) -> httpx.Response:
        proof = self._authoriser.ready
        if proof is None:
            proof = await self._authoriser.headers(method, url, headers or [], body)
        sent = [
            (b"host", url.netloc),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"inference-router"),
            *(headers or ()),
            *proof,
        ]
        if method == "POST":
            request = post(url, sent, body, extensions=self._extensions)
        else:
            request = httpx.Request(method, url, headers=sent, extensions=self._extensions)
        return await self._transport.handle_async_request(request)

    async def _prediction(self, response: httpx.Response, signals: Signals | None) -> Prediction:
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport returns
        try:
            if not 200 <= response.status_code < 300:
                raise await refusal(response, dialect=self._dialect, authoriser=self._authoriser, signals=signals)
            body = await read_document(stream)
        finally:
            await stream.aclose()
        try:
            return decode_prediction(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation("an answer that is no prediction") from error
