"""What bounds an exchange: cancellation, timeouts, back-pressure; and what is refused before it is sent."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from backends.http.request import post
from backends.http.transport import FastTransport
from tests.unit.backends.transport.conftest import Peer, StartUpstream, fetch, read

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DISCONNECT_LIMIT_S = 0.1
MEGABYTE = 1 << 20


@pytest.mark.parametrize("when", ["before the head", "in the body", "aclose in the body", "at the end"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_the_upstream_sees_a_cancellation_at_once(
    *,
    when: str,
    tls: bool,
    make_transport: Callable[..., FastTransport],
    upstream: StartUpstream,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """The connection is gone within 100 ms of a cancel or an early aclose, wherever the exchange was."""
    transport = make_transport(ssl_context=client_context)
    started = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if when != "before the head":
            await peer.write(CHUNKED + b"2\r\nok\r\n")
        started.set()
        await peer.disconnect()

    server = await upstream(script, context=server_context if tls else None)
    request = httpx.Request("GET", server.url())
    if when == "aclose in the body":
        response = await transport.handle_async_request(request)
        before = time.perf_counter()
        await response.aclose()
    else:
        task = asyncio.create_task(fetch(transport, "GET", server.url()))
        await started.wait()
        await asyncio.sleep(0.01)  # so that the reader waits in the place that is meant
        before = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.wait_for(server.peers[0].gone.wait(), 1)
    assert time.perf_counter() - before < DISCONNECT_LIMIT_S
    assert not transport._pool._hosts


async def test_cancelling_a_connect_leaves_nothing(transport: FastTransport, upstream: StartUpstream) -> None:
    """A request that is cancelled while it connects leaves no connection behind."""

    async def script(peer: Peer) -> None:
        await peer.disconnect()

    server = await upstream(script)
    task = asyncio.create_task(fetch(transport, "GET", server.url()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not transport._pool._hosts


async def test_connect_timeout(
    make_transport: Callable[..., FastTransport], upstream: StartUpstream, client_context: ssl.SSLContext
) -> None:
    """A TLS handshake that is never answered ends at the connect timeout."""
    transport = make_transport(ssl_context=client_context)
    server = await upstream(Peer.disconnect)
    server.scheme = "https"
    with pytest.raises(httpx.ConnectTimeout, match=r"within 0\.05 s"):
        await fetch(transport, "GET", server.url(), extensions={"timeout": {"connect": 0.05}})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "http://[::1]:1/"])
async def test_what_cannot_be_reached_is_a_connect_error(url: str, transport: FastTransport) -> None:
    """Refused and unresolvable addresses raise ConnectError that names the address."""
    with pytest.raises(httpx.ConnectError, match=r"no connection to (127\.0\.0\.1:1|nowhere\.invalid:80|\[::1\]:1): "):
        await fetch(transport, "GET", url)


@pytest.mark.parametrize("place", ["head", "body"])
async def test_read_timeout(place: str, transport: FastTransport, upstream: StartUpstream) -> None:
    """A read timeout counts from the last byte, in the head and in the body, and ends the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if place == "body":
            await peer.write(CHUNKED)
            for _ in range(3):
                await asyncio.sleep(0.03)
                await peer.write(b"2\r\nok\r\n")
        await peer.disconnect()

    server = await upstream(script)
    with pytest.raises(httpx.ReadTimeout, match=r"sent nothing for 0\.06 s"):
        await fetch(transport, "GET", server.url(), extensions={"timeout": {"read": 0.06}})
    await asyncio.wait_for(server.peers[0].gone.wait(), 1)


