"""Replicas among themselves, on a real Valkey."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pytest

from router.clock import SystemClock
from router.domain.replica import Beat, Outcomes, Replica, Scrape
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.keys import Keys
from router.state.peers import Peers
from router.state.runtime import end_task
from router.state.store_time import StoreTime

KEYS = Keys("peers")
WRONG_BY_S = 5.0


class WrongClock(SystemClock):
    """The machine's clocks, with the wall clock off by some seconds."""

    def __init__(self, off_s: float) -> None:
        self._off_s = off_s

    def time(self) -> float:
        return time.time() + self._off_s


@dataclass
class Node:
    """One replica: what it says, what it has heard, and its task."""

    peers: Peers
    store_time: StoreTime
    task: asyncio.Task[None] | None = None
    says: Beat = field(default_factory=lambda: Beat(replica=""))
    heard_last: tuple[Replica, ...] = ()
    heard_at: float = 0.0

    @property
    def sees(self) -> list[str]:
        return [replica.id for replica in self.peers.replicas]

    def beat(self) -> Beat:
        return self.says

    def heard(self, replicas: tuple[Replica, ...], now_monotonic: float) -> None:
        self.heard_last, self.heard_at = replicas, now_monotonic

    async def stop(self) -> None:
        if self.task is not None:
            await end_task(self.task)


class _Both:
    """Lets a node be made before its peers, which need it."""

    node: Node

    def beat(self) -> Beat:
        return self.node.beat()

    def heard(self, replicas: tuple[Replica, ...], now_monotonic: float) -> None:
        self.node.heard(replicas, now_monotonic)


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start(valkey: EmbeddedValkey) -> AsyncIterator[Start]:
    """Starts a replica that says what its node is told to say."""
    async with AsyncExitStack() as stack:

        async def one(name: str, *, off_s: float = 0.0) -> Node:
            client = StoreClient.connect(valkey.url)
            stack.push_async_callback(client.aclose)
            clock = WrongClock(off_s)
            store_time = StoreTime(clock)
            both = _Both()
            peers = Peers(
                client,
                namespace=KEYS.namespace,
                replica=name,
                source=both,
                sink=both,
                clock=clock,
                store_time=store_time,
            )
            both.node = node = Node(peers, store_time, says=Beat(replica=name))
            node.task = asyncio.create_task(peers.run())
            stack.push_async_callback(node.stop)
            return node

        yield one


async def until(condition: Callable[[], bool], *, limit_s: float = 3.0) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.002)
    return time.monotonic() - began


async def test_replicas_appear_say_and_vanish(start: Start, store_client: StoreClient) -> None:
    """Three see each other and what each says; one that ends without a goodbye is gone everywhere within a second."""
    nodes = [await start(f"r{n}") for n in range(3)]
    said = Beat(
        replica="r1",
        fleet_version=7,
        started_at=1.5,
        requests_in_flight=2,
        probes=9,
        in_flight={"a": 3},
        scraped={"a": Scrape(age_s=0.5, running=4.0, in_flight=3.0)},
        outcomes={"a": Outcomes(ok=8, failed=2, consecutive_failures=1, last_error="UPSTREAM_FAULT")},
    )
    nodes[1].says = said
    await until(lambda: all(node.sees == ["r0", "r1", "r2"] for node in nodes))
    await until(lambda: nodes[0].peers.replicas[1].beat == said)
    assert nodes[0].peers.count == 3
    assert all(replica.age_s < 0.5 for replica in nodes[0].peers.replicas)
    assert nodes[0].heard_last[1].beat == said

    await nodes[1].stop()
    gone_s = await until(lambda: nodes[0].sees == nodes[2].sees == ["r0", "r2"])
    assert 0.5 < gone_s < 1.0
    assert await store_client.call("HKEYS", KEYS.beats, what="look") in ([b"r0", b"r2"], [b"r2", b"r0"])


async def test_who_leaves_in_good_order_is_gone_at_once(start: Start) -> None:
    """A goodbye is heard with the next beat."""
    first, second = await start("r0"), await start("r1")
    await until(lambda: first.peers.count == 2)
    await second.stop()
    await second.peers.leave()
    assert await until(lambda: first.peers.count == 1) < 0.4


