"""A real cluster whose slots move and whose nodes die: calls follow, and what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import pytest

from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.connection import StoreOptions
from router.state.lua import Script
from simulation.stores import StoreCluster, StoreServer, start_cluster, start_standalone

_log = logging.getLogger(__name__)

LIST, COUNT, NOTHING = "{router}:list", "{router}:count", "{router}:never-written"
# Several keys, one of which does not exist: what a slot on its way answers TRYAGAIN to.
_TEXT = "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('INCR', KEYS[2]) redis.call('EXISTS', KEYS[3]) return ARGV[1]"
PUSH = Script("push", _TEXT, hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest())
KEYS = (LIST, COUNT, NOTHING)
LIMIT_S = 15.0


@pytest.fixture
async def cluster() -> AsyncIterator[StoreCluster]:
    async with start_cluster(3) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: StoreCluster) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(cluster.url)
    yield client
    await client.aclose()


@dataclass
class Traffic:
    """Writers that write one after the other."""

    client: StoreClient
    replicated: bool = False
    acknowledged: set[int] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    last_at: float = 0.0
    worst_gap_s: float = 0.0

    @contextlib.asynccontextmanager
    async def running(self, writers: int = 4) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self._run(writer * 1_000_000)) for writer in range(writers)]
        try:
            async with asyncio.timeout(LIMIT_S):
                while len(self.acknowledged) < 100:
                    await asyncio.sleep(0.01)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, number: int) -> None:
        while True:
            number += 1
            try:
                await self.client.run(PUSH, KEYS, [number], what="write", replicated=self.replicated)
            except StoreUnavailable as error:
                self.refused.append(error.message)
            else:
                self.acknowledged.add(number)
                now = time.monotonic()
                self.worst_gap_s = max(self.worst_gap_s, now - (self.last_at or now))
                self.last_at = now
            await asyncio.sleep(0.002)


async def other_than(cluster: StoreCluster, server: StoreServer) -> StoreServer:
    return next(node for node in cluster.primaries if node is not server)


async def pushed(client: StoreClient) -> set[int]:
    return {int(number) for number in await client.call("LRANGE", LIST, 0, -1, what="read")}


@pytest.mark.parametrize("way", ["key by key", "at once"])
async def test_a_slot_that_moves_under_traffic_loses_nothing(
    cluster: StoreCluster, client: StoreClient, way: str
) -> None:
    """Redirections are followed within the bound of each call: no write fails and none is lost, there and back."""
    slot = await cluster.slot_of(LIST)
    home = await cluster.owner(slot)
    away = await other_than(cluster, home)
    traffic = Traffic(client)
    async with traffic.running():
        for source, target in ((home, away), (away, home)):
            if way == "key by key":
                await cluster.move_slot(slot, source, target, pause_s=0.1)
            else:
                await cluster.move_slot_at_once(slot, source, target)
            before = len(traffic.acknowledged)
            async with asyncio.timeout(LIMIT_S):
                while len(traffic.acknowledged) < before + 50:
                    await asyncio.sleep(0.01)
    _log.info(
        "%s: %d writes, %d refused, %.2f s without one at worst",
        way,
        len(traffic.acknowledged),
        len(traffic.refused),
        traffic.worst_gap_s,
    )
    assert not traffic.refused
    assert traffic.acknowledged <= await pushed(client)
    assert await client.call("GET", COUNT, what="read") == str(len(await pushed(client))).encode()


async def test_a_slot_that_stays_on_its_way_holds_no_call(cluster: StoreCluster, client: StoreClient) -> None:
    """While the keys of a slot are at two nodes, calls end at their bound; calls of one key are answered."""
    slot = await cluster.slot_of(LIST)
    home = await cluster.owner(slot)
    away = await other_than(cluster, home)
    await client.run(PUSH, KEYS, [1], what="write")
    moving = asyncio.create_task(cluster.move_slot(slot, home, away, pause_s=1.5))
    await asyncio.sleep(0.2)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"write: the state store did not answer within 0\.2 s"):
            await client.run(PUSH, KEYS, [2], what="write", timeout_s=0.2)
        assert time.monotonic() - began < 0.45
    assert await client.call("GET", COUNT, what="read") == b"1"
    assert await client.call("EXISTS", NOTHING, what="read") == 0
    await moving
    assert await client.run(PUSH, KEYS, [3], what="write") == b"3"
    assert await pushed(client) == {1, 3}


async def test_a_blocked_reader_follows_its_slot(cluster: StoreCluster, client: StoreClient) -> None:
    """A reader that is blocked when the slot moves gets what is written at the new owner."""
    stream = "{router}:stream"
    slot = await cluster.slot_of(stream)
    home = await cluster.owner(slot)
    await client.call("XADD", stream, "1-0", "n", 1, what="add")
    read = ("XREAD", "BLOCK", 4000, "STREAMS", stream, "1-0")
    reading = asyncio.create_task(client.call(*read, what="follow", timeout_s=5.0))
    await asyncio.sleep(0.1)
    await cluster.move_slot(slot, home, await other_than(cluster, home))
    await client.call("XADD", stream, "2-0", "n", 2, what="add")
    assert await reading == [[stream.encode(), [[b"2-0", [b"n", b"2"]]]]]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_replica_takes_over(fault: str) -> None:
    """When the owner dies or hangs, calls go to the replica that took over, which has all that was acknowledged."""
    async with start_cluster(3, replicas=1, node_timeout_ms=500) as cluster:
        client = StoreClient.connect(cluster.url, options=StoreOptions(acknowledge_replicas=1))
        slot = await cluster.slot_of(LIST)
        old = await cluster.owner(slot)
        others = [node for node in cluster.nodes if node is not old]
        traffic = Traffic(client, replicated=True)
        promoted = good = 0.0
        async with traffic.running():
            if fault == "killed":
                await old.kill()
            else:
                old.freeze()
            async with asyncio.timeout(LIMIT_S):
                while not promoted:
                    owned = [(await n.call("CLUSTER", "SLOTS")) for n in others]
                    if all(any(f <= slot <= to and p[1] != old.port for f, to, p, *_ in slots) for slots in owned):
                        promoted = time.monotonic()
                # With nobody left who could acknowledge, only the others go on.
                while not good:
                    with contextlib.suppress(StoreUnavailable):
                        await client.run(PUSH, KEYS, [-1], what="write")
                        good = time.monotonic()
        _log.info("%s: first write %.2f s after all nodes knew of the new owner", fault, good - promoted)
        assert good - promoted < 1.0
        assert traffic.acknowledged <= await pushed(client)
        await client.aclose()


async def test_the_addresses_are_only_where_to_begin(cluster: StoreCluster) -> None:
    """A frozen address delays the first call by little, and one that died later is not missed."""
    slot = await cluster.slot_of(LIST)
    owner = await cluster.owner(slot)
    others = [node for node in cluster.nodes if node is not owner]
    others[0].freeze()
    client = StoreClient.connect(f"redis+cluster://{others[0].address},{others[1].address}")
    began = time.monotonic()
    assert await client.run(PUSH, KEYS, [1], what="write") == b"1"
    assert time.monotonic() - began < 0.4
    others[0].thaw()
    await client.aclose()

    client = StoreClient.connect(f"redis+cluster://{others[1].address}")
    assert await client.run(PUSH, KEYS, [2], what="write") == b"2"
    await others[1].kill()
    await owner.call("CLIENT", "KILL", "TYPE", "normal")
    assert await client.run(PUSH, KEYS, [3], what="write") == b"3"
    await client.aclose()


async def test_a_node_is_not_taken_for_a_server_alone(cluster: StoreCluster) -> None:
    """Who names a node of a cluster by redis:// is told how to name it."""
    slot = await cluster.slot_of(LIST)
    node = await other_than(cluster, await cluster.owner(slot))
    client = StoreClient.connect(node.url)
    with pytest.raises(StoreUnavailable, match=r"node of a cluster .* name it by redis\+cluster://"):
        await client.run(PUSH, KEYS, [1], what="write")
    await client.aclose()


async def test_a_server_alone_is_not_taken_for_a_cluster() -> None:
    """And the other way round, in the server's words."""
    async with start_standalone() as server:
        client = StoreClient.connect(f"redis+cluster://{server.address}")
        with pytest.raises(StoreUnavailable, match="cluster support disabled"):
            await client.run(PUSH, KEYS, [1], what="write")
        await client.aclose()
