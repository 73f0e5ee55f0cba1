"""The adapter for everything that speaks the OpenAI chat wire, from llama.cpp to hosted APIs.

It moves bytes: the words of a request, the reading of a stream and the meaning of a failure are pure functions in
`openai_encode`, `openai_decode` and `failures`, and what sets one server apart from another is its profile. Requests go
straight to the transport, since an HTTP client's own layer costs more than all the rest of this file.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import httpx

from backends import auth, failures
from backends.contract import Chunk, GenerateRequest, LoadReport
from backends.errors import BackendError, ProtocolViolation, once_delivered
from backends.openai_decode import ChatDecoder
from backends.openai_encode import CHAT_PATH, encode
from backends.probes import Prober
from backends.profiles import Profile, profile
from backends.spec import BackendSpec
from backends.transport_request import post
from backends.urls import endpoint

MAX_JSON_BODY_BYTES = 32 * 1024 * 1024

# How long the end of a body may take once the answer is complete; past it the connection is given up, not the caller.
_AFTER_DONE_S = 0.02
_AFTER_FINISH_S = 2.0
_EXPLANATION_S = 2.0


class OpenAIChatBackend:
    """One server. Its credential is read once and lives in the headers only, which do not print."""

    def __init__(
        self,
        spec: BackendSpec,
        transport: httpx.AsyncBaseTransport,
        control: httpx.AsyncClient,
        env: Mapping[str, str],
    ) -> None:
        if spec.options:
            raise ValueError(f"{spec.id}: unknown option {min(spec.options)!r}; this wire has none")
        self._spec = spec
        self._profile = profile(spec.profile)
        self._transport = transport
        secret = auth.resolve(spec.credential, env)
        self._secret = auth.Secret(secret) if secret is not None else None
        credential = _credential(self._profile, secret)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"inference-router"),
            *credential,
        ]
        # The other path on its first use: few are asked for it, and a fleet has thousands of adapters.
        self._urls = {CHAT_PATH: endpoint(spec.base_url, CHAT_PATH)}
        self._headers = [(b"host", self._urls[CHAT_PATH].netloc), *headers]
        connect = spec.connect_timeout_s
        self._extensions: dict[str, object] = {
            "timeout": {"connect": connect, "pool": connect, "read": None, "write": None}
        }
        self._prober = Prober(spec, self._profile, control, headers=credential)

    def __repr__(self) -> str:
        return f"OpenAIChatBackend({self._spec.id!r}, {self._profile.name!r}, {self._spec.base_url!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Streams the answer; a trailing assistant message is continued where the profile can say so."""
        path, body = encode(request, upstream_model=upstream_model, profile=self._profile)
        if path not in self._urls:
            self._urls[path] = endpoint(self._spec.base_url, path)
        headers = [*self._headers, (b"x-request-id", request_id.encode("ascii", "replace"))]
        upstream = post(self._urls[path], headers, body, extensions=self._extensions)
        decoder = ChatDecoder(self._profile, read_failure=self._read_failure)
        has_delivered = False
        try:
            with failures.map_httpx_errors() as crossing:
                response = await self._transport.handle_async_request(upstream)
                crossing.answered = True
                stream = response.stream
                assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport returns
                try:
                    if response.status_code != 200:
                        raise await self._failure(response, stream)
                    if response.headers.get("content-encoding", "identity") != "identity":
                        raise ProtocolViolation("a compressed answer, although none was asked for")
                    if _is_json(response):
                        for chunk in decoder.whole(await _read(stream)):
                            yield chunk
                            has_delivered = True
                        return
                    reads = stream.__aiter__()
                    while not decoder.done:
                        data = await _next(reads, limit_s=_AFTER_FINISH_S if decoder.ended else None)
                        for chunk in decoder.close() if data is None else decoder.feed(data):
                            yield chunk
                            has_delivered = True
                    while await _next(reads, limit_s=_AFTER_DONE_S) is not None:
                        pass
                finally:
                    await stream.aclose()
        except BackendError as error:
            if has_delivered:
                raise once_delivered(error) from error
            raise

    async def probe(self, *, timeout_s: float) -> LoadReport:
        return await self._prober.probe(timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Nothing to do: the transport belongs to whoever made it."""

    async def _failure(self, response: httpx.Response, stream: httpx.AsyncByteStream) -> BackendError:
        body = _decoded(await _explanation(stream), response.headers.get("content-encoding", ""))
        return failures.from_response(
            response.status_code, response.headers, body, profile=self._profile, secret=self._revealed()
        )

    def _read_failure(self, body: bytes) -> BackendError:
        return failures.from_event(body, profile=self._profile, secret=self._revealed())

    def _revealed(self) -> str | None:
        return self._secret.value if self._secret is not None else None


def _credential(dialect: Profile, secret: str | None) -> list[tuple[bytes, bytes]]:
    if secret is None:
        return []
    if dialect.api_key_header is not None:
        return [(dialect.api_key_header.encode(), secret.encode())]
    return [(b"authorization", b"Bearer " + secret.encode())]


def _is_json(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


async def _next(reads: AsyncIterator[bytes], *, limit_s: float | None) -> bytes | None:
    """The next read; None at the end of the body, or when a body that is only owed its end keeps it back."""
    if limit_s is None:
        return await anext(reads, None)
    try:
        async with asyncio.timeout(limit_s):
            return await anext(reads, None)
    except (TimeoutError, *failures.CLIENT_ERRORS):
        return None  # the answer is complete: how the connection ends changes nothing


async def _read(stream: httpx.AsyncByteStream) -> bytes:
    """A whole answer, if it is of a size that an answer can have."""
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        parts.append(part)
        size += len(part)
        if size > MAX_JSON_BODY_BYTES:
            raise ProtocolViolation(f"an answer of more than {MAX_JSON_BODY_BYTES} bytes")
    return b"".join(parts)


async def _explanation(stream: httpx.AsyncByteStream) -> bytes:
    """The body of an error, as much of it as comes soon; the status speaks for itself where none does."""
    parts: list[bytes] = []
    size = 0
    with contextlib.suppress(TimeoutError, *failures.CLIENT_ERRORS):
        async with asyncio.timeout(_EXPLANATION_S):
            async for part in stream:
                parts.append(part)
                size += len(part)
                if size >= failures.MAX_ERROR_BODY_BYTES:
                    break
    return b"".join(parts)[: failures.MAX_ERROR_BODY_BYTES]


def _decoded(body: bytes, encoding: str) -> bytes:
    """Proxies compress their error pages for clients that did not ask for it."""
    if encoding in ("", "identity"):
        return body
    try:
        return httpx.Response(500, headers={"content-encoding": encoding}, content=body).content
    except httpx.DecodingError:
        return b""
