"""A collector over scripted backends and a store of the test, which goes on when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import FakeClock
from router.dispatch.collector import Collector
from router.dispatch.fleet import Fleet
from router.dispatch.loads import Busy, Loads
from router.dispatch.passive import Passive
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies
from router.domain.snapshot import FleetSnapshot
from router.errors import StoreUnavailable
from router.state.keys import Fence
from router.state.writes import Judgement
from router.telemetry.metrics import Metrics

CATALOGUE = Catalogue(
    hardware={"fast": Hardware(id="fast", name="Fast chip", kind="hosted")}, models={"m": Model(id="m")}
)


@dataclass
class Store:
    """The store and the view of it: what is written is seen at once, unless another replica was first."""

    snapshot: FleetSnapshot
    connected: bool = True
    stale: bool = False
    calls: int = 0
    writes: list[tuple[str, Health, Fence | None]] = field(default_factory=list)
    changed: list[Callable[[FleetSnapshot], None]] = field(default_factory=list)

    async def put_judgements(self, judgements: Sequence[Judgement], *, actor: str) -> dict[str, str]:
        assert actor == "me"
        self.calls += 1
        self.writes += [(one.backend, one.health, one.fence) for one in judgements]
        if self.stale:
            return {one.backend: "STALE" for one in judgements}
        if not self.connected:
            raise StoreUnavailable("it is away")
        made = {one.backend: replace(one.health, version=one.expected_version + 1) for one in judgements}
        self.publish(health=self.snapshot.health | made)
        return {}

    def publish(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, version=self.snapshot.version + 1, **changes)  # type: ignore[arg-type]
        for call in self.changed:
            call(self.snapshot)

    def states(self, backend_id: str) -> list[HealthState]:
        """What was written of a backend, in order."""
        return [health.state for name, health, _ in self.writes if name == backend_id]


@dataclass
class Held:
    """Leases by hand."""

    mine: set[str]
    current: bool = True

    def fence(self, backend_id: str) -> Fence | None:
        return Fence(1, 7, "me") if self.current and backend_id in self.mine else None


@dataclass
class Site:
    """A collector over scripted backends that goes on when it is told to."""

    collector: Collector
    fleet: Fleet
    store: Store
    leases: Held
    loads: Loads
    passive: Passive
    clock: FakeClock
    adapters: dict[str, ScriptedBackend]
    metrics: Metrics

    async def go_on(self, seconds: float = 0.2) -> None:
        """That much time in ticks, each with all that it starts."""
        for _ in range(max(1, round(seconds / 0.2))):
            async with asyncio.TaskGroup() as tasks:
                await self.collector._tick(tasks)
            self.clock.advance(0.2)

    def row_state(self, backend_id: str) -> tuple[bool, bool]:
        """(ejected, suspect) as a decision sees the backend."""
        row = self.fleet.row(backend_id, "m")
        assert row is not None
        return row.ejected or row.live.ejected, row.suspect


MakeSite = Callable[..., Site]


def build_site(*names: str, mine: set[str] | None = None, leases: Held | None = None) -> Site:
    """A collector for backends of these names; those in `mine` (None: all) are its own to probe."""
    adapters: dict[str, ScriptedBackend] = {}

    def build(spec: BackendSpec) -> ScriptedBackend:
        adapters[spec.id] = ScriptedBackend(spec)
        return adapters[spec.id]

    clock, metrics, passive, busy = FakeClock(), Metrics(), Passive(), Busy()
    fleet = Fleet(catalogue=CATALOGUE, build_adapter=build, clock=clock, policies=Policies())
    backends = {
        name: Backend(
            id=name,
            wire="scripted",
            address=f"http://{name}.test",
            models=(ServedModel(model="m"),),
            hardware="fast",
        )
        for name in names
    }
    store = Store(FleetSnapshot(version=1, backends=backends), changed=[fleet.apply])
    fleet.apply(store.snapshot)
    leases = leases or Held(set(names) if mine is None else mine)
    loads = Loads(fleet=fleet, busy=busy, passive=passive, clock=clock, replica="me")
    collector = Collector(
        fleet=fleet,
        store=store,
        view=store,
        metrics=metrics,
        clock=clock,
        replica="me",
        leases=leases,
        loads=loads,
    )
    return Site(collector, fleet, store, leases, loads, passive, clock, adapters, metrics)
