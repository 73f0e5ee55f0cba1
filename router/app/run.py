"""One router process, from its settings to its exit status: start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog

from backends import registry
from backends.http.transport import FastTransport
from router.api.grpc_server import GrpcServers
from router.api.http_server import HttpServer
from router.app.core import build_core
from router.app.faces import build_faces
from router.app.shared import join, open_meter
from router.app.wires import wire_facts
from router.clock import Clock, SystemClock
from router.dispatch.collector import close_adapter
from router.dispatch.director import Director
from router.dispatch.fleet import Fleet
from router.domain.pricing import books
from router.settings import Settings, load
from router.state.connection import BadStoreUrlError
from router.state.embedded import EmbeddedStoreError
from router.state.runtime import open_state
from router.state.store_time import StoreTime
from router.state.view import FleetView
from router.state.writes import SeedDocuments
from router.telemetry import logs

log = structlog.get_logger(__name__)
# What may keep a router from starting, and what to do about it.
START_HINTS: dict[type[Exception], str] = {
    BadStoreUrlError: "Correct REDIS_URL, or redis_url in router.yaml.",
    EmbeddedStoreError: "Set REDIS_URL to a Valkey or Redis of your own.",
    OSError: "Free the port, name another, or allow --pick-free-ports.",
}
FIRST_LOAD_S = 15.0
DRAIN_LOOK_S = 0.02
CLOSE_S = 5.0  # a prediction is cancelled in it, an engine ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the router really listens."""

    host: str
    grpc: int
    admin: int
    http: int
    store: str


def load_settings(config_dir: Path, env: Mapping[str, str]) -> Settings:
    """The configuration of a directory, with wires and profiles held against the adapters that there are.

    Raises:
        ConfigError: with every problem of every file.
    """
    # A collector that walks the tree of a large file again and again takes longer than reading it.
    gc.disable()
    try:
        return load(config_dir, env, wires=wire_facts())
    finally:
        gc.enable()


async def run(
    settings: Settings,
    *,
    started: Callable[[Ports], None],
    env: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT, then drains and stops. Returns the exit status."""
    clock = clock or SystemClock()
    store_time = StoreTime(clock)
    router = settings.router
    logs.configure(level=router.log_level, as_json=router.log_json)
    for notice in settings.notices:
        log.warning("configuration", notice=notice)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    view = FleetView(clock)
    wires = wire_facts()
    meter = open_meter(settings, store_time)
    async with AsyncExitStack() as stack:
        transport = FastTransport()
        stack.push_async_callback(transport.aclose)
        control = await stack.enter_async_context(httpx.AsyncClient(follow_redirects=False))
        core = build_core(
            settings,
            view=view,
            build_adapter=lambda spec: registry.build(spec, transport=transport, control=control, env=env),
            clock=store_time,
            meter=meter,
            wires=wires,
        )
        stack.push_async_callback(_close_adapters, core.fleet)
        # Opened after the core listens to the view, so that it sees the first snapshot.
        state = await stack.enter_async_context(
            open_state(
                router.redis_url,
                view=view,
                clock=clock,
                replica_id=router.replica_id,
                namespace=router.namespace,
                seed=_seed(settings),
                options=router.redis_options,
                state_dir=Path(router.state_dir) if router.state_dir is not None else None,
            )
        )
        shared = await stack.enter_async_context(
            join(
                settings,
                core,
                state,
                meter=meter,
                clock=clock,
                store_time=store_time,
                control=control,
                env=env,
            )
        )
        await _first_load(view, stopping)
        faces = build_faces(settings, core, state, shared, wires=wires, clock=store_time, env=env)
        await faces.grpc.start()
        await faces.http.start()
        view.on_change(lambda _: faces.grpc.readiness_changed())
        started(
            Ports(
                host=router.host,
                grpc=faces.grpc.grpc_port,
                admin=faces.grpc.admin_port,
                http=faces.http.port,
                store="embedded" if router.redis_url is None else "redis",
            )
        )
        settle_garbage_collector()
        ended = asyncio.create_task(stopping.wait())
        await asyncio.wait([ended, *shared.tasks], return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in shared.tasks if task.done()]
        for task in failed:
            log.error("background_task_ended", task=task.get_name(), error=repr(task.exception()))
        ended.cancel()
        faces.admin.stop()
        await _drain(core.director, faces.grpc, faces.http, limit_s=router.drain_limit_s)
        return 1 if failed else 0


async def _close_adapters(fleet: Fleet) -> None:
    """Whatever adapters hold, children and calls of their own included, ends before what they share."""
    adapters = [*(member.adapter for member in fleet.members.values() if member.adapter is not None), *fleet.removed]
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await asyncio.gather(*map(close_adapter, adapters))


def _seed(settings: Settings) -> SeedDocuments:
    seed = settings.seed
    return SeedDocuments(
        backends=seed.backends,
        prices=books(seed.prices),
        tenants=seed.tenants,
        policies_yaml=seed.policies_yaml,
    )


def settle_garbage_collector() -> None:
    """Keeps the collector from walking the whole program again and again under load.

    What is alive now stays; and a decision over a large fleet makes a thousand short-lived objects, which the usual
    threshold of 700 would take for a reason to look.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


async def _drain(director: Director, grpc_servers: GrpcServers, http: HttpServer, *, limit_s: float) -> None:
    """Readiness off, streams in flight finish within the limit, then everything stops.

    It goes on listening meanwhile, so that whoever comes late is told SHUTTING_DOWN and where to go, not refused.
    """
    log.info("draining", in_flight=director.in_flight, limit_s=limit_s)
    director.begin_drain()
    grpc_servers.readiness_changed()
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + limit_s
    while director.in_flight and loop.time() < ends_at:  # noqa: ASYNC110 - what counts them knows no event loop
        await asyncio.sleep(DRAIN_LOOK_S)
    left_s = max(0.0, ends_at - loop.time())
    async with asyncio.TaskGroup() as group:
        group.create_task(grpc_servers.stop(left_s))
        group.create_task(http.stop(limit_s=left_s))
    log.info("stopped", cut_off=director.in_flight)


async def _first_load(view: FleetView, stopping: asyncio.Event) -> None:
    """Waits for the fleet, but not for ever: a router without a store answers that it is not ready."""
    waiting = [asyncio.create_task(view.wait_loaded()), asyncio.create_task(stopping.wait())]
    try:
        await asyncio.wait(waiting, timeout=FIRST_LOAD_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    if not view.loaded:
        log.warning("no_fleet_yet", hint="the state store does not answer; serving starts when it does")
