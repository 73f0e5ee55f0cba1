"""Failovers under real Sentinels: the client follows by itself, and what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.connection import StoreOptions
from router.state.lua import Script
from simulation.stores import SentinelSet, StoreServer, start_primary_with_replicas_and_sentinels

_log = logging.getLogger(__name__)

LIST = "{router}:list"
_TEXT = "redis.call('RPUSH', KEYS[1], ARGV[1]) return ARGV[1]"
PUSH = Script("push", _TEXT, hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest())
FOUND_S = 2.0
# Servers look once a second for a primary to follow, and Sentinels once a second for whether it is one.
ACKNOWLEDGED_S = 4.0
LIMIT_S = 15.0


@pytest.fixture
async def watched() -> AsyncIterator[SentinelSet]:
    async with start_primary_with_replicas_and_sentinels() as watched:
        yield watched


@pytest.fixture
async def client(watched: SentinelSet) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(watched.url)
    yield client
    await client.aclose()


@dataclass
class Traffic:
    """Writes one after the other, acknowledged by a replica, until it is cancelled."""

    client: StoreClient
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                await self.client.run(PUSH, [LIST], [number], what="write", replicated=True)
                self.acknowledged.append((time.monotonic(), number))
            except StoreUnavailable as error:
                self.refused.append(error.message)
            await asyncio.sleep(0.01)

    def first_after(self, moment: float) -> float | None:
        return next((at for at, _ in self.acknowledged if at > moment), None)


async def promotion(watched: SentinelSet, old: StoreServer) -> tuple[StoreServer, float]:
    """The server that becomes primary in the place of another, and when."""
    others = [server for server in watched.servers if server is not old]
    async with asyncio.timeout(LIMIT_S):
        while True:
            for server in others:
                if (await server.call("ROLE"))[0] == b"master":
                    return server, time.monotonic()
            await asyncio.sleep(0.01)


async def answers(client: StoreClient, server: StoreServer) -> float:
    """When the client's calls are answered by that server."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(StoreUnavailable):
                if await client.call("CONFIG", "GET", "port", what="look") == [b"port", str(server.port).encode()]:
                    return time.monotonic()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("fault", ["killed", "frozen", "switched"])
async def test_a_failover_is_followed_and_loses_nothing_acknowledged(
    watched: SentinelSet, client: StoreClient, fault: str
) -> None:
    """Within two seconds of a promotion calls go to the new primary, and every write that was acknowledged is there."""
    traffic = Traffic(client)
    writing = asyncio.create_task(traffic.run())
    async with asyncio.timeout(LIMIT_S):
        while len(traffic.acknowledged) < 20:
            await asyncio.sleep(0.01)
    old = await watched.primary()
    if fault == "killed":
        await old.kill()
    elif fault == "frozen":
        old.freeze()
    else:
        await watched.fail_over()
    new, promoted = await promotion(watched, old)
    found = await answers(client, new)
    async with asyncio.timeout(LIMIT_S):
        while (good := traffic.first_after(found)) is None:
            await asyncio.sleep(0.01)
    if fault == "frozen":
        # It goes on as if it were the primary still, until a Sentinel tells it: nothing is written there.
        old.thaw()
        await asyncio.sleep(1.0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    _log.info(
        "%s: found %.2f s and first acknowledged %.2f s after promotion", fault, found - promoted, good - promoted
    )
    assert found - promoted < FOUND_S
    assert good - promoted < ACKNOWLEDGED_S
    held = {int(number) for number in await new.call("LRANGE", LIST, 0, -1)}
    assert {number for _, number in traffic.acknowledged} <= held


async def test_a_demoted_primary_is_left(watched: SentinelSet, client: StoreClient) -> None:
    """READONLY is StoreUnavailable, and the next calls find the primary though no connection broke."""
    await client.run(PUSH, [LIST], [1], what="write")
    old = await watched.primary()
    other = next(server for server in watched.servers if server is not old)
    # By hand, so that no Sentinel cuts the connections.
    await other.call("REPLICAOF", "NO", "ONE")
    await old.call("REPLICAOF", "127.0.0.1", other.port)
    with pytest.raises(StoreUnavailable, match="write: ReadOnlyError"):
        await client.run(PUSH, [LIST], [2], what="write")
    await old.call("REPLICAOF", "NO", "ONE")
    assert await client.run(PUSH, [LIST], [3], what="write") == b"3"


async def test_a_write_without_its_replicas_is_not_acknowledged(watched: SentinelSet, client: StoreClient) -> None:
    """Frozen replicas fail a replicated write within its bound, saying why; one that is not replicated goes on."""
    assert await client.run(PUSH, [LIST], [1], what="write", replicated=True) == b"1"
    both = StoreClient.connect(watched.url, options=StoreOptions(acknowledge_replicas=2))
    assert await both.run(PUSH, [LIST], [2], what="write", replicated=True) == b"2"
    replicas = await watched.replicas()
    replicas[0].freeze()
    assert await client.run(PUSH, [LIST], [3], what="write", replicated=True) == b"3"
    with pytest.raises(StoreUnavailable, match="write: written, but not on 2 replicas: 1 have it"):
        await both.run(PUSH, [LIST], [4], what="write", replicated=True)
    replicas[1].freeze()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="write: written, but not on 1 replicas: 0 have it"):
        await client.run(PUSH, [LIST], [5], what="write", replicated=True)
    assert time.monotonic() - began < client.timeout_s
    assert await client.run(PUSH, [LIST], [6], what="write") == b"6"
    await both.aclose()


