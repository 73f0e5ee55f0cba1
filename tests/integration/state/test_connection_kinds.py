"""What every kind of store keeps to alike: a server alone, a primary under Sentinel, a cluster; on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio

from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.lua import Script
from router.state.node import MAX_CONNECTIONS
from simulation.stores import (
    StoreServer,
    start_cluster,
    start_primary_with_replicas_and_sentinels,
    start_standalone,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "{router}:test"
STREAM = "{router}:stream"
# Scheduling of a busy machine; the bound itself is exact.
SLACK_S = 0.25


def script(text: str) -> Script:
    return Script("test", text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ECHO = script("redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]")


@dataclass(frozen=True)
class Store:
    """A running store, and the server that answers for KEY."""

    url: str
    serving: Callable[[], Awaitable[StoreServer]]


@contextlib.asynccontextmanager
async def start(kind: str) -> AsyncGenerator[Store]:
    if kind == "alone":
        async with start_standalone() as server:

            async def itself() -> StoreServer:
                return server

            yield Store(server.url, itself)
    elif kind == "sentinel":
        # A freeze of these tests is no reason to fail over.
        async with start_primary_with_replicas_and_sentinels(replicas=1, sentinels=3, down_after_ms=20_000) as watched:
            yield Store(watched.url, watched.primary)
    else:
        async with start_cluster(3, node_timeout_ms=20_000) as cluster:
            slot = await cluster.slot_of(KEY)

            async def owner() -> StoreServer:
                return await cluster.owner(slot)

            yield Store(cluster.url, owner)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["alone", "sentinel", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with start(request.param) as store:
        yield store


@pytest_asyncio.fixture(loop_scope="module")
async def client(store: Store) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(store.url, timeout_s=2.0)
    yield client
    await client.aclose()


async def test_scripts_and_commands_are_answered(store: Store, client: StoreClient) -> None:
    """A script that the server does not know is sent whole, commands find their server, with and without a key."""
    server = await store.serving()
    for value in ("first", "second"):
        await server.call("SCRIPT", "FLUSH")
        assert await client.run(ECHO, [KEY], [value], what="write") == value.encode()
        assert await client.call("GET", KEY, what="read") == value.encode()
    assert await client.call("PING", what="ping") == b"PONG"
    assert await client.call("EXISTS", "{router}:nothing", what="look") == 0
    assert await client.call("OBJECT", "REFCOUNT", KEY, what="look") == 1


async def test_a_blocked_reader_gets_what_comes(client: StoreClient) -> None:
    """XREAD with BLOCK answers when something is added, and with None when its own time is over."""
    await client.call("DEL", STREAM, what="clear")
    read = ("XREAD", "COUNT", 10, "BLOCK", 1500, "STREAMS", STREAM, "0")
    reading = asyncio.create_task(client.call(*read, what="follow", timeout_s=3.0))
    await asyncio.sleep(0.05)
    await client.call("XADD", STREAM, "1-0", "field", "value", what="add")
    assert await reading == [[STREAM.encode(), [[b"1-0", [b"field", b"value"]]]]]
    none = await client.call("XREAD", "BLOCK", 20, "STREAMS", STREAM, "$", what="follow")
    assert none is None


async def test_an_error_of_the_server_is_not_the_connections_fault(client: StoreClient) -> None:
    """A refused command is StoreUnavailable in the server's words, and the next call is answered."""
    with pytest.raises(StoreUnavailable, match="do something odd: ResponseError: unknown command"):
        await client.call("NOSUCH", KEY, what="do something odd")
    assert await client.run(ECHO, [KEY], ["x"], what="write") == b"x"


async def test_a_frozen_server_holds_no_call_and_spoils_no_answer(store: Store, client: StoreClient) -> None:
    """Calls of a frozen server end at their bound; when it goes on, each later call gets its own answer."""
    for n in range(8):
        await client.run(ECHO, [KEY], [n], what="warm up")
    server = await store.serving()
    server.freeze()
    try:
        for _ in range(3):
            began = time.monotonic()
            calls = [client.run(ECHO, [KEY], [f"late-{n}"], what="write", timeout_s=0.3) for n in range(40)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began < 0.3 + SLACK_S
            assert {type(end) for end in ended} == {StoreUnavailable}
    finally:
        server.thaw()
    for n in range(20):
        answers = await asyncio.gather(*(client.run(ECHO, [KEY], [f"{n}-{k}"], what="write") for k in range(20)))
        assert answers == [f"{n}-{k}".encode() for k in range(20)]


# asyncio of 3.11 drops a socket whose connecting is cut off in the moment of success; it is closed as it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_calls_that_are_cut_off_anywhere_spoil_no_answer(client: StoreClient) -> None:
    """Whatever a call was doing when its time was over, no other call takes its answer."""
    rng = random.Random(7)
    answered = 0
    together = 50

    async def call(n: int, timeout_s: float) -> None:
        nonlocal answered
        try:
            answer = await client.run(ECHO, [KEY], [n], what="write", timeout_s=timeout_s)
        except StoreUnavailable:
            return
        answered += 1
        assert answer == str(n).encode()

    for first in range(0, 3000, 2 * together):
        # As long as they take on this machine at this moment, so that the next are cut off anywhere in it.
        began = time.monotonic()
        await asyncio.gather(*(call(first + k, 5.0) for k in range(together)))
        whole_s = time.monotonic() - began
        await asyncio.gather(*(call(first + together + k, whole_s * rng.random() ** 2) for k in range(together)))
    assert 1600 < answered < 2900


async def test_connections_are_bounded(store: Store, client: StoreClient) -> None:
    """Two hundred calls at once take turns on a bounded number of connections."""
    server = await store.serving()
    await asyncio.gather(*(client.run(ECHO, [KEY], [n], what="write") for n in range(200)))
    listed = (await server.call("CLIENT", "LIST", "TYPE", "normal")).decode()
    from_us = [line for line in listed.splitlines() if "cmd=evalsha" in line or "cmd=eval" in line]
    assert 0 < len(from_us) <= MAX_CONNECTIONS


async def test_a_client_that_is_closed_leaves_no_connection(store: Store) -> None:
    """The server has as many clients after a client came and went as before."""
    server = await store.serving()

    async def count() -> int:
        return len((await server.call("CLIENT", "LIST", "TYPE", "normal")).splitlines())

    before = await count()
    client = StoreClient.connect(store.url)
    await asyncio.gather(*(client.run(ECHO, [KEY], [n], what="write") for n in range(20)))
    assert await count() > before
    await client.aclose()
    async with asyncio.timeout(2):
        while await count() > before:
            await asyncio.sleep(0.01)
