"""Probes backends for liveness and load, and agrees on health with the other replicas through the store.

Every replica probes; whichever sees a change first writes it (compare-and-set, the others' writes are stale and are
dropped). This replica acts on its own probes at once, with or without the store.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from backends.contract import LoadReport
from router.clock import Clock
from router.dispatch.fleet import Fleet, Member
from router.domain.fleet import Health, HealthState
from router.domain.rows import NEVER, Live
from router.domain.snapshot import FleetSnapshot
from router.errors import RouterError
from router.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)
TICK_S = 0.2
MAX_PROBES_AT_ONCE = 32
UTILISATION_GAIN = 0.1


class HealthStore(Protocol):
    """The part of the fleet store that health needs."""

    async def put_health(
        self, backend_id: str, health: Health, *, expected_version: int, actor: str
    ) -> tuple[Health, int]: ...


class HealthView(Protocol):
    """The part of the fleet view that health needs."""

    @property
    def snapshot(self) -> FleetSnapshot: ...

    @property
    def connected(self) -> bool: ...


class _Probed:
    """What the last probes of one backend said."""

    __slots__ = ("due", "failed", "running", "succeeded")

    def __init__(self) -> None:
        self.due = 0.0
        self.failed = 0
        self.succeeded = 0
        self.running = False


class Collector:
    """Owns the probe tasks; `run` ends by cancellation and takes them with it."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        store: HealthStore,
        view: HealthView,
        metrics: Metrics,
        clock: Clock,
        replica: str,
    ) -> None:
        self._fleet = fleet
        self._store = store
        self._view = view
        self._metrics = metrics
        self._clock = clock
        self._replica = replica
        self._probed: dict[str, _Probed] = {}
        self._slots = asyncio.Semaphore(MAX_PROBES_AT_ONCE)

    async def run(self) -> None:
        """Probes for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._tick(tasks)
                await self._close_removed()
                await asyncio.sleep(TICK_S)

    def _tick(self, tasks: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        if self._clock.time() >= self._fleet.prices_change_at:
            self._fleet.apply(self._view.snapshot)
        for backend_id in [b for b in self._probed if b not in self._fleet.members]:
            del self._probed[backend_id]
            self._metrics.forget_backend(backend_id)
        interval = self._fleet.policies.dispatch.probe_interval_s
        for position, member in enumerate(self._fleet.members.values()):
            member.rate_limit.refill(now)
            member.breaker.fade(now)
            live = member.live
            busy = min(1.0, live.batch() / max(1, member.backend.max_concurrency))
            live.utilisation += UTILISATION_GAIN * (busy - live.utilisation)
            probed = self._probed.get(member.backend.id)
            if probed is None:
                probed = self._probed[member.backend.id] = _Probed()
                # The first round at once, later ones spread over the interval.
                probed.due = now
            if member.adapter is not None and not probed.running and now >= probed.due:
                first = probed.failed + probed.succeeded == 0
                probed.due = now + interval * (0.5 + (position % 10) / 10.0 if first else 1.0)
                probed.running = True
                tasks.create_task(self._probe(member, probed))

    async def _probe(self, member: Member, probed: _Probed) -> None:
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
            self._take(member.live, report)
            if report.healthy:
                probed.failed, probed.succeeded = 0, probed.succeeded + 1
            else:
                probed.failed, probed.succeeded = probed.failed + 1, 0
            self._metrics.backend_up.labels(member.backend.id).set(1.0 if report.healthy else 0.0)
            await self._agree(member, probed, report)
        finally:
            probed.running = False

    def _take(self, live: Live, report: LoadReport) -> None:
        live.warming = report.warming
        live.running = float(report.running) if report.running is not None else -1.0
        live.waiting = float(report.waiting) if report.waiting is not None else -1.0
        live.kv_cache_usage = report.kv_cache_usage if report.kv_cache_usage is not None else -1.0
        live.scraped_at = self._clock.monotonic() if report.healthy else NEVER
        live.started_since = 0

    async def _agree(self, member: Member, probed: _Probed, report: LoadReport) -> None:
        """Acts on the probes here, and writes a transition for everybody."""
        live = member.live
        known = self._view.snapshot.health.get(member.backend.id, Health())
        if report.warming:
            state = HealthState.WARMING
        elif report.healthy:
            live.ejected, live.ejected_reason = False, ""
            state = HealthState.HEALTHY
            if known.state is HealthState.EJECTED and probed.succeeded < 2:
                return
        elif probed.failed >= self._fleet.policies.dispatch.eject_after_probes:
            if not live.ejected:
                log.warning("backend_ejected", backend=member.backend.id, reason=report.reason)
            live.ejected, live.ejected_reason = True, report.reason
            state = HealthState.EJECTED
        else:
            return
        if state is known.state or not self._view.connected or member.backend.id not in self._fleet.members:
            return
        health = Health(
            state=state,
            reason=report.reason,
            since=self._clock.time(),
            evidence=f"{probed.succeeded or probed.failed} probes of {self._replica}",
        )
        try:
            await self._store.put_health(member.backend.id, health, expected_version=known.version, actor=self._replica)
        except RouterError as error:
            # Another replica was first, or the store is away: the next round compares again.
            log.debug("health_not_written", backend=member.backend.id, reason=error.reason)

    async def _close_removed(self) -> None:
        while self._fleet.removed:
            await self._fleet.removed.pop().aclose()