async def test_one_sentinel_is_enough(watched: SentinelSet) -> None:
    """A frozen and a dead Sentinel delay the first call by little; without any, the message names them."""
    watched.sentinels[0].freeze()
    await watched.sentinels[1].kill()
    client = StoreClient.connect(watched.url)
    began = time.monotonic()
    assert await client.run(PUSH, [LIST], [1], what="write") == b"1"
    assert time.monotonic() - began < 0.4
    await client.aclose()
    await watched.sentinels[2].kill()
    client = StoreClient.connect(watched.url, timeout_s=0.3)
    with pytest.raises(StoreUnavailable):
        await client.run(PUSH, [LIST], [1], what="write")
    await client.aclose()


async def test_an_unknown_service_is_named(watched: SentinelSet) -> None:
    """Sentinels that do not know the service are a clear error."""
    client = StoreClient.connect(watched.url.replace("/fleet", "/other"))
    with pytest.raises(StoreUnavailable, match=r"write: .*master"):
        await client.run(PUSH, [LIST], [1], what="write")
    await client.aclose()


async def test_servers_and_sentinels_have_users_of_their_own() -> None:
    """The servers' password and the Sentinels' are configured apart; wrong ones are told from a missing primary."""
    async with start_primary_with_replicas_and_sentinels(replicas=1, sentinels=1, password="hunter2") as watched:
        await watched.sentinels[0].call("ACL", "SETUSER", "watcher", "on", ">hunter3", "+@all", "allchannels")
        await watched.sentinels[0].call("ACL", "SETUSER", "default", "resetpass", ">hunter4")
        options = StoreOptions(password="env:PW", sentinel_username="watcher", sentinel_password="env:SPW")
        env = {"PW": "hunter2", "SPW": "hunter3"}
        client = StoreClient.connect(watched.url, options=options, env=env)
        assert await client.run(PUSH, [LIST], [1], what="write", replicated=True) == b"1"
        await client.aclose()
        for wrong in ({"PW": "x", "SPW": "hunter3"}, {"PW": "hunter2", "SPW": "x"}):
            client = StoreClient.connect(watched.url, options=options, env=wrong)
            with pytest.raises(StoreUnavailable, match="refuses our credentials"):
                await client.run(PUSH, [LIST], [1], what="write")
            await client.aclose()