async def test_a_read_timeout_that_is_kept_does_no_harm(transport: FastTransport, upstream: StartUpstream) -> None:
    """Timers of reads that were in time do not fire later."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(CHUNKED)
        for _ in range(4):
            await asyncio.sleep(0.03)
            await peer.write(b"2\r\nok\r\n")
        await peer.write(b"0\r\n\r\n")
        await peer.disconnect()

    server = await upstream(script)
    _, body = await fetch(transport, "GET", server.url(), extensions={"timeout": {"read": 0.1}})
    assert body == b"ok" * 4


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_reader_that_stops_stops_the_server(
    *,
    tls: bool,
    make_transport: Callable[..., FastTransport],
    upstream: StartUpstream,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """Of 50 MB pushed at a reader that does not read, under 1 MB is held here and the server's writes stall."""
    transport = make_transport(ssl_context=client_context)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 * MEGABYTE))
        for _ in range(50 * 16):
            await peer.write(b"x" * (MEGABYTE // 16))
            sent += MEGABYTE // 16
        await peer.disconnect()

    server = await upstream(script, context=server_context if tls else None)
    response = await transport.handle_async_request(httpx.Request("GET", server.url()))
    (connection,) = transport._pool._sockets
    last = -1
    while sent != last:  # until a spell in which the server could write nothing more
        last = sent
        await asyncio.sleep(0.15)
    held = sum(map(len, connection.parts))
    assert held < MEGABYTE
    assert sent < 25 * MEGABYTE  # the rest is in the sockets' buffers, which the kernel bounds
    assert len(await read(response)) == 50 * MEGABYTE


async def test_a_paused_connection_is_usable_again(transport: FastTransport, upstream: StartUpstream) -> None:
    """A response that was paused and closed when complete leaves a connection that still reads."""
    big = 300 * 1024

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % big + b"x" * big)

    server = await upstream(script)
    for _ in range(3):
        _, body = await fetch(transport, "GET", server.url())
        assert len(body) == big
    assert len(server.peers) == 1


async def test_a_large_body_waits_for_a_slow_server(transport: FastTransport, upstream: StartUpstream) -> None:
    """20 MB to a server that does not read yet: little is queued here, and all of it arrives when it reads."""
    body = bytes(range(256)) * (20 * MEGABYTE // 256)
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await go.wait()
        await peer.request()
        await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script)
    task = asyncio.create_task(fetch(transport, "POST", server.url(), content=body))
    await server.arrived.wait()
    await asyncio.sleep(0.05)
    (connection,) = transport._pool._sockets
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < MEGABYTE
    go.set()
    _, answer = await task
    assert answer == b"ok"
    assert server.peers[0].requests[0].endswith(body)


async def test_write_timeout(transport: FastTransport, upstream: StartUpstream) -> None:
    """A server that never reads a long body ends in WriteTimeout."""
    stop = asyncio.Event()

    async def script(_: Peer) -> None:
        await stop.wait()

    server = await upstream(script)
    with pytest.raises(httpx.WriteTimeout, match=r"took nothing for 0\.05 s"):
        await fetch(
            transport, "POST", server.url(), content=b"x" * (20 * MEGABYTE), extensions={"timeout": {"write": 0.05}}
        )
    stop.set()


async def test_an_early_answer_ends_the_sending(transport: FastTransport, upstream: StartUpstream) -> None:
    """A server that refuses a long body before reading it is heard, and its connection is not used again."""

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        await asyncio.sleep(0.05)
        await peer.disconnect()

    server = await upstream(script)
    response, body = await fetch(transport, "POST", server.url(), content=b"x" * (20 * MEGABYTE))
    assert (response.status_code, body) == (413, b"no!")
    assert not transport._pool._hosts


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"one", b"", b"two"):
        yield piece


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "6"}], ids=["chunked", "length"])
async def test_streamed_request_bodies(
    headers: dict[str, str], transport: FastTransport, upstream: StartUpstream
) -> None:
    """An async iterator is sent in chunks, or raw when its length was announced."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script)
    _, body = await fetch(transport, "POST", server.url(), content=pieces(), headers=headers)
    assert body == b"ok"
    assert server.peers[0].requests[0].endswith(b"\r\n\r\nonetwo")


async def test_a_request_made_beforehand(transport: FastTransport, upstream: StartUpstream) -> None:
    """A request of ready headers is the same on the wire as one that httpx completes, and reuses connections."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.write(OK)

    server = await upstream(script)
    url = httpx.URL(server.url("/v1?a=b"))
    await fetch(transport, "POST", server.url("/v1?a=b"), content=b"ask", headers={"X-A": "b"})
    response = await transport.handle_async_request(post(url, [(b"Host", url.netloc), (b"X-A", b"b")], b"ask"))
    assert await read(response) == b"ok"
    (peer,) = server.peers
    assert peer.requests[0] == peer.requests[1]


