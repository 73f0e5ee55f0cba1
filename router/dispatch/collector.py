"""Probes backends for liveness and load, and keeps what fades with time up to date.

A backend is probed by the one replica that has its lease, which tells the others what it heard; by every replica while
nobody knows who has it. What the probes mean is judged in `health.py`, whose protocols the store's side fulfils.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from backends.contract import Backend as Adapter
from backends.contract import LoadReport
from router.clock import Clock
from router.dispatch.fleet import Fleet, Member
from router.dispatch.health import FleetHealth, HealthStore, HealthView, LeaseHolder
from router.dispatch.loads import Busy, Loads
from router.dispatch.passive import Passive
from router.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)
TICK_S = 0.2
MAX_PROBES_AT_ONCE = 32
# Half of what is known of a backend's utilisation is from the last minute.
UTILISATION_GAIN = 1.0 - 2.0 ** (-TICK_S / 60.0)
# How soon a replica notices that a backend has become, or is no longer, its own to probe.
LOOK_AGAIN_S = 0.5
# Intervals after which what an engine said of its load is no longer believed.
SCRAPE_INTERVALS = 4.0
# Members looked at, and probes begun, before others get the loop. A probe may end in the same turn of it, and thousands
# in one turn would keep this replica from hearing the store, which it then thinks away.
AT_ONCE = 500
MAX_BEGUN_AT_ONCE = 32


class _Watch:
    """When a backend is to be looked at, and whether its last probes were this replica's."""

    __slots__ = ("due", "first", "judged", "running")

    def __init__(self, now: float) -> None:
        # The first round at once, later ones spread over the interval.
        self.due = now
        self.first = True
        self.judged = False
        self.running = False


async def close_adapter(adapter: Adapter) -> None:
    """Closes an adapter; one that cannot be closed is no reason to stop."""
    try:
        await adapter.aclose()
    except Exception:
        log.exception("adapter_not_closed", backend=adapter.spec.id)


class Collector:
    """Owns the probe tasks; `run` ends by cancellation and takes them with it.

    `clock.time()` must be the time that all replicas share. Without `leases` and `loads` there are no other replicas.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        store: HealthStore,
        view: HealthView,
        metrics: Metrics,
        clock: Clock,
        replica: str,
        leases: LeaseHolder | None = None,
        loads: Loads | None = None,
        forget: Callable[[str], None] = lambda _: None,
        tick: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._fleet = fleet
        self._forget = forget
        self._call_on_tick = tick
        self._loads = loads or Loads(fleet=fleet, busy=Busy(), passive=Passive(), clock=clock, replica=replica)
        self._health = FleetHealth(
            fleet=fleet, store=store, view=view, leases=leases, loads=self._loads, clock=clock, replica=replica
        )
        self._metrics = metrics
        self._clock = clock
        self._watched: dict[str, _Watch] = {}
        self._slots = asyncio.Semaphore(MAX_PROBES_AT_ONCE)

    async def run(self) -> None:
        """Probes for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._tick(tasks)
                self._close_removed(tasks)
                await asyncio.sleep(TICK_S)

    async def _tick(self, tasks: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        members = self._fleet.members
        if self._clock.time() >= self._fleet.prices_change_at:
            self._health.apply()
        self._loads.refresh(now)
        self._call_on_tick(now)
        self._fleet.keep_grids(self._clock.time())
        for backend_id in [name for name in self._watched if name not in members]:
            del self._watched[backend_id]
            self._forget_backend(backend_id)
        interval = self._fleet.policies.dispatch.probe_interval_s
        begun = 0
        for position, member in enumerate(list(members.values())):
            if position % AT_ONCE == AT_ONCE - 1 or begun >= MAX_BEGUN_AT_ONCE:
                begun = 0
                await asyncio.sleep(0)
            if members.get(member.backend.id) is not member:
                continue
            self._keep(member, now, interval)
            watch = self._watched.get(member.backend.id)
            if watch is None:
                watch = self._watched[member.backend.id] = _Watch(now)
            if now >= watch.due and not watch.running and member.adapter is not None:
                self._look(member, watch, now, interval * (0.5 + (position % 10) / 10.0 if watch.first else 1.0), tasks)
                begun += watch.running
        self._loads.probes = sum(watch.judged for watch in self._watched.values())
        self._health.sweep(tasks.create_task)

    def _keep(self, member: Member, now: float, interval: float) -> None:
        """What changes by time alone."""
        member.rate_limit.refill(now)
        member.breaker.fade(now)
        live = member.live
        # The share of time in which there is work: what sharing a step saves is in each request's part of it already.
        busy = 1.0 if live.batch() > 0.0 else 0.0
        live.utilisation += UTILISATION_GAIN * (busy - live.utilisation)
        if live.running >= 0.0 and now - live.scraped_at > SCRAPE_INTERVALS * interval:
            live.forget_scrape()

    def _look(self, member: Member, watch: _Watch, now: float, interval: float, tasks: asyncio.TaskGroup) -> None:
        judged = self._health.judges(member.backend.id)
        handed_over = judged is not watch.judged
        if handed_over or not judged:
            self._health.follow(member, handed_over=handed_over)
        watch.judged = judged
        if not judged:
            watch.due = now + min(LOOK_AGAIN_S, interval)
            return
        watch.due = now + interval
        watch.first = False
        watch.running = True
        tasks.create_task(self._probe(member, watch))

    async def _probe(self, member: Member, watch: _Watch) -> None:
        adapter = member.adapter
        assert adapter is not None  # noqa: S101 - _tick starts no probe without one
        policy = self._fleet.policies.dispatch
        try:
            async with self._slots:
                try:
                    async with asyncio.timeout(policy.probe_timeout_s + 1.0):
                        report = await adapter.probe(timeout_s=policy.probe_timeout_s)
                except TimeoutError:
                    report = LoadReport(healthy=False, reason="the probe timed out")
                except Exception:
                    log.exception("probe_fault", backend=member.backend.id)
                    report = LoadReport(healthy=False, reason="the probe failed within the adapter")
            if self._fleet.members.get(member.backend.id) is member:
                self._take(member, report)
                await self._health.tell()
        finally:
            watch.running = False

    def _take(self, member: Member, report: LoadReport) -> None:
        backend_id = member.backend.id
        if report.healthy:
            self._loads.scraped(
                backend_id,
                member.live,
                running=float(report.running) if report.running is not None else -1.0,
                waiting=float(report.waiting) if report.waiting is not None else -1.0,
                kv_cache_usage=report.kv_cache_usage if report.kv_cache_usage is not None else -1.0,
            )
        else:
            member.live.forget_scrape()
        self._metrics.backend_up.labels(backend_id).set(1.0 if report.healthy else 0.0)
        # The lease may have gone to another replica while the probe was on its way.
        if self._health.judges(backend_id):
            self._health.probed(member, report)

    def _close_removed(self, tasks: asyncio.TaskGroup) -> None:
        while self._fleet.removed:
            adapter = self._fleet.removed.pop()
            # One that was there for less than a tick was never watched, but may have served.
            if adapter.spec.id not in self._fleet.members:
                self._forget_backend(adapter.spec.id)
            # It may have answers to finish.
            tasks.create_task(close_adapter(adapter), name=f"close {adapter.spec.id}")

    def _forget_backend(self, backend_id: str) -> None:
        self._metrics.forget_backend(backend_id)
        self._forget(backend_id)
