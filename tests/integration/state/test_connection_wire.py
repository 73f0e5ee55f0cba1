"""One server behind a bad wire, or gone and back: no call is held, and the first call afterwards is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.connection import StoreOptions
from router.state.lua import Script
from simulation.stores import StoreServer, start_standalone
from simulation.tcp_proxy import TcpProxy

KEY = "{router}:test"
BOUND_S = 0.3
# Scheduling of a busy machine; the bound itself is exact.
SLACK_S = 0.25


@pytest.fixture
async def server() -> AsyncIterator[StoreServer]:
    async with start_standalone(aof=True) as server:
        yield server


@pytest.fixture
async def proxy(server: StoreServer) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TcpProxy) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(proxy.url, timeout_s=BOUND_S)
    yield client
    await client.aclose()


async def fails_in_time(client: StoreClient, calls: int) -> str:
    """The message of the last of some calls that must all end at their bound."""
    message = ""
    for _ in range(calls):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as error:
            await client.call("GET", KEY, what="read")
        assert time.monotonic() - began < BOUND_S + SLACK_S
        message = error.value.message
    return message


async def test_late_answers_are_nobodys(client: StoreClient, proxy: TcpProxy) -> None:
    """Answers that come 2 s late end every call at its bound, and none of them is a later call's answer."""
    for n in range(5):
        await client.call("SET", f"{KEY}{n}", n, what="write")
    proxy.delay_s = 2.0
    assert "did not answer within 0.3 s" in await fails_in_time(client, 3)
    proxy.delay_s = 0.0
    for n in range(5):
        assert await client.call("GET", f"{KEY}{n}", what="read") == str(n).encode()


async def test_a_black_hole_costs_each_call_its_bound_and_no_more(client: StoreClient, proxy: TcpProxy) -> None:
    """Bytes that go nowhere hold no call, even more than the kernel takes; afterwards the wire is used again."""
    await asyncio.gather(*(client.call("SET", KEY, "before", what="write") for _ in range(8)))
    proxy.black_hole = True
    assert "did not answer within 0.3 s" in await fails_in_time(client, 2)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await client.call("SET", KEY, b"x" * 30_000_000, what="write much")
    assert time.monotonic() - began < BOUND_S + SLACK_S
    proxy.black_hole = False
    assert await client.call("GET", KEY, what="read") == b"before"


async def test_after_one_failure_no_old_connection_costs_another(client: StoreClient, proxy: TcpProxy) -> None:
    """When a call is cut off, the idle connections go too: they may be as dead."""
    await asyncio.gather(
        *(client.call("DEBUG", "SLEEP", "0.01", what="wait") for _ in range(4)), return_exceptions=True
    )
    proxy.black_hole = True
    await fails_in_time(client, 1)
    proxy.black_hole = False
    before = proxy.connections
    assert await client.call("PING", what="ping") == b"PONG"
    assert proxy.connections == before + 1


async def test_a_server_that_came_back_is_used_at_once(server: StoreServer) -> None:
    """Connections that died with the server cost no call: they are noticed before one is used."""
    client = StoreClient.connect(server.url, timeout_s=BOUND_S)
    await asyncio.gather(*(client.call("SET", KEY, "kept", what="write") for _ in range(8)))
    await server.kill()
    with pytest.raises(StoreUnavailable, match="ConnectionError"):
        await client.call("GET", KEY, what="read")
    await server.start()
    assert await asyncio.gather(*(client.call("GET", KEY, what="read") for _ in range(8))) == [b"kept"] * 8
    await server.kill()
    await server.start()
    assert await asyncio.gather(*(client.call("GET", KEY, what="read") for _ in range(8))) == [b"kept"] * 8
    await client.aclose()


async def test_users_log_in_by_reference(server: StoreServer) -> None:
    """An ACL user whose password is a reference may do what its rights say; wrong ones are named, never shown."""
    await server.call(
        "ACL", "SETUSER", "router", "on", ">hunter2", "~{router}:*", "+@read", "+@connection", "-@dangerous"
    )
    options = StoreOptions(username="router", password="env:PW")
    client = StoreClient.connect(server.url, options=options, env={"PW": "hunter2"})
    assert await client.call("GET", KEY, what="read") is None
    with pytest.raises(StoreUnavailable, match="refuses our credentials"):
        await client.call("SET", KEY, "x", what="write")
    await client.aclose()
    wrong = StoreClient.connect(server.url, options=options, env={"PW": "hunter3"})
    with pytest.raises(StoreUnavailable, match="read: the state store refuses our credentials") as error:
        await wrong.call("GET", KEY, what="read")
    assert "hunter" not in str(error.value)
    await wrong.aclose()


async def test_a_password_may_stand_in_the_url() -> None:
    """The password of the URL is used where no reference is configured."""
    async with start_standalone(password="hunter2") as server:
        client = StoreClient.connect(f"redis://:hunter2@{server.address}/1")
        assert await client.call("SET", KEY, "x", what="write") == b"OK"
        await client.aclose()
        assert b"db1:keys=1" in await server.call("INFO", "keyspace")


async def test_acknowledgement_is_asked_of_a_server_alone_too(server: StoreServer) -> None:
    """Who wants a replica and has none is told that the write is not safe."""
    script = Script("one", "return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
    client = StoreClient.connect(server.url, options=StoreOptions(acknowledge_replicas=1), timeout_s=BOUND_S)
    assert await client.run(script, [KEY], [], what="load") == 1
    with pytest.raises(StoreUnavailable, match="load: written, but not on 1 replicas: 0 have it"):
        await client.run(script, [KEY], [], what="load", replicated=True)
    await client.aclose()
