"""A replica is killed -9 in the middle of a request, of an apply, of probing: nothing of it stays behind.

Method. Mid-request: streams run on one replica, which is killed; the clock stops when another one counts it neither
among the replicas nor in any backend's load. Mid-apply: the same hundred backends and hundred prices are applied again
and again, each time with another region and price, through a replica that is killed at a random moment; the other
must have all of one generation at every look. Mid-lease: the replica that probes most is killed; every backend writes
down when it is probed, and the longest silence is the figure.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc.aio

from bench.state import admin
from bench.state.lab import Lab
from bench.state.probed import probed
from bench.state.row import Findings, NotBuilt, Row
from bench.state.site import Replicas, Router, Site, backend_yaml, price_yaml
from bench.state.traffic import question
from router.v1 import admin_pb2, config_pb2, fleet_pb2
from simulation.stores import start_standalone

STREAMS = 20
ORPHANS_LIMIT_S = 1.0
GIVE_UP_S = 10.0
DOCUMENTS = 100
LEASE_LIMIT_S = 3.0
PROBE_EVERY_S = 0.5
OFTEN = {"probe_interval_s": PROBE_EVERY_S, "probe_timeout_s": 0.4}
PROBED = 16
SETTLE_S = 2.5  # the newcomer gets its share
SEED = 20261123


async def mid_request(lab: Lab, findings: Findings) -> None:
    times, before = [], []
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone())
        replicas = await stack.enter_async_context(Replicas(Site.build(lab, upstream), store.url))
        other = await replicas.start("other")
        for n in range(lab.pick(10, 2)):
            lab.say(f"kill {n + 1}")
            router = await replicas.start(f"killed-{n}")
            streams = [asyncio.create_task(_stream(router)) for _ in range(STREAMS)]
            async with asyncio.timeout(GIVE_UP_S):
                await admin.until(lambda: _load(other), (STREAMS, STREAMS).__eq__, pause_s=0.02)
            before.append(STREAMS)
            began = time.perf_counter()
            router.kill()
            async with asyncio.timeout(GIVE_UP_S):
                await admin.until(lambda: _load(other), (0, 0).__eq__, pause_s=0.01)
            times.append(time.perf_counter() - began)
            await replicas.kill(router.name)
            await asyncio.gather(*streams)
    findings.figure("load seen by the other replica before each kill", f"{STREAMS} requests, {len(times)} kills")
    findings.below("longest until none of it was left", max(times), ORPHANS_LIMIT_S, "s")


async def _stream(router: Router) -> None:
    """A long answer, cut off when its router dies."""
    try:
        async for _ in router.inference.Generate(question(400, pause_ms=50), timeout=60.0):
            pass
    except grpc.aio.AioRpcError:
        return


async def _load(router: Router) -> tuple[int, int]:
    """What this replica counts of the others: their requests, and the load of all backends."""
    overview = await router.fleet.GetOverview(fleet_pb2.GetOverviewRequest(), timeout=admin.CALL_LIMIT_S)
    others = sum(replica.in_flight for replica in overview.replicas if not replica.self)
    return others, round(sum(backend.in_flight for backend in overview.backends))


@dataclass(slots=True)
class Looker:
    """Looks at the other replica's generations all the time."""

    router: Router
    looks: int = 0
    mixed: list[str] = field(default_factory=list)

    async def look(self) -> set[str]:
        """The generations of backends and prices, which are applied together but listed one after the other."""
        listed = await self.router.admin.ListBackends(admin_pb2.ListBackendsRequest(), timeout=admin.CALL_LIMIT_S)
        prices = await self.router.admin.ListPrices(admin_pb2.ListPricesRequest(), timeout=admin.CALL_LIMIT_S)
        self.looks += 1
        regions = {b.spec.region for b in listed.backends if b.spec.id.startswith("many-")}
        cents = {
            f"gen-{round(e.price.input_usd_per_mtok)}" for e in prices.prices if e.price.backend.startswith("many-")
        }
        if len(regions) > 1 or len(cents) > 1:
            self.mixed.append(f"{sorted(regions)} and prices {sorted(cents)}")
        if listed.fleet_version == prices.fleet_version and regions != cents:
            self.mixed.append(f"{sorted(regions)} with prices {sorted(cents)} at version {prices.fleet_version}")
        return regions

    async def keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.005)


def generation(n: int, upstream: str) -> list[config_pb2.ConfigFile]:
    """A hundred backends in the n-th region with the n-th price, and the rest of the fleet."""
    names = [f"many-{k}" for k in range(DOCUMENTS)]
    fleet = "".join(backend_yaml(name, 0, upstream).replace("region: eu-1", f"region: gen-{n}") for name in names)
    return [
        config_pb2.ConfigFile(name="fleet.yaml", text=f"backends:\n{fleet}"),
        config_pb2.ConfigFile(
            name="prices.yaml", text="prices:\n" + "".join(price_yaml(name, float(n)) for name in names)
        ),
    ]