@pytest.mark.parametrize("length", ["5", "7"])
async def test_a_streamed_body_of_another_length_is_refused(
    length: str, transport: FastTransport, upstream: StartUpstream
) -> None:
    """A stream that breaks its own Content-Length is an error here, never a request that desynchronises the server."""
    server = await upstream(Peer.disconnect)
    with pytest.raises(httpx.LocalProtocolError, match="announced"):
        await fetch(transport, "POST", server.url(), content=pieces(), headers={"Content-Length": length})
    assert not transport._pool._hosts


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("GET", {"headers": {"X": "a\r\nEvil: b"}}, "line break"),
        ("GET", {"headers": {"X": "a\nEvil: b"}}, "line break"),
        ("GET", {"headers": {"X\r\nEvil": "b"}}, "line break"),
        ("GET", {"headers": {"X": "a\0"}}, "NUL"),
        ("GET / HTTP/1.1\r\nX:", {}, "method"),
        ("CONNECT", {}, "method"),
        ("POST", {"content": b"abc", "headers": {"Content-Length": "2"}}, "contradict"),
        ("POST", {"content": b"abc", "headers": {"Transfer-Encoding": "chunked"}}, "contradict"),
        ("GET", {"headers": {"Content-Length": "2"}}, "contradict"),
        ("POST", {"stream": httpx.ByteStream(b"abc"), "headers": {"Content-Length": "3"}}, "no Host"),
        ("POST", {"stream": httpx.ByteStream(b"abc"), "headers": {"Host": "a"}}, "contradict"),
    ],
)
async def test_a_request_that_would_lie_is_not_sent(
    method: str, options: dict[str, object], says: str, transport: FastTransport
) -> None:
    """A head with line breaks, or one that contradicts its body, is refused before anything is connected."""
    with pytest.raises(httpx.LocalProtocolError, match=says):
        await fetch(transport, method, "http://127.0.0.1:1/", **options)


async def test_an_unknown_scheme_is_refused(transport: FastTransport) -> None:
    """Only http and https are spoken."""
    with pytest.raises(httpx.UnsupportedProtocol, match="ftp"):
        await fetch(transport, "GET", "ftp://127.0.0.1/")


async def test_tls(
    make_transport: Callable[..., FastTransport],
    upstream: StartUpstream,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """Over TLS, connections are kept and bodies arrive, by address and by name (SNI)."""
    transport = make_transport(ssl_context=client_context)
    names: list[str | None] = []
    server_context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.write(CHUNKED + b"3\r\ntls\r\n0\r\n\r\n")

    server = await upstream(script, context=server_context)
    for host in ("127.0.0.1", "localhost"):
        server.host = host
        for _ in range(2):
            _, body = await fetch(transport, "GET", server.url())
            assert body == b"tls"
    assert len(server.peers) == 2
    assert names[-1] == "localhost"


@pytest.mark.parametrize("why", ["unknown issuer", "wrong name"])
async def test_tls_is_verified(
    why: str,
    make_transport: Callable[..., FastTransport],
    upstream: StartUpstream,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """An untrusted certificate, or one for another name, is a ConnectError that says so."""
    transport = make_transport(ssl_context=client_context) if why == "wrong name" else make_transport()
    server = await upstream(Peer.disconnect, context=server_context)
    if why == "wrong name":
        server.host = "127.1"  # resolves to where the server is, and is no name in its certificate
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        await fetch(transport, "GET", f"https://{server.host}:{server.port}/")
    assert not transport._pool._hosts


async def test_ipv6(transport: FastTransport, upstream: StartUpstream) -> None:
    """An IPv6 literal is connected to, with the brackets in the Host header only."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script, host="::1")
    _, body = await fetch(transport, "GET", server.url())
    assert body == b"ok"
    assert f"host: [::1]:{server.port}\r\n".encode() in server.peers[0].requests[0].lower()
