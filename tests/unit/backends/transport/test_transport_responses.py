"""What comes back for what a server writes: bodies, framings, and every way of being cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

import httpx
import pytest

from backends.http.transport import FastTransport
from tests.unit.backends.transport.conftest import Peer, StartUpstream, fetch, read

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Case:
    id: str
    wire: bytes
    body: bytes = b""
    status: int = 200
    method: str = "GET"
    kept: bool = True


CASES = (
    Case("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    Case("empty-length", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Case("chunked", CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    Case("chunk-extensions", CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    Case("trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", b"hello"),
    Case("no-content", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", status=204),
    Case("not-modified", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status=304),
    Case("head", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", method="HEAD", kept=False),
    Case("head-chunked", CHUNKED, method="HEAD", kept=False),
    Case(
        "informational",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
    ),
    Case("error-status", b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", b"busy", status=503),
    Case("connection-close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", kept=False),
    Case("http-1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", kept=False),
    Case(
        "http-1.0-keep-alive",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
        kept=False,
    ),
    Case(
        "extra-response",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"ok",
        kept=False,
    ),
    Case("extra-garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\x00\x01", b"ok", kept=False),
    Case("extra-after-chunked", CHUNKED + b"2\r\nok\r\n0\r\n\r\nx", b"ok", kept=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("pieces", ["whole", "bytewise"])
async def test_framings(case: Case, pieces: str, transport: FastTransport, upstream: StartUpstream) -> None:
    """Each framing gives its body, however it is cut, and only a cleanly ended connection is used again."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for piece in [case.wire] if pieces == "whole" else [bytes([byte]) for byte in case.wire]:
                await peer.write(piece)

    server = await upstream(script)
    for _ in range(2):
        response, body = await fetch(transport, case.method, server.url())
        assert (response.status_code, body) == (case.status, case.body)
        if pieces == "bytewise":  # extra bytes that come after the response is taken end the connection then
            await asyncio.sleep(0.01)
    assert len(server.peers) == (1 if case.kept else 2)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"],
)
async def test_a_body_without_length_ends_with_the_connection(
    head: bytes, transport: FastTransport, upstream: StartUpstream
) -> None:
    """A close-delimited body ends normally at the server's close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(head + b"some")
        await peer.write(b" text")

    server = await upstream(script)
    _, body = await fetch(transport, "GET", server.url())
    assert body == b"some text"


@dataclass(frozen=True)
class Cut:
    id: str
    wire: bytes
    says: str


CUTS = (
    Cut("nothing", b"", "closed the connection without a response"),
    Cut("inside-head", b"HTTP/1.1 200 OK\r\nContent-", "closed the connection inside the response head"),
    Cut(
        "inside-length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "closed the connection before the end of the body",
    ),
    Cut("inside-chunk", CHUNKED + b"9\r\nhalf", "closed the connection before the end of the body"),
    Cut("between-chunks", CHUNKED + b"4\r\nhalf\r\n", "closed the connection before the end of the body"),
    Cut("before-last-line", CHUNKED + b"4\r\nhalf\r\n0\r\n", "closed the connection before the end of the body"),
    Cut("bad-chunk", CHUNKED + b"4\r\nhalf\r\nzz\r\n", "malformed body"),
    Cut("no-http", b"SSH-2.0-OpenSSH_9.9\r\n", "malformed head"),
    Cut("two-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "malformed head"),
    Cut(
        "length-and-chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "malformed head",
    ),
    Cut("bad-header", b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "malformed head"),
    Cut("switching", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "switched"),
    Cut("giant-header", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "head"),
    Cut("endless-header", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 700_000, "bytes of head without a body"),
    Cut("many-headers", b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n", "more than 256 headers"),
    Cut("endless-informational", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" * 9000, "bytes of head without a body"),
    Cut(
        "endless-trailers",
        CHUNKED + b"0\r\n" + b"X-Trailer: something\r\n" * 40_000,
        "bytes of head without a body",
    ),
    Cut("endless-extension", CHUNKED + b"1;" + b"a" * 700_000, "bytes of head without a body"),
)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.id)
async def test_a_broken_answer_is_an_error(cut: Cut, transport: FastTransport, upstream: StartUpstream) -> None:
    """Whatever is cut or malformed raises RemoteProtocolError with the peer and the place, and frees the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(cut.wire)

    server = await upstream(script)
    with pytest.raises(httpx.RemoteProtocolError, match=cut.says) as caught:
        await fetch(transport, "GET", server.url())
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert not transport._pool._hosts


