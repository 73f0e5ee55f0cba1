"""What this replica does together with the others: beats, leases, probes, tenants' slices, accounting, feeds of prices.

Each is a background task over the store. None of them is waited for by a request, and each goes on by itself while the
store is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from backends import auth
from router.app.core import Core
from router.clock import Clock
from router.dispatch.collector import Collector
from router.feeds.build import build_feeds
from router.feeds.runner import FeedRunner
from router.metering.meter import Meter, new_incarnation
from router.metering.sync import KEEP_S, UsageSync
from router.settings import Settings
from router.state.connection import store_identity
from router.state.feed_board import FeedBoard
from router.state.keys import USAGE_S, Keys
from router.state.leases import Leases
from router.state.peers import Peers
from router.state.runtime import State, end_task
from router.state.slices import SliceSync, ValkeySlices
from router.state.store_time import StoreTime
from router.state.usage import UsageStore

EXPIRE_PICKS_EVERY_S = 1.0
# Of shards: a feed is read by whoever holds the lease that a backend of this name would have.
FEED_LEASE = "feed:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """`tasks` run for ever: one that ends is a fault."""

    peers: Peers
    leases: Leases
    meter: Meter
    usage: UsageSync
    usage_store: UsageStore
    feeds: FeedRunner
    tasks: tuple[asyncio.Task[None], ...]


def open_meter(settings: Settings, clock: Clock) -> Meter:
    """What counts usage, with its journal below the state directory where there is one."""
    router = settings.router
    directory = None
    if router.state_dir is not None:
        directory = Path(router.state_dir) / store_identity(router.redis_url, router.namespace) / "usage"
    return Meter(directory, new_incarnation(router.replica_id, clock), clock)


@asynccontextmanager
async def join(
    settings: Settings,
    core: Core,
    state: State,
    *,
    meter: Meter,
    clock: Clock,
    store_time: StoreTime,
    control: httpx.AsyncClient,
    env: Mapping[str, str],
) -> AsyncGenerator[Shared]:
    """Takes part until the block ends, and says goodbye.

    Args:
        settings: of this process.
        core: what the others are told of, and what uses what they say.
        state: the store, and the view of it.
        meter: what counts usage; handed in and closed at the end.
        clock: this machine's.
        store_time: the clock that all replicas share; it is set by the beats.
        control: for feeds.
        env: for references to secrets.
    """
    router, client = settings.router, state.client
    names = {"namespace": router.namespace, "replica": router.replica_id}
    peers = Peers(client, **names, source=core.loads, sink=core.loads, clock=clock, store_time=store_time)
    leases = Leases(client, **names, clock=clock)
    usage_store = UsageStore(client, Keys(router.namespace))
    # A store of our own starts empty: all that is still shown has to be handed in again.
    keep_s = float(USAGE_S) if state.embedded is not None else KEEP_S
    usage = UsageSync(meter, usage_store, store_time, keep_s=keep_s)
    feeds = FeedRunner(
        build_feeds(
            settings.feeds,
            client=control,
            clock=store_time,
            secret=lambda reference: auth.resolve(reference, env),
            # Asked anew each time: another snapshot has other backends.
            backends=lambda: tuple(state.view.snapshot.backends.values()),
        ),
        store=state.store,
        view=state.view,
        board=FeedBoard(client, namespace=router.namespace),
        mine=lambda name: leases.fence(f"{FEED_LEASE}{name}") is not None,
        clock=store_time,
        metrics=core.metrics.feeds,
        replica=router.replica_id,
    )
    collector = Collector(
        fleet=core.fleet,
        store=state.store,
        view=state.view,
        metrics=core.metrics,
        clock=store_time,
        replica=router.replica_id,
        leases=leases,
        loads=core.loads,
        forget=core.traffic.forget,
        tick=core.feedback.tick,
    )
    slices = SliceSync(core.tenants, ValkeySlices(client, **names), clock=clock)
    # Others wait for this replica to say that it runs a new version.
    state.view.on_change(lambda _: peers.poke())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(usage.stop)
        stack.push_async_callback(peers.leave)
        stack.push_async_callback(leases.release)
        running = {
            "beats": peers.run(),
            "leases": leases.run(),
            "collector": collector.run(),
            "slices": slices.run(),
            "usage": usage.run(),
            "feeds": feeds.run(),
            "picks": _expire_picks(core),
        }
        if core.decisions is not None:
            # Closed after everything that may still record.
            stack.push_async_callback(core.decisions.close)
            running["decisions"] = core.decisions.run()
        tasks = tuple(asyncio.create_task(work, name=name) for name, work in running.items())
        for task in tasks:
            stack.push_async_callback(end_task, task)
        yield Shared(
            peers=peers,
            leases=leases,
            meter=meter,
            usage=usage,
            usage_store=usage_store,
            feeds=feeds,
            tasks=tasks,
        )


async def _expire_picks(core: Core) -> None:
    while True:
        await asyncio.sleep(EXPIRE_PICKS_EVERY_S)
        core.director.expire_picks()