async def test_acknowledgements_are_waited_for_and_who_lacks_is_named(start: Start) -> None:
    """All three run version 5 soon after the last one says so; version 6 is missing on one when the time is over."""
    nodes = [await start(f"r{n}") for n in range(3)]
    await until(lambda: all(node.peers.count == 3 for node in nodes))

    def runs(node: Node, version: int) -> None:
        node.says = replace(node.says, fleet_version=version)
        node.peers.poke()

    waiting = asyncio.create_task(nodes[0].peers.wait_acknowledged(5, 2.0))
    for node in nodes:
        runs(node, 5)
    began = time.monotonic()
    assert await waiting == (("r0", "r1", "r2"), ())
    assert time.monotonic() - began < 0.1

    runs(nodes[0], 6)
    runs(nodes[1], 6)
    began = time.monotonic()
    assert await nodes[0].peers.wait_acknowledged(6, 0.3) == (("r0", "r1"), ("r2",))
    assert 0.25 < time.monotonic() - began < 0.6


async def test_a_replica_that_dies_is_not_waited_for(start: Start) -> None:
    """Who acknowledges nothing because it is dead stops being missing when it vanishes."""
    nodes = [await start(f"r{n}") for n in range(2)]
    await until(lambda: nodes[0].peers.count == 2)
    nodes[0].says = replace(nodes[0].says, fleet_version=9)
    await nodes[1].stop()
    assert await nodes[0].peers.wait_acknowledged(9, 2.0) == (("r0",), ())


async def test_while_the_store_stands_still_everybody_stays_and_grows_older(
    start: Start, valkey: EmbeddedValkey
) -> None:
    """A frozen server changes no count and no time; afterwards all is as before, within a second."""
    nodes = [await start("r0", off_s=WRONG_BY_S), await start("r1", off_s=-WRONG_BY_S)]
    await until(lambda: all(node.peers.count == 2 for node in nodes))
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        frozen_at = time.monotonic()
        await until(lambda: nodes[0].peers.counters.failed >= 2)
        assert [node.peers.count for node in nodes] == [2, 2]
        assert nodes[0].peers.replicas[1].age_s > 0.9
        assert all(abs(node.store_time.time() - time.time()) < 0.05 for node in nodes)
        heard_at = nodes[0].heard_at
        assert heard_at <= frozen_at + 0.1
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await until(lambda: nodes[0].heard_at > heard_at and nodes[0].peers.count == nodes[1].peers.count == 2)
    assert nodes[0].peers.counters.faults == 0


async def test_wrong_clocks_agree_on_the_time(start: Start) -> None:
    """Replicas whose clocks are five seconds off in both directions have the server's time to within 5 ms."""
    nodes = [await start("fast", off_s=WRONG_BY_S), await start("slow", off_s=-WRONG_BY_S)]
    await until(lambda: all(node.peers.counters.beats >= 5 for node in nodes))
    assert [node.store_time.time() - time.time() for node in nodes] == pytest.approx([0.0, 0.0], abs=0.005)
    assert [node.store_time.local_error_s for node in nodes] == pytest.approx([5.0, -5.0], abs=0.005)


async def test_what_is_orphaned_expires(start: Start, store_client: StoreClient) -> None:
    """Both keys have a time to live, which every beat renews."""
    node = await start("r0")
    await until(lambda: node.peers.counters.beats > 0)
    for key in (KEYS.beats, KEYS.replicas):
        assert 0 < await store_client.call("TTL", key, what="look") <= 10


async def test_a_beat_that_cannot_be_read_is_of_somebody_who_lives(start: Start, store_client: StoreClient) -> None:
    """A replica of another version counts, and acknowledges nothing; a beat from the future counts for nothing."""
    node = await start("r0")
    seconds, _ = await store_client.call("TIME", what="look")
    await store_client.call("HSET", KEYS.beats, "newer", b"\xc1", "ahead", b"\x80", what="write")
    now_ms, far_ms = int(seconds) * 1000 + 500, int(seconds) * 1000 + 60_000
    await store_client.call("ZADD", KEYS.replicas, now_ms, "newer", far_ms, "ahead", what="write")
    await until(lambda: "newer" in node.sees)
    assert node.peers.replicas[0].beat == Beat(replica="newer")
    assert node.peers.counters.unreadable > 0
    await until(lambda: node.sees == ["r0"])


@pytest.fixture
async def store_client(valkey: EmbeddedValkey) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(valkey.url)
    yield client
    await client.aclose()
