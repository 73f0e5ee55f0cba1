"""Three replicas watch one fleet on a real Valkey: everything real but the backends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from backends.contract import LoadReport
from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import SystemClock
from router.dispatch.collector import Collector
from router.dispatch.fleet import Fleet
from router.dispatch.loads import Busy, Loads
from router.dispatch.passive import Passive
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, PrivacyLevel, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import DispatchPolicy, Policies
from router.errors import StaleVersion
from router.state.embedded import EmbeddedValkey
from router.state.leases import Leases
from router.state.peers import Peers
from router.state.runtime import State, end_task, open_state
from router.state.store_time import StoreTime
from router.state.view import FleetView
from router.state.writes import SeedDocuments
from router.telemetry.metrics import Metrics

NAMES = tuple(f"gpu-{n}" for n in range(12))
CATALOGUE = Catalogue(
    hardware={"fast": Hardware(id="fast", name="Fast chip", kind="hosted")}, models={"m": Model(id="m")}
)
POLICIES = Policies(dispatch=DispatchPolicy(probe_interval_s=0.2, probe_timeout_s=0.2))
SEED = SeedDocuments(
    backends=tuple(
        Backend(
            id=name,
            wire="scripted",
            address=f"http://{name}.test",
            models=(ServedModel(model="m"),),
            hardware="fast",
            privacy=PrivacyLevel.ANY,
        )
        for name in NAMES
    )
)


@dataclass
class Node:
    """One replica; `adapters` are its own connections to the backends."""

    state: State
    fleet: Fleet
    leases: Leases
    peers: Peers
    busy: Busy
    passive: Passive
    adapters: dict[str, ScriptedBackend]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def agreed(self, backend: str) -> HealthState:
        return self.state.view.snapshot.health.get(backend, Health()).state

    def owns(self, backend: str) -> bool:
        return self.leases.fence(backend) is not None

    def usable(self, backend: str) -> bool:
        row = self.fleet.row(backend, "m")
        return row is not None and not (row.ejected or row.live.ejected)

    def report(self, backend: str, report: LoadReport) -> None:
        self.adapters[backend].report = report

    async def die(self) -> None:
        """As killed: nothing is said to anybody."""
        for task in self.tasks:
            await end_task(task)


Start = Callable[[str], Awaitable[Node]]


@pytest.fixture
async def start(valkey: EmbeddedValkey) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def one(name: str) -> Node:
            adapters: dict[str, ScriptedBackend] = {}

            def build(spec: BackendSpec) -> ScriptedBackend:
                adapters[spec.id] = ScriptedBackend(spec)
                return adapters[spec.id]

            clock = SystemClock()
            store_time = StoreTime(clock)
            view = FleetView()
            fleet = Fleet(catalogue=CATALOGUE, build_adapter=build, clock=store_time, policies=POLICIES)
            view.on_change(fleet.apply)
            state = await stack.enter_async_context(
                open_state(valkey.url, view=view, clock=clock, replica_id=name, seed=SEED)
            )
            busy, passive = Busy(), Passive()
            loads = Loads(fleet=fleet, busy=busy, passive=passive, clock=clock, replica=name)
            leases = Leases(state.client, namespace="router", replica=name, clock=clock)
            peers = Peers(
                state.client,
                namespace="router",
                replica=name,
                source=loads,
                sink=loads,
                clock=clock,
                store_time=store_time,
            )
            collector = Collector(
                fleet=fleet,
                store=state.store,
                view=view,
                metrics=Metrics(),
                clock=store_time,
                replica=name,
                leases=leases,
                loads=loads,
            )
            node = Node(state, fleet, leases, peers, busy, passive, adapters)
            node.tasks = [asyncio.create_task(part.run()) for part in (peers, leases, collector)]
            stack.push_async_callback(node.die)
            return node

        yield one


async def until(condition: Callable[[], bool], *, limit_s: float = 6.0) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
async def nodes(start: Start) -> list[Node]:
    """Three replicas that have settled: every backend has one owner and is agreed to be healthy."""
    found = [await start(f"r{n}") for n in range(3)]
    await until(lambda: sum(node.leases.count for node in found) == 128 and all(node.leases.count for node in found))
    await until(lambda: all(node.agreed(name) is HealthState.HEALTHY for node in found for name in NAMES))
    return found


def owner_of(nodes: list[Node], backend: str) -> Node:
    return next(node for node in nodes if node.owns(backend))


async def test_one_replica_probes_each_backend_and_all_act_on_it(nodes: list[Node]) -> None:
    """Only the holder of the lease asks; what it finds dead is out of use everywhere, and comes back everywhere."""
    name = NAMES[0]
    owner = owner_of(nodes, name)
    so_far = owner.adapters[name].probes
    await until(lambda: owner.adapters[name].probes > so_far + 3)  # what was due before the leases were settled is over
    asked = {node.peers: node.adapters[name].probes for node in nodes}
    owner.report(name, LoadReport(healthy=False, reason="connection refused"))
    await until(lambda: not any(node.usable(name) for node in nodes))
    await until(lambda: all(node.agreed(name) is HealthState.EJECTED for node in nodes))
    health = nodes[0].state.view.snapshot.health[name]
    assert (health.state, health.reason) == (HealthState.EJECTED, "connection refused")
    assert health.evidence.startswith("3 probes of r")
    owner.report(name, LoadReport(healthy=True))
    await until(lambda: all(node.usable(name) for node in nodes))
    await until(lambda: all(node.agreed(name) is HealthState.HEALTHY for node in nodes), limit_s=8.0)
    probed = [node for node in nodes if node.adapters[name].probes > asked[node.peers]]
    assert probed == [owner]


async def test_a_killed_owner_is_replaced_and_cannot_write_any_more(nodes: list[Node]) -> None:
    """Within 3 s another replica probes what the dead one had, and what the dead one still writes is refused."""
    name = NAMES[0]
    dead = owner_of(nodes, name)
    rest = [node for node in nodes if node is not dead]
    fence = dead.leases.fence(name)
    before = {id(node): node.adapters[name].probes for node in rest}
    await dead.die()
    took_s = await until(lambda: any(node.adapters[name].probes > before[id(node)] for node in rest))
    assert took_s < 3.2  # the lease within 3 s, and the next look after it
    known = rest[0].state.view.snapshot.health[name]
    with pytest.raises(StaleVersion):
        await dead.state.store.put_health(
            name,
            Health(state=HealthState.EJECTED, reason="late"),
            expected_version=known.version,
            actor="r0",
            fence=fence,
        )
    assert rest[0].agreed(name) is HealthState.HEALTHY


async def test_load_and_failures_of_one_are_known_to_all(nodes: list[Node]) -> None:
    """In-flight work is seen within a beat or two, gone a second after its replica; failures of two eject for three."""
    name = NAMES[3]
    first, second, third = nodes
    for _ in range(4):
        first.busy.start(name, first.fleet.members[name].live)
    assert await until(lambda: second.fleet.members[name].live.batch() == 4.0) < 0.5
    for node in (first, second):
        for _ in range(10):
            node.passive.failed(name, time.monotonic(), "UPSTREAM_FAULT")
    # Whoever judges the backend acts before the store has told the others, and itself.
    await until(lambda: not third.usable(name) and third.agreed(name) is HealthState.EJECTED)
    evidence = third.state.view.snapshot.health[name].evidence
    assert evidence == "20 of 20 attempts of the last 10 s failed on 2 replicas, last: UPSTREAM_FAULT"
    await first.die()
    assert await until(lambda: second.fleet.members[name].live.batch() == 0.0) < 1.0


async def test_without_the_store_every_replica_watches_for_itself(nodes: list[Node], valkey: EmbeddedValkey) -> None:
    """Frozen server: each replica finds a backend dead by its own probes; afterwards one does it for all again."""
    name = NAMES[5]
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        for node in nodes:
            node.report(name, LoadReport(healthy=False, reason="connection refused"))
        await until(lambda: not any(node.usable(name) for node in nodes))
        assert all(node.agreed(name) is HealthState.HEALTHY for node in nodes)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    await until(lambda: all(node.agreed(name) is HealthState.EJECTED for node in nodes))
    for node in nodes:
        node.report(name, LoadReport(healthy=True))
    await until(lambda: all(node.usable(name) for node in nodes), limit_s=8.0)
