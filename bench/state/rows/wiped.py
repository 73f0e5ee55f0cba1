"""The store loses everything, or moves: no replica ever serves an empty fleet, and what was acknowledged is kept.

Method. Two replicas serve requests while operators write prices without pause (`bench.state.ledger`) and a witness
counts every replica's backends a hundred times a second. The store is wiped, killed without anything on disk, failed
over or moved, several times. At the end every acknowledged price must be on both replicas, and on a third one that
starts then and knows nothing but what the store tells it; and what callers were billed must be accounted all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from bench.state import accounting
from bench.state.lab import Lab
from bench.state.ledger import Ledger, Witness
from bench.state.row import Findings, Row
from bench.state.rows.outage import connected
from bench.state.site import Replicas, Site
from bench.state.traffic import Traffic
from router.state.keys import Keys
from simulation.stores import (
    start_cluster,
    start_primary_with_replicas_and_sentinels,
    start_standalone,
)

RATE = 40.0
BACKENDS = 8
BEFORE_S = 1.0
BETWEEN_S = 2.0
AGREE_LIMIT_S = 10.0
BY_SENTINEL_S = 15.0
CHEAP = 1.0

Fault = Callable[[], Awaitable[None]]
# The URL for the routers, and what is done to the store.
Kind = Callable[[], AbstractAsyncContextManager[tuple[str, Fault]]]


@asynccontextmanager
async def wiped() -> AsyncGenerator[tuple[str, Fault]]:
    async with start_standalone() as store:

        async def fault() -> None:
            await store.call("FLUSHALL")

        yield store.url, fault


@asynccontextmanager
async def killed_without_disk() -> AsyncGenerator[tuple[str, Fault]]:
    async with start_standalone() as store:

        async def fault() -> None:
            await store.kill()
            await store.start()

        yield store.url, fault


@asynccontextmanager
async def failed_over() -> AsyncGenerator[tuple[str, Fault]]:
    async with start_primary_with_replicas_and_sentinels() as stores:

        async def fault() -> None:
            old = await stores.primary()
            await old.kill()
            async with asyncio.timeout(BY_SENTINEL_S):
                while await stores.primary() is old:  # noqa: ASYNC110 - Sentinel tells no event
                    await asyncio.sleep(0.05)
            # It comes back empty, and Sentinel makes it follow.
            await old.start()

        yield stores.url, fault


@asynccontextmanager
async def slot_moved() -> AsyncGenerator[tuple[str, Fault]]:
    async with start_cluster() as cluster:
        slot = await cluster.slot_of(Keys("router").version)
        at_once = [False]

        async def fault() -> None:
            source = await cluster.owner(slot)
            target = next(node for node in cluster.primaries if node is not source)
            if at_once[0]:
                await cluster.move_slot_at_once(slot, source, target)
            else:
                await cluster.move_slot(slot, source, target, pause_s=0.02)
            at_once[0] = not at_once[0]

        yield cluster.url, fault


async def run(lab: Lab, findings: Findings, *, kind: Kind, faults: int) -> None:
    ledger, witness = Ledger(), Witness(BACKENDS)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        url, fault = await stack.enter_async_context(kind())
        site = Site.build(lab, upstream, prices=(CHEAP,) * BACKENDS)
        replicas = await stack.enter_async_context(Replicas(site, url))
        for name in ("a", "b"):
            await replicas.start(name)
        serving = replicas.all
        traffic = Traffic(serving, rate=RATE)
        async with traffic.running(), witness.watching(serving):
            async with ledger.writing(serving, [f"b-{n}" for n in range(BACKENDS)]):
                await asyncio.sleep(BEFORE_S)
                for n in range(faults):
                    lab.say(f"fault {n + 1} of {faults}")
                    await fault()
                    await asyncio.sleep(BETWEEN_S)
            await connected(replicas)
            missing = await _settle(ledger, replicas)
        late = await replicas.start("late")
        missing += await ledger.missing([late])
        findings.figure("faults", f"{faults}, {BETWEEN_S:g} s apart")
        findings.none("requests that failed", traffic.failed, of=traffic.sent)
        findings.none("looks at a fleet with a hole in it", witness.holes, of=witness.looks)
        findings.none("acknowledged price writes that are lost", missing)
        findings.holds(
            "writes were acknowledged", f"{ledger.acknowledged:,}", reached=ledger.acknowledged > 0, bound="> 0"
        )
        ledger.tell(findings)
        await accounting.check(findings, replicas["a"], traffic.bill)


async def _settle(ledger: Ledger, replicas: Replicas) -> list[str]:
    """What is missing when both replicas have had time to follow."""
    missing = await ledger.missing(replicas.all)
    try:
        async with asyncio.timeout(AGREE_LIMIT_S):
            while missing:
                await asyncio.sleep(0.1)
                missing = await ledger.missing(replicas.all)
    except TimeoutError:
        pass
    return missing


def _row(name: str, title: str, does: str, kind: Kind, *, full: int, quick: int) -> Row:
    async def measure(lab: Lab, findings: Findings) -> None:
        await run(lab, findings, kind=kind, faults=lab.pick(full, quick))

    return Row(name=name, title=title, does=does, run=measure)


ROWS = (
    _row("store-wiped", "Valkey wiped (FLUSHALL)", "wipes it under traffic and writes", wiped, full=20, quick=3),
    _row(
        "store-lost",
        "Valkey killed -9 with nothing on disk",
        "kills and restarts it empty under traffic and writes",
        killed_without_disk,
        full=20,
        quick=3,
    ),
    _row(
        "sentinel",
        "primary killed -9, failed over by Sentinel",
        "kills the primary under traffic and writes, again and again",
        failed_over,
        full=8,
        quick=2,
    ),
    _row(
        "cluster",
        "Cluster slot moved",
        "moves the slot of all keys between primaries, key by key and at once",
        slot_moved,
        full=20,
        quick=4,
    ),
)
