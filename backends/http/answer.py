"""Reads an answer over HTTP to an end: of its own, of our patience, or at the most that it may hold.

What is no answer but a refusal becomes the error that it means.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterable, AsyncIterator

import httpx

from backends.authorise import Authoriser
from backends.contract import Signals
from backends.dialect import Dialect
from backends.errors import BackendError, ProtocolViolation
from backends.failures import classify
from backends.failures.client import CLIENT_ERRORS

MAX_JSON_BODY_BYTES = 32 * 1024 * 1024

_EXPLANATION_S = 2.0
_JSON_BEGINS = (b"{", b"[")
_EVENT_BEGINS = (b"d", b"e", b":")


def is_json(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def is_document(response: httpx.Response, begins: bytes) -> bool:
    """Whether an answer that should be a stream of events is one JSON document.

    Its first byte knows better than its label, which gateways leave out, or leave as it was for the other kind.
    """
    start = begins.lstrip()[:1]
    return start in _JSON_BEGINS or (start not in _EVENT_BEGINS and is_json(response))


async def next_read(reads: AsyncIterator[bytes], *, limit_s: float | None) -> bytes | None:
    """The next read; None at the end of the body, or when a body that is only owed its end keeps it back."""
    if limit_s is None:
        return await anext(reads, None)
    try:
        async with asyncio.timeout(limit_s):
            return await anext(reads, None)
    except (TimeoutError, *CLIENT_ERRORS):
        return None  # the answer is complete: how the connection ends changes nothing


async def read_document(reads: AsyncIterable[bytes], *, begun: bytes = b"") -> bytes:
    """A whole answer, if it is of a size that an answer can have; `begun` is what was read of it before."""
    parts = [begun]
    size = len(begun)
    async for part in reads:
        parts.append(part)
        size += len(part)
        if size > MAX_JSON_BODY_BYTES:
            raise ProtocolViolation(f"an answer of more than {MAX_JSON_BODY_BYTES} bytes")
    return b"".join(parts)


async def refusal(
    response: httpx.Response, *, dialect: Dialect, authoriser: Authoriser, signals: Signals | None = None
) -> BackendError:
    """The error that this response means, for the caller to raise; the authoriser is told."""
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport returns
    error = classify.from_response(
        response.status_code,
        response.headers,
        _decoded(await _explanation(stream), response.headers.get("content-encoding", "")),
        rules=dialect.failures,
        secret=authoriser.revealed(),
    )
    error.signals = signals
    authoriser.refused(error)
    return error


async def _explanation(stream: httpx.AsyncByteStream) -> bytes:
    """The body of an error, as much of it as comes soon; the status speaks for itself where none does."""
    parts: list[bytes] = []
    size = 0
    with contextlib.suppress(TimeoutError, *CLIENT_ERRORS):
        async with asyncio.timeout(_EXPLANATION_S):
            async for part in stream:
                parts.append(part)
                size += len(part)
                if size >= classify.MAX_ERROR_BODY_BYTES:
                    break
    return b"".join(parts)[: classify.MAX_ERROR_BODY_BYTES]


def _decoded(body: bytes, encoding: str) -> bytes:
    """Proxies compress their error pages for clients that did not ask for it; a small body may unpack to a huge one."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return b""
    try:
        return zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(body, classify.MAX_ERROR_BODY_BYTES)
    except zlib.error:
        return b""
