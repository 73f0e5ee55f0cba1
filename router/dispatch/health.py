"""The health of the fleet as this replica judges it, and how all replicas come to agree on it.

Whoever holds the lease of a backend judges it, by its own probes and by the attempts of all replicas, and writes what
changed with the lease's fence; the others take that over. Nobody waits for the store: this replica acts on its own
judgement at once, and while the store is away every replica judges everything for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

import structlog

from backends.contract import LoadReport
from router.clock import Clock
from router.dispatch.fleet import Fleet, Member
from router.dispatch.loads import Loads
from router.domain.fleet import Health, HealthState
from router.domain.live import NEVER
from router.domain.snapshot import FleetSnapshot
from router.errors import RouterError
from router.resilience.health_state import HealthMachine, HealthRules
from router.state.keys import Fence
from router.state.writes import Judgement

log = structlog.get_logger(__name__)
# One write holds this many at most: the store does nothing else meanwhile.
MAX_WRITTEN_AT_ONCE = 256
# A probe writes what it changed unless somebody looked for what to write this long ago: then it goes with the next
# look, together with what other probes have found by then. In a new fleet every backend changes at once, and while
# nothing can be written all of them stay to be looked at.
GATHER_S = 0.05
# What was written is not written again until it had the time to come back through the change stream.
COMES_BACK_S = 2.0
NOT_KNOWN = Health()


class HealthStore(Protocol):
    """The part of the fleet store that health needs."""

    async def put_judgements(self, judgements: Sequence[Judgement], *, actor: str) -> dict[str, str]: ...


class HealthView(Protocol):
    """The part of the fleet view that health needs."""

    @property
    def snapshot(self) -> FleetSnapshot: ...

    @property
    def connected(self) -> bool: ...


class LeaseHolder(Protocol):
    """Who probes and judges which backend."""

    @property
    def current(self) -> bool:
        """It is known; when not, everybody probes everything."""
        ...

    def fence(self, backend_id: str) -> Fence | None:
        """The right to judge a backend; None when it is not ours."""
        ...


class FleetHealth:
    """One machine per backend of the fleet. `clock.time()` must be the time that all replicas share.

    Without `leases` this replica judges everything and writes unfenced.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        store: HealthStore,
        view: HealthView,
        leases: LeaseHolder | None,
        loads: Loads,
        clock: Clock,
        replica: str,
    ) -> None:
        self._fleet = fleet
        self._store = store
        self._view = view
        self._leases = leases
        self._loads = loads
        self._clock = clock
        self._replica = replica
        self._rules = HealthRules()
        self._machines: dict[str, HealthMachine] = {}
        # What was agreed when a machine last followed another replica.
        self._followed: dict[str, Health] = {}
        self._suspects: set[str] = set()
        # Judged otherwise than the fleet agrees; being written; on what version it was written last, and when.
        self._unsaid: set[str] = set()
        self._writing: set[str] = set()
        self._looked_at = NEVER
        self._written: dict[str, tuple[int, float]] = {}
        # What the rows have instead of the snapshot's, because it could not be written, and the snapshot it was put on.
        self._own_view: dict[str, Health] = {}
        self._put_on: FleetSnapshot | None = None
        self._fleet_version = -1
        self._config_version = -1

    def judges(self, backend_id: str) -> bool:
        """Whether this replica is to probe and judge a backend now."""
        leases = self._leases
        return leases is None or not leases.current or leases.fence(backend_id) is not None

    def probed(self, member: Member, report: LoadReport) -> None:
        """Takes in a probe of this replica."""
        now = self._clock.time()
        machine = self._machine(member, now)
        if report.warming:
            machine.probe_warming(now, self._replica, report.reason)
        elif report.healthy:
            machine.probe_succeeded(now, self._replica)
        else:
            machine.probe_failed(now, self._replica, report.reason)
        self._act(member, machine)

    def follow(self, member: Member, *, handed_over: bool) -> None:
        """Another replica judges this backend, or did up to now (`handed_over`): its word counts."""
        backend_id = member.backend.id
        agreed = self._agreed(backend_id)
        if self._followed.get(backend_id) is agreed and not handed_over:
            return
        self._followed[backend_id] = agreed
        now = self._clock.time()
        machine = self._machine(member, now)
        if agreed.state is not HealthState.UNKNOWN:
            machine.adopt(now, agreed)
        self._suspects.discard(backend_id)
        self._unsaid.discard(backend_id)
        member.live.ejected = member.live.warming = False
        member.live.ejected_reason = ""

    def sweep(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Called often: weighs the attempts of all replicas, and sees to it that what changed is written."""
        now, monotonic = self._clock.time(), self._clock.monotonic()
        self._keep_up(now)
        for backend_id in self._loads.failing(monotonic) | self._suspects:
            member = self._fleet.members.get(backend_id)
            if member is not None and self.judges(backend_id):
                machine = self._machine(member, now)
                machine.attempts(now, self._loads.evidence(backend_id, monotonic))
                self._act(member, machine)
        own_view = {}
        for backend_id in list(self._unsaid):
            machine = self._machines[backend_id]
            if machine.state is self._agreed(backend_id).state or not self.judges(backend_id):
                self._unsaid.discard(backend_id)
                continue
            if self._blocked or backend_id in self._own_view:
                own_view[backend_id] = machine.health
        if not (self._writing or self._blocked) and any(map(self._to_be_told, self._unsaid)):
            spawn(self._tell())
        if own_view != self._own_view or (own_view and self._view.snapshot is not self._put_on):
            self._own_view = own_view
            self.apply()

    def apply(self) -> None:
        """Lets the fleet run the snapshot, with this replica's own judgement where that could not be written."""
        snapshot = self._view.snapshot
        self._put_on = snapshot
        own = {name: health for name, health in self._own_view.items() if name in snapshot.backends}
        self._fleet.apply(replace(snapshot, health=snapshot.health | own) if own else snapshot)

    async def tell(self) -> None:
        """Writes for everybody what this replica judges otherwise than was agreed, if it can and nobody just looked."""
        if self._unsaid and self._clock.monotonic() - self._looked_at >= GATHER_S:
            await self._tell()

    async def _tell(self) -> None:
        while not (self._writing or self._blocked):
            self._looked_at = self._clock.monotonic()
            untold = list(islice(filter(self._to_be_told, self._unsaid), MAX_WRITTEN_AT_ONCE))
            if not untold:
                return
            self._writing.update(untold)
            try:
                await self._write([self._judgement(backend_id) for backend_id in untold])
            finally:
                self._writing.clear()
            if len(untold) < MAX_WRITTEN_AT_ONCE:
                return

    def _judgement(self, backend_id: str) -> Judgement:
        return Judgement(
            backend=backend_id,
            health=self._machines[backend_id].health,
            expected_version=self._agreed(backend_id).version,
            fence=self._leases.fence(backend_id) if self._leases is not None else None,
        )

    async def _write(self, judgements: list[Judgement]) -> None:
        try:
            refused = await self._store.put_judgements(judgements, actor=self._replica)
        except RouterError as error:
            refused = {one.backend: error.reason for one in judgements}
        for one in judgements:
            reason = refused.get(one.backend)
            if reason is None:
                self._written[one.backend] = (one.expected_version, self._clock.monotonic())
            else:
                # The lease is another's by now, another was first, or the store is away: the next probe compares again.
                self._unsaid.discard(one.backend)
                log.debug("health_not_written", backend=one.backend, reason=reason)

    @property
    def _blocked(self) -> bool:
        """Nothing can be written now."""
        return not self._view.connected or (self._leases is not None and not self._leases.current)

    def _to_be_told(self, backend_id: str) -> bool:
        if backend_id in self._writing:
            return False
        agreed = self._agreed(backend_id)
        if agreed.state is self._machines[backend_id].state:
            return False
        version, at = self._written.get(backend_id, (-1, 0.0))
        if version == agreed.version and self._clock.monotonic() - at < COMES_BACK_S:
            return False
        return self.judges(backend_id)

    def _act(self, member: Member, machine: HealthMachine) -> None:
        """Puts the judgement into effect here, at once."""
        backend_id, live, state = member.backend.id, member.live, machine.state
        if machine.taken_out is not live.ejected:
            say = log.warning if machine.taken_out else log.info
            name = "backend_ejected" if machine.taken_out else "backend_back"
            say(name, backend=backend_id, reason=machine.health.reason, evidence=machine.health.evidence)
        live.ejected = machine.taken_out
        live.ejected_reason = machine.health.reason if machine.taken_out else ""
        if live.warming and state is not HealthState.WARMING and live.joined_at > NEVER:
            # It was loading until now: its first minute begins.
            live.joined_at = self._clock.monotonic()
        live.warming = state is HealthState.WARMING
        if state is HealthState.SUSPECT:
            self._suspects.add(backend_id)
        else:
            self._suspects.discard(backend_id)
        if state is not self._agreed(backend_id).state:
            self._unsaid.add(backend_id)

    def _agreed(self, backend_id: str) -> Health:
        return self._view.snapshot.health.get(backend_id, NOT_KNOWN)

    def _machine(self, member: Member, now: float) -> HealthMachine:
        backend_id = member.backend.id
        machine = self._machines.get(backend_id)
        if machine is None:
            machine = self._machines[backend_id] = HealthMachine(self._rules)
            agreed = self._agreed(backend_id)
            if agreed.state is not HealthState.UNKNOWN:
                machine.adopt(now, agreed)
        machine.drained(now, drained=member.backend.drained)
        return machine

    def _keep_up(self, now: float) -> None:
        """Takes over what operators changed: policies, backends that are gone, drains."""
        eject_after = self._fleet.policies.dispatch.eject_after_probes
        if eject_after != self._rules.eject_after_probes:
            self._rules = replace(self._rules, eject_after_probes=eject_after)
            for machine in self._machines.values():
                machine.rules = self._rules
        snapshot = self._view.snapshot
        if snapshot.config_version == self._config_version and self._fleet.version == self._fleet_version:
            return
        if snapshot.config_version != self._config_version:
            self._config_version = snapshot.config_version
            for member in self._fleet.members.values():
                known = self._machines.get(member.backend.id)
                drained = known is not None and known.state is HealthState.DRAINING
                if member.backend.drained is not drained and self.judges(member.backend.id):
                    self._act(member, self._machine(member, now))
        self._fleet_version = self._fleet.version
        for backend_id in [name for name in self._machines if name not in self._fleet.members]:
            del self._machines[backend_id]
            self._written.pop(backend_id, None)
            self._followed.pop(backend_id, None)
            self._suspects.discard(backend_id)
            self._unsaid.discard(backend_id)