async def mid_apply(lab: Lab, findings: Findings) -> None:
    rng = random.Random(SEED)
    kills, applied, lost, took_s = lab.pick(20, 4), 0, [], 0.3
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone())
        replicas = await stack.enter_async_context(
            Replicas(Site.build(lab, upstream, dispatch={"probe_interval_s": 30}), store.url)
        )
        looker = Looker(await replicas.start("other"))
        looking = asyncio.create_task(looker.keep_looking())
        n = 0
        for kill in range(kills):
            lab.say(f"kill {kill + 1} of {kills}")
            router = await replicas.start(f"killed-{kill}")
            acknowledged = 0
            # One apply whole, for its time; then the one that is cut short, somewhere in its middle.
            n += 1
            began = time.perf_counter()
            await _apply(router, n, upstream)
            took_s, acknowledged, applied = time.perf_counter() - began, n, applied + 1
            n += 1
            cut = asyncio.create_task(_apply(router, n, upstream))
            await asyncio.sleep(rng.uniform(0.0, took_s))
            await replicas.kill(router.name)
            if (await asyncio.gather(cut, return_exceptions=True))[0] is None:
                acknowledged, applied = n, applied + 1
            await asyncio.sleep(0.3)
            found = await looker.look()
            if not found <= {f"gen-{acknowledged}", f"gen-{n}"}:
                lost.append(f"{sorted(found)} after gen-{acknowledged} was acknowledged")
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    findings.figure("applies of 200 documents", f"{applied} acknowledged, {kills} killed, {1e3 * took_s:.0f} ms each")
    findings.none("looks at a half-applied configuration", looker.mixed, of=looker.looks)
    findings.none("acknowledged applies that are lost", lost, of=kills)


async def _apply(router: Router, n: int, upstream: str) -> None:
    """Raises what a call that is cut off raises."""
    request = config_pb2.ApplyRequest(files=generation(n, upstream), wait_s=1.0, note=f"generation {n}")
    await router.config.Apply(request, timeout=30.0)


async def mid_lease(lab: Lab, findings: Findings) -> None:
    silences, probing = [], []
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(probed(PROBED))
        store = await stack.enter_async_context(start_standalone())
        prices = (1.0,) * PROBED
        site = Site.build(lab, backends.addresses, prices=prices, dispatch=OFTEN)
        replicas = await stack.enter_async_context(Replicas(site, store.url))
        await replicas.start("r0")
        for n in range(lab.pick(10, 2)):
            lab.say(f"kill {n + 1}")
            await replicas.start(f"r{n + 1}")
            await asyncio.sleep(SETTLE_S)
            shares = await _probes(replicas.all[0])
            name = max(shares, key=lambda one: shares[one], default="")
            if not shares.get(name):
                raise NotBuilt("no replica says that it probes anything")
            probing.append(f"{shares[name]} of {PROBED}")
            killed = time.perf_counter()
            await replicas.kill(name)
            await asyncio.sleep(LEASE_LIMIT_S + 1.5)
            silences.append(backends.longest_gap(killed - 2 * PROBE_EVERY_S, time.perf_counter()))
    findings.figure("backends that the killed replica probed", ", ".join(probing))
    findings.below("longest that any backend was not probed", max(silences), LEASE_LIMIT_S + PROBE_EVERY_S, "s")
    findings.note(
        f"a backend is probed every {PROBE_EVERY_S:g} s; a lease must be taken over within {LEASE_LIMIT_S:g} s"
    )


async def _probes(router: Router) -> dict[str, int]:
    """How many backends each replica says it probes."""
    listed = await router.fleet.ListReplicas(fleet_pb2.ListReplicasRequest(), timeout=admin.CALL_LIMIT_S)
    return {one.id: one.leases for one in listed.replicas}


ROWS = (
    Row(
        name="killed-serving",
        title="replica killed -9 mid-request: no orphaned load",
        does="kills a replica with streams in flight, again and again",
        run=mid_request,
    ),
    Row(
        name="killed-applying",
        title="replica killed -9 mid-apply: no half-applied configuration",
        does="kills a replica while it applies 200 documents, again and again",
        run=mid_apply,
    ),
    Row(
        name="killed-probing",
        title="replica killed -9 mid-lease: lease taken over",
        does="kills the replica that probes, again and again",
        run=mid_lease,
    ),
)
