"""One request and its streamed answer over HTTP: what every HTTP family has in common.

It moves bytes. The words of a request, the reading of a stream and the meaning of a failure are a family's `Codec`,
pure functions over bytes; what sets one server of a family apart is its dialect. Requests go straight to the transport,
since an HTTP client's own layer costs more than all the rest of this file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import httpx
import msgspec

from backends.authorise import Authoriser
from backends.contract import Chunk, GenerateRequest, LoadReport, Signals
from backends.dialect import Dialect
from backends.errors import BackendError, ModelNotServed, ProtocolViolation, once_delivered
from backends.failures import classify
from backends.failures.client import map_httpx_errors
from backends.http.answer import is_document, is_json, next_read, read_document, refusal
from backends.http.request import as_header, post
from backends.neutral import fitting
from backends.signals import read_signals
from backends.spec import BackendSpec
from backends.urls import endpoint

# How long the end of a body may take once the answer is complete; past it the connection is given up, not the caller.
_AFTER_DONE_S = 0.02
_AFTER_FINISH_S = 2.0
_KEPT_URLS = 64

Headers = Sequence[tuple[bytes, bytes]]


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request in a family's words: the path below the base URL (with its query), the body, headers of its own."""

    path: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Decoder(Protocol):
    """One answer, decoded without I/O. After `done` nothing more is read; `ended` says that its end is proven."""

    @property
    def done(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes, none for half an event.

        Raises:
            BackendError: a failure inside the stream, or bytes that are no stream. What the same read brought before it
                is not delivered, so that a stream that fails in its first read can be tried elsewhere.
        """
        ...

    def close(self) -> list[Chunk]:
        """The body has ended. Raises ProtocolViolation if it did before the answer had."""
        ...

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer that came as one JSON document although a stream was asked for."""
        ...


class FailureReader(Protocol):
    """What the body of an error inside a 200 answer means."""

    def __call__(self, body: bytes) -> BackendError: ...


class Codec(Protocol):
    """A family's words. Holds no state of any one request."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def accept(self) -> bytes:
        """The media type of its streams."""
        ...

    def encode(self, request: GenerateRequest, *, upstream_model: str) -> Outgoing:
        """Raises Unsupported for what the family has no word for."""
        ...

    def decoder(self, request: GenerateRequest, *, read_failure: FailureReader) -> Decoder:
        """A decoder for the answer to this request."""
        ...


class Prober(Protocol):
    async def probe(self, *, timeout_s: float) -> LoadReport: ...


class HttpBackend:
    """One server of an HTTP family. Implements `backends.contract.Backend`."""

    def __init__(
        self,
        spec: BackendSpec,
        codec: Codec,
        *,
        transport: httpx.AsyncBaseTransport,
        authoriser: Authoriser,
        prober: Prober,
        headers: Headers = (),
    ) -> None:
        self._spec = spec
        self._codec = codec
        self._dialect = codec.dialect
        self._transport = transport
        self._authoriser = authoriser
        self._prober = prober
        self._is_of_events = codec.accept == b"text/event-stream"
        self._urls: dict[str, httpx.URL] = {}
        self._headers = [
            (b"host", endpoint(spec.base_url, "/").netloc),
            (b"content-type", b"application/json"),
            (b"accept", codec.accept),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"inference-router"),
            *headers,
        ]
        connect = spec.connect_timeout_s
        self._extensions: dict[str, object] = {
            "timeout": {"connect": connect, "pool": connect, "read": None, "write": None}
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.id!r}, {self._dialect.name!r}, {self._spec.base_url!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Streams the answer; a trailing assistant message is continued where the dialect can say so."""
        request = fitting(request, self._dialect.parameters)
        outgoing = self._codec.encode(request, upstream_model=upstream_model)
        upstream = await self._request(outgoing, request_id)
        decoder = self._codec.decoder(request, read_failure=self._read_failure)
        has_delivered = False
        signals: Signals | None = None
        try:
            with map_httpx_errors() as crossing:
                response = await self._transport.handle_async_request(upstream)
                crossing.answered = True
                stream = response.stream
                assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport returns
                try:
                    signals = read_signals(response.headers, self._dialect.limits)
                    if response.status_code != 200:
                        raise await refusal(
                            response, dialect=self._dialect, authoriser=self._authoriser, signals=signals
                        )
                    if response.headers.get("content-encoding", "identity") != "identity":
                        raise ProtocolViolation("a compressed answer, although none was asked for")
                    reads = stream.__aiter__()
                    data = await next_read(reads, limit_s=None)
                    if is_document(response, data or b"") if self._is_of_events else is_json(response):
                        for chunk in decoder.whole(await read_document(reads, begun=data or b"")):
                            yield chunk if has_delivered or signals is None else _with(chunk, signals)
                            has_delivered = True
                        return
                    while True:
                        for chunk in decoder.close() if data is None else decoder.feed(data):
                            yield chunk if has_delivered or signals is None else _with(chunk, signals)
                            has_delivered = True
                        if decoder.done:
                            break
                        data = await next_read(reads, limit_s=_AFTER_FINISH_S if decoder.ended else None)
                    while await next_read(reads, limit_s=_AFTER_DONE_S) is not None:
                        pass
                finally:
                    await stream.aclose()
        except BackendError as error:
            if has_delivered:
                raise once_delivered(error) from error
            error.signals = error.signals or signals
            raise
        except RecursionError as error:  # how a JSON decoder says that a document nests too deeply
            failure = ProtocolViolation("an answer that nests too deeply", signals=signals)
            raise (once_delivered(failure) if has_delivered else failure) from error

    async def probe(self, *, timeout_s: float) -> LoadReport:
        return await self._prober.probe(timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Nothing to do: the transport belongs to whoever made it."""

    async def _request(self, outgoing: Outgoing, request_id: str) -> httpx.Request:
        url = self._urls.get(outgoing.path)
        if url is None:
            try:
                url = endpoint(self._spec.base_url, outgoing.path)
            except ValueError as error:
                raise ModelNotServed(f"no model has such a name: {error}") from error
            if len(self._urls) < _KEPT_URLS:  # paths hold model names: as many as are served, and bounded all the same
                self._urls[outgoing.path] = url
        headers = [*self._headers, *outgoing.headers, (b"x-request-id", as_header(request_id))]
        proof = self._authoriser.ready
        if proof is None:
            proof = await self._authoriser.headers("POST", url, headers, outgoing.body)
        return post(url, [*headers, *proof], outgoing.body, extensions=self._extensions)

    def _read_failure(self, body: bytes) -> BackendError:
        return classify.from_event(body, rules=self._dialect.failures, secret=self._authoriser.revealed())


def _with(chunk: Chunk, signals: Signals) -> Chunk:
    return msgspec.structs.replace(chunk, signals=signals)
