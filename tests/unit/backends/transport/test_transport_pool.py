"""Which connection is used, how long one is kept, and that none is leaked or used when it should not be."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import httpx
import pytest

from backends.http.transport import FastTransport
from tests.unit.backends.transport.conftest import Peer, StartUpstream, fetch, read

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MakeTransport = Callable[..., FastTransport]


async def answer_forever(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.write(OK)


async def test_the_last_used_connection_is_used_next(transport: FastTransport, upstream: StartUpstream) -> None:
    """The pool is last in, first out: sequential requests all ride on one of several idle connections."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.write(OK)

    server = await upstream(script)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(fetch(transport, "GET", server.url()))
        while sum(len(peer.requests) for peer in server.peers) < 3:
            await asyncio.sleep(0)
        release.set()
    for _ in range(5):
        await fetch(transport, "GET", server.url())
    assert sorted(len(peer.requests) for peer in server.peers) == [1, 1, 6]


async def test_origins_are_kept_apart(transport: FastTransport, upstream: StartUpstream) -> None:
    """A connection of one port never carries a request for another."""
    one, two = await upstream(answer_forever), await upstream(answer_forever)
    for server in (one, two, one, two):
        await fetch(transport, "GET", server.url())
    assert [len(server.peers) for server in (one, two)] == [1, 1]


async def test_an_idle_connection_the_server_closes_is_dropped_at_once(
    transport: FastTransport, upstream: StartUpstream
) -> None:
    """The server's close empties the pool without a request having to find out."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    async with asyncio.timeout(1):
        while transport._pool._hosts or transport._pool._sockets:
            await asyncio.sleep(0)


async def test_an_idle_connection_that_speaks_is_dropped(transport: FastTransport, upstream: StartUpstream) -> None:
    """Bytes that nobody asked for end the connection: the next answer could be for another question."""
    speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await speak.wait()
        await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    speak.set()
    await asyncio.wait_for(server.peers[0].gone.wait(), 1)
    assert not transport._pool._hosts


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_stale_connection_is_replaced_once(how: str, transport: FastTransport, upstream: StartUpstream) -> None:
    """A kept connection that ends before a byte of the response is retried on a fresh one, body and all."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if len(server.peers) == 1:
            await peer.write(OK)
            await peer.request()
            if how == "reset":
                peer.reset()
            return
        await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    _, body = await fetch(transport, "POST", server.url(), content=b"the question")
    assert body == b"ok"
    assert [len(peer.requests) for peer in server.peers] == [2, 1]
    assert server.peers[1].requests[0].endswith(b"the question")


async def test_it_is_retried_only_once(transport: FastTransport, upstream: StartUpstream) -> None:
    """When the fresh connection dies too, that is the answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if len(server.peers) == 1:
            await peer.write(OK)
            await peer.request()

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    with pytest.raises(httpx.RemoteProtocolError, match="without a response"):
        await fetch(transport, "GET", server.url())
    assert len(server.peers) == 2


async def test_no_retry_after_the_first_byte(transport: FastTransport, upstream: StartUpstream) -> None:
    """A kept connection that dies inside the head is an error: the request was being answered."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.request()
        await peer.write(b"HTTP/1.1 2")

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    with pytest.raises(httpx.RemoteProtocolError, match="inside the response head"):
        await fetch(transport, "GET", server.url())
    assert len(server.peers) == 1


async def test_no_retry_on_a_fresh_connection(transport: FastTransport, upstream: StartUpstream) -> None:
    """A first connection that is closed without an answer is an error at once."""

    async def script(peer: Peer) -> None:
        await peer.request()

    server = await upstream(script)
    with pytest.raises(httpx.RemoteProtocolError, match="without a response"):
        await fetch(transport, "GET", server.url())
    assert len(server.peers) == 1


