"""A request as bytes: the head, and the pieces of a long or streamed body. Pure functions.

A head that would not say what the body is, or that would smuggle a second line into the first, is refused here; nothing
behind this module checks again.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence

import httpx

from backends.http.connection import WRITE_PIECE_BYTES

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"


def post(
    url: httpx.URL,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    *,
    extensions: dict[str, object] | None = None,
) -> httpx.Request:
    """The cheapest httpx request: `headers` are made once and hold everything but Content-Length (also Host).

    httpx.Request(content=...) costs 6 us more to look for headers that it might have to add.
    """
    framed_headers = [*headers, (b"Content-Length", b"%d" % len(body))]
    return httpx.Request("POST", url, headers=framed_headers, stream=httpx.ByteStream(body), extensions=extensions)


def as_header(text: str) -> bytes:
    """Text that came from elsewhere as a header's value: whatever is no visible ASCII is a question mark."""
    return bytes(byte if 0x20 <= byte <= 0x7E else 0x3F for byte in text.encode("ascii", "replace"))


def encode_head(request: httpx.Request, body: bytes | None) -> bytes:
    """Request line and headers. `body` is None for a streamed one.

    Raises:
        httpx.LocalProtocolError: it is not one well-formed head, or it contradicts the body.
    """
    headers = request.headers.raw
    lines = [b"%b: %b\r\n" % header for header in headers]
    method = request.method
    if not method.isalpha() or method == "CONNECT":
        raise httpx.LocalProtocolError(f"{method!r} is not a method that this transport sends", request=request)
    head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode("ascii", "replace"), request.url.raw_path, b"".join(lines))
    breaks = len(lines) + 2
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise httpx.LocalProtocolError("a header holds a line break or a NUL", request=request)
    lowered = head.lower()
    if b"\r\nhost: " not in lowered:
        raise httpx.LocalProtocolError("the request has no Host header", request=request)
    if not _frames(lowered, body):
        raise httpx.LocalProtocolError("Content-Length or Transfer-Encoding contradict the body", request=request)
    return head


def _frames(lowered: bytes, body: bytes | None) -> bool:
    """Whether the head announces this body, once and in one way."""
    chunked = lowered.count(b"\r\ntransfer-encoding:")
    lengths = lowered.count(b"\r\ncontent-length:")
    if body is None:
        return chunked + lengths == 1 and (lengths == 1 or _CHUNKED in lowered)
    if chunked:
        return False
    if not body and not lengths:
        return True
    return lengths == 1 and b"\r\ncontent-length: %d\r\n" % len(body) in lowered


async def slices(body: bytes) -> AsyncIterator[bytes]:
    """A long body in pieces, so that it is not all queued at once."""
    for start in range(0, len(body), WRITE_PIECE_BYTES):
        yield body[start : start + WRITE_PIECE_BYTES]


async def framed(request: httpx.Request) -> AsyncIterator[bytes]:
    """The pieces of a streamed body, in chunks or against the length that was announced.

    Raises:
        httpx.LocalProtocolError: it is no async stream, or not of the announced length.
    """
    stream = request.stream
    if not isinstance(stream, AsyncIterable):
        raise httpx.LocalProtocolError("a streamed request body must be an async iterable", request=request)
    length = request.headers.get("content-length")
    sent = 0
    async for piece in stream:
        if not piece:
            continue
        sent += len(piece)
        if length is not None and sent > int(length):
            break
        yield piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
    if length is None:
        yield b"0\r\n\r\n"
    elif sent != int(length):
        raise httpx.LocalProtocolError(f"the body is not of the {length} bytes it announced", request=request)