@pytest.mark.parametrize(
    "start", [CHUNKED + b"4\r\nhalf\r\n", b"HTTP/1.1 200 OK\r\n\r\nhalf"], ids=["chunked", "close-delimited"]
)
async def test_a_reset_is_a_read_error_after_the_data(
    start: bytes, transport: FastTransport, upstream: StartUpstream
) -> None:
    """What arrived before a reset is delivered, then ReadError is raised, and again on every further read."""
    delivered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(start)
        await delivered.wait()
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # the close is a reset
        peer.reset()

    server = await upstream(script)
    response = await transport.handle_async_request(httpx.Request("GET", server.url()))
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    iterator = aiter(stream)
    assert await anext(iterator) == b"half"
    delivered.set()
    for _ in range(2):
        with pytest.raises(httpx.ReadError, match="broke before the end of the body"):
            await anext(iterator)
    await response.aclose()


async def test_one_read_is_one_piece(transport: FastTransport, upstream: StartUpstream) -> None:
    """Chunks that arrived together are one bytes object; chunks that arrived apart are not held back."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(CHUNKED + b"1\r\na\r\n" * 50)
        await go.wait()
        await peer.write(b"1\r\nb\r\n" * 50 + b"0\r\n\r\n")
        await peer.disconnect()

    server = await upstream(script)
    response = await transport.handle_async_request(httpx.Request("GET", server.url()))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    pieces = []
    async for piece in response.stream:
        pieces.append(piece)
        go.set()
    assert pieces == [b"a" * 50, b"b" * 50]


async def test_errors_name_their_request(transport: FastTransport, upstream: StartUpstream) -> None:
    """An error before the response carries the request, as httpx's own do."""

    async def script(peer: Peer) -> None:
        await peer.request()

    server = await upstream(script)
    request = httpx.Request("GET", server.url())
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await transport.handle_async_request(request)
    assert caught.value.request is request


async def test_it_works_under_an_httpx_client(upstream: StartUpstream, transport: FastTransport) -> None:
    """It is an httpx transport like any other: a client decodes its bodies and reads them whole."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}')

    server = await upstream(script)
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(3):
            assert (await client.post(server.url(), json={"b": 2})).json() == {"a": 1}
    assert len(server.peers) == 1
    with pytest.raises(httpx.ConnectError, match="closed"):
        await transport.handle_async_request(httpx.Request("GET", server.url()))


async def test_an_unclosed_body_is_reported_and_closed(transport: FastTransport, upstream: StartUpstream) -> None:
    """A response that was dropped without aclose warns, and its connection does not leak."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(CHUNKED + b"4\r\nhalf\r\n")
        await peer.disconnect()

    server = await upstream(script)
    response = await transport.handle_async_request(httpx.Request("GET", server.url()))
    with pytest.warns(ResourceWarning, match="unclosed response body"):
        del response
    await asyncio.wait_for(server.peers[0].gone.wait(), 1)


async def test_reading_after_the_end_or_after_close_yields_nothing(
    transport: FastTransport, upstream: StartUpstream
) -> None:
    """A finished stream stays finished, and closing twice is harmless."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        await peer.disconnect()

    server = await upstream(script)
    response = await transport.handle_async_request(httpx.Request("GET", server.url()))
    assert await read(response) == b"ok"
    await response.aclose()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    assert [piece async for piece in response.stream] == []