async def test_idle_connections_are_bounded(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """Of many connections no more are kept than the bound."""
    transport = make_transport(max_idle_per_host=2)
    server = await upstream(answer_forever)
    await asyncio.gather(*(fetch(transport, "GET", server.url()) for _ in range(8)))
    (host,) = transport._pool._hosts.values()
    assert len(server.peers) > 2
    assert len(host.idle) == len(host.open) == 2


async def test_idle_connections_age_out(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """Connections that nobody uses are closed at their idle age, each at its own, without a request to notice it."""
    transport = make_transport(idle_age_s=0.05)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.disconnect()

    servers = [await upstream(script) for _ in range(2)]
    for server in servers:
        await fetch(transport, "GET", server.url())
        await asyncio.sleep(0.03)
    for server in servers:
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)
    assert not transport._pool._hosts
    assert transport._pool._sweeper is None


async def test_a_connection_past_its_age_is_not_used(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """A request that comes before the sweep does not ride on a connection that is too old."""
    transport = make_transport(idle_age_s=0.05)
    server = await upstream(answer_forever)
    await fetch(transport, "GET", server.url())
    (origin,) = transport._pool._hosts
    assert transport._pool.take_idle(origin, asyncio.get_running_loop().time() + 0.06) is None
    assert not transport._pool._hosts


async def test_closing_the_body_early_never_returns_the_connection(
    transport: FastTransport, upstream: StartUpstream
) -> None:
    """A connection with an unfinished response is not used again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(CHUNKED + b"2\r\nok\r\n")
        await peer.disconnect()

    server = await upstream(script)
    for _ in range(2):
        response = await transport.handle_async_request(httpx.Request("GET", server.url()))
        await response.aclose()
    assert len(server.peers) == 2


async def test_closing_a_body_that_is_all_here_keeps_the_connection(
    transport: FastTransport, upstream: StartUpstream
) -> None:
    """A response that is complete in memory frees its connection, read or not."""
    server = await upstream(answer_forever)
    for _ in range(3):
        response = await transport.handle_async_request(httpx.Request("GET", server.url()))
        await response.aclose()
    assert len(server.peers) == 1


async def test_aclose_closes_everything(transport: FastTransport, upstream: StartUpstream) -> None:
    """Idle, streaming and waiting connections are all closed, and readers get an error rather than an end."""

    async def script(peer: Peer) -> None:
        if b"/stream" in await peer.request():
            await peer.write(CHUNKED + b"2\r\nok\r\n")
        elif b"/idle" in peer.requests[0]:
            await peer.write(OK)
        await peer.disconnect()

    server = await upstream(script)
    waiting = asyncio.create_task(fetch(transport, "GET", server.url("/wait")))
    response = await transport.handle_async_request(httpx.Request("GET", server.url("/stream")))
    await fetch(transport, "GET", server.url("/idle"))
    while len(server.peers) < 3:
        await asyncio.sleep(0)
    await transport.aclose()
    assert not transport._pool._sockets
    for reading in (waiting, asyncio.create_task(read(response))):
        with pytest.raises(httpx.ReadError, match="closed here"):
            await reading
    async with asyncio.timeout(1):
        for peer in server.peers:
            await peer.gone.wait()


async def test_the_connection_limit_queues(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """At the limit, requests take turns on the same connections and all are answered."""
    transport = make_transport(max_connections_per_host=2)
    server = await upstream(answer_forever)
    answers = await asyncio.gather(*(fetch(transport, "GET", server.url()) for _ in range(20)))
    assert [body for _, body in answers] == [b"ok"] * 20
    assert len(server.peers) == 2


async def test_a_turn_passes_on_when_a_connection_dies(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """A closed connection makes room for whoever waits."""
    transport = make_transport(max_connections_per_host=1)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    server = await upstream(script)
    answers = await asyncio.gather(*(fetch(transport, "GET", server.url()) for _ in range(5)))
    assert [body for _, body in answers] == [b"ok"] * 5
    assert len(server.peers) == 5


async def test_waiting_for_a_turn_has_a_limit(make_transport: MakeTransport, upstream: StartUpstream) -> None:
    """PoolTimeout, after the pool timeout; whoever gave up holds no one else's turn."""
    transport = make_transport(max_connections_per_host=1)
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go.wait()
            await peer.write(OK)

    server = await upstream(script)
    first = asyncio.create_task(fetch(transport, "GET", server.url()))
    await server.arrived.wait()
    with pytest.raises(httpx.PoolTimeout, match="all 1 connections"):
        await fetch(transport, "GET", server.url(), extensions={"timeout": {"pool": 0.02}})
    cancelled = asyncio.create_task(fetch(transport, "GET", server.url()))
    last = asyncio.create_task(fetch(transport, "GET", server.url()))
    await asyncio.sleep(0)
    cancelled.cancel()
    go.set()
    assert [(await task)[1] for task in (first, last)] == [b"ok"] * 2
    assert len(server.peers) == 1


async def test_a_turn_given_to_a_cancelled_waiter_is_passed_on(
    make_transport: MakeTransport, upstream: StartUpstream
) -> None:
    """Cancelling a request in the very moment its turn comes loses no connection."""
    transport = make_transport(max_connections_per_host=1)
    server = await upstream(answer_forever)
    await fetch(transport, "GET", server.url())
    (host,) = transport._pool._hosts.values()
    held = transport._pool.take_idle(next(iter(transport._pool._hosts)), asyncio.get_running_loop().time())
    assert held is not None
    waiters = [asyncio.create_task(fetch(transport, "GET", server.url())) for _ in range(2)]
    while len(host.waiters) < 2:
        await asyncio.sleep(0)
    transport._pool.release(held)
    waiters[0].cancel()
    _, body = await asyncio.wait_for(waiters[1], 1)
    assert body == b"ok"
    assert len(server.peers) == 1


async def test_small_writes_are_not_held_back(transport: FastTransport, upstream: StartUpstream) -> None:
    """TCP_NODELAY is set on the socket."""
    server = await upstream(answer_forever)
    await fetch(transport, "GET", server.url())
    (connection,) = transport._pool._sockets
    assert connection._transport is not None
    descriptor = os.dup(connection._transport.get_extra_info("socket").fileno())
    with socket.socket(fileno=descriptor) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_silent_upstream_is_not_stale(transport: FastTransport, upstream: StartUpstream) -> None:
    """A read timeout on a kept connection is not retried: the upstream may be at work on the request."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await peer.request()
        await peer.disconnect()

    server = await upstream(script)
    await fetch(transport, "GET", server.url())
    with pytest.raises(httpx.ReadTimeout):
        await fetch(transport, "GET", server.url(), extensions={"timeout": {"read": 0.02}})
    assert len(server.peers) == 1
