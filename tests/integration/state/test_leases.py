"""Who probes what, on a real Valkey."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from router.clock import SystemClock
from router.domain.replica import Beat, Replica
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.keys import Fence, Keys
from router.state.leases import SHARDS, Leases, shard_of
from router.state.peers import Peers
from router.state.runtime import end_task
from router.state.store_time import StoreTime

KEYS = Keys("leases")
BACKENDS = [f"backend-{n}" for n in range(1_000)]


class WrongClock(SystemClock):
    """The machine's clocks, with the wall clock off by some seconds."""

    def __init__(self, off_s: float) -> None:
        self._off_s = off_s

    def time(self) -> float:
        return time.time() + self._off_s


class Quiet:
    """Has nothing to say but that it lives."""

    def __init__(self, replica: str) -> None:
        self._replica = replica

    def beat(self) -> Beat:
        return Beat(replica=self._replica)

    def heard(self, replicas: tuple[Replica, ...], now_monotonic: float) -> None:
        """Needs nothing of it."""


@dataclass
class Node:
    leases: Leases
    peers: Peers
    tasks: list[asyncio.Task[None]]

    async def die(self) -> None:
        """As killed: without a goodbye."""
        for task in self.tasks:
            await end_task(task)

    def held(self) -> dict[str, Fence]:
        return {name: fence for name in BACKENDS if (fence := self.leases.fence(name)) is not None}


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def client(valkey: EmbeddedValkey) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
async def start(valkey: EmbeddedValkey) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def one(name: str, *, off_s: float = 0.0) -> Node:
            client = StoreClient.connect(valkey.url)
            stack.push_async_callback(client.aclose)
            clock, quiet = WrongClock(off_s), Quiet(name)
            peers = Peers(
                client,
                namespace=KEYS.namespace,
                replica=name,
                source=quiet,
                sink=quiet,
                clock=clock,
                store_time=StoreTime(clock),
            )
            leases = Leases(client, namespace=KEYS.namespace, replica=name, clock=clock)
            node = Node(leases, peers, [asyncio.create_task(peers.run()), asyncio.create_task(leases.run())])
            stack.push_async_callback(node.die)
            return node

        yield one


async def until(condition: Callable[[], bool], *, limit_s: float = 4.0) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


def spread(nodes: list[Node]) -> list[int]:
    return [node.leases.count for node in nodes]


def is_fair(nodes: list[Node]) -> bool:
    return sum(spread(nodes)) == SHARDS and max(spread(nodes)) <= math.ceil(SHARDS / len(nodes))


async def test_the_first_has_all_and_the_next_get_their_share(start: Start) -> None:
    """128 shards over one, two and three replicas: each has at most its fair share, and each backend one owner."""
    nodes = [await start("r0")]
    await until(lambda: spread(nodes) == [SHARDS])
    nodes += [await start("r1"), await start("r2")]
    took_s = await until(lambda: is_fair(nodes))
    assert took_s < 2.0
    owners = [node.held() for node in nodes]
    assert sorted(name for held in owners for name in held) == sorted(BACKENDS)
    assert all(fence.shard == shard_of(name) for held in owners for name, fence in held.items())


async def test_a_dead_owner_is_replaced_within_three_seconds(start: Start) -> None:
    """After kill -9 its shards go to the living, with greater tokens than it had; nobody else's change."""
    nodes = [await start(f"r{n}") for n in range(3)]
    await until(lambda: is_fair(nodes))
    dead, kept = nodes[0].held(), nodes[1].held()
    await nodes[0].die()
    took_s = await until(lambda: is_fair(nodes[1:]))
    assert took_s < 3.0
    now = nodes[1].held() | nodes[2].held()
    assert all(now[name].token > fence.token and now[name].owner != "r0" for name, fence in dead.items())
    assert all(now[name] == fence for name, fence in kept.items())
    assert nodes[0].leases.current is False


async def test_who_stops_in_good_order_hands_over_at_once(start: Start) -> None:
    """Released shards need not expire."""
    nodes = [await start(f"r{n}") for n in range(2)]
    await until(lambda: is_fair(nodes))
    await nodes[0].die()
    await nodes[0].leases.release()
    await nodes[0].peers.leave()
    assert (nodes[0].leases.current, nodes[0].leases.count) == (False, 0)
    assert await until(lambda: spread(nodes[1:]) == [SHARDS]) < 0.8


async def test_wrong_clocks_lose_no_lease(start: Start) -> None:
    """Replicas whose clocks are five seconds off in both directions keep each its own for three times the term."""
    nodes = [await start("fast", off_s=5.0), await start("right"), await start("slow", off_s=-5.0)]
    await until(lambda: is_fair(nodes))
    before = [node.held() for node in nodes]
    ends_at = time.monotonic() + 6.0
    while time.monotonic() < ends_at:
        assert all(node.leases.current for node in nodes)
        await asyncio.sleep(0.05)
    assert [node.held() for node in nodes] == before


async def test_an_owner_that_cannot_renew_stops_believing_before_the_server_does(
    start: Start, valkey: EmbeddedValkey, client: StoreClient
) -> None:
    """Frozen server: the lease is void here at most 1.7 s after the last renewal was sent, then everybody probes."""
    node = await start("r0")
    await until(lambda: node.leases.count == SHARDS)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        took_s = await until(lambda: not node.leases.current)
        assert 1.0 < took_s < 1.75
        assert node.leases.fence("a") is None
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    lease = (await client.call("HGET", KEYS.leases, 0, what="look")).decode()
    seconds, micros = await client.call("TIME", what="look")
    assert int(lease.rpartition(":")[2]) >= int(seconds) * 1000 + int(micros) // 1000 - 4_000
    await until(lambda: node.leases.current)


async def test_tokens_never_repeat(start: Start, client: StoreClient) -> None:
    """Not after every lease is gone, and not even when the server loses its counter too."""
    tokens = set[int]()
    for round_ in range(3):
        node = await start("r0")
        await until(lambda: node.leases.count == SHARDS)  # noqa: B023 - awaited in this round
        got = {fence.token for fence in node.leases._held.values()}
        assert len(got) == SHARDS
        assert not tokens or min(got) > max(tokens)
        tokens |= got
        await node.die()
        await node.leases.release()
        if round_ == 1:
            await client.call("FLUSHALL", what="lose everything")


async def test_the_format_is_what_the_fence_is_compared_with(start: Start, client: StoreClient) -> None:
    """TOKEN:OWNER:EXPIRES_MS, also for a name with colons; the key has a time to live and the counter has none."""
    node = await start("host:1")
    await until(lambda: node.leases.count == SHARDS)
    fence = node.leases.fence("a")
    assert fence is not None
    lease = (await client.call("HGET", KEYS.leases, fence.shard, what="look")).decode()
    assert lease.startswith(f"{fence.token}:host:1:")
    assert await client.call("HLEN", KEYS.leases, what="look") == SHARDS
    assert 0 < await client.call("TTL", KEYS.leases, what="look") <= 10
    assert await client.call("TTL", KEYS.lease_token, what="look") == -1
