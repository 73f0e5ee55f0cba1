"""Replicas whose clocks are five seconds wrong: prices begin and end on all of them at the same real moment.

Method. Three replicas run with clocks 5 s behind, right, and 5 s ahead. A price is written that begins and ends at
times of the store's clock, which is this machine's, and that turns the decision around. Each replica is asked whom it
would choose, fifty times a second; the moments at which its answer turns are held against the price's own. A full run
has a time-of-day window as well, which begins on the next minute. Meanwhile every backend writes down when it is
probed: a lease that is lost to a wrong clock shows as silence.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from bench.state import admin
from bench.state.lab import Lab
from bench.state.probed import probed
from bench.state.row import Findings, Row
from bench.state.site import Replicas, Router, Site
from router.v1 import admin_pb2 as pb
from router.v1 import fleet_pb2
from simulation.stores import start_standalone

SKEWS = (-5.0, 0.0, 5.0)
OF = "b-0"
CHEAP, DEAR = 0.1, 1000.0
MINUTE_S = 60.0
MINUTES_A_DAY = 1440
BEGINS_IN_S = 2.0
ASK_EVERY_S = 0.02
# A collector looks for prices that begin or end five times a second.
OFF_LIMIT_MS = 500.0
PROBE_EVERY_S = 0.5
OFTEN = {"probe_interval_s": PROBE_EVERY_S, "probe_timeout_s": 0.4}
LEASE_LIMIT_S = 3.0
BACKENDS = 6


@dataclass(slots=True)
class Switches:
    """When a replica's choice went to another backend and when it came back, Unix seconds of the real clock."""

    router: Router
    at: list[tuple[float, bool]] = field(default_factory=list)

    async def watch(self) -> None:
        away: bool | None = None
        while True:
            now_away = await admin.chosen(self.router) != OF
            if away is not None and now_away is not away:
                self.at.append((time.time(), now_away))
            away = now_away
            await asyncio.sleep(ASK_EVERY_S)


async def run(lab: Lab, findings: Findings) -> None:
    windows, length_s = lab.pick(5, 1), lab.pick(8, 4)
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(probed(BACKENDS))
        store = await stack.enter_async_context(start_standalone())
        prices = (CHEAP, *(90.0 for _ in range(BACKENDS - 1)))
        site = Site.build(lab, backends.addresses, prices=prices, dispatch=OFTEN)
        replicas = await stack.enter_async_context(Replicas(site, store.url))
        for n, skew in enumerate(SKEWS):
            await replicas.start(f"r{n}", skew_s=skew or 1e-9)
        await asyncio.sleep(3.0)  # beats tell them the store's time, leases find their owners
        began = time.perf_counter()
        switches = [Switches(router) for router in replicas.all]
        watching = [asyncio.create_task(one.watch()) for one in switches]
        due: list[tuple[float, bool]] = []
        for n in range(windows):
            lab.say(f"window {n + 1} of {windows}")
            start = time.time() + BEGINS_IN_S
            await _plan(replicas["r1"], start, start + length_s)
            due += [(start, True), (start + length_s, False)]
            await asyncio.sleep(BEGINS_IN_S + length_s + 1.0)
        if not lab.quick:
            lab.say("a minute of the daily schedule")
            start = await _schedule(replicas["r1"])
            due += [(start, True), (start + MINUTE_S, False)]
            await asyncio.sleep(start + MINUTE_S + 1.0 - time.time())
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        silence = backends.longest_gap(began, time.perf_counter())
        leases = [await _leases(router) for router in replicas.all]
    for skew, one in zip(SKEWS, switches, strict=True):
        wrong = [kind for _, kind in one.at] != [kind for _, kind in due]
        off_ms = [1e3 * abs(at - at_due) for (at, _), (at_due, _) in zip(one.at, due, strict=False)]
        findings.holds(
            f"clock {skew:+g} s: switches at the price's beginning and end",
            f"{len(one.at)}, at most {max(off_ms, default=float('inf')):.0f} ms off",
            reached=not wrong and max(off_ms, default=float("inf")) < OFF_LIMIT_MS,
            bound=f"{len(due)}, < {OFF_LIMIT_MS:g} ms",
        )
    findings.below("longest that any backend was not probed", silence, LEASE_LIMIT_S + PROBE_EVERY_S, "s")
    findings.holds(
        "backends that the replicas probe, as each of them says",
        "; ".join(", ".join(map(str, each)) for each in leases),
        reached=all(sum(each) == BACKENDS for each in leases),
        bound=f"{BACKENDS} together",
    )


async def _plan(router: Router, begins: float, ends: float) -> None:
    """A price far too dear, from and until moments of the store's clock."""
    price = admin.price(OF, DEAR)
    price.effective_at.CopyFrom(_timestamp(begins))
    price.expires_at.CopyFrom(_timestamp(ends))
    expected = await admin.price_version(router, OF)
    await router.admin.SetPrice(pb.SetPriceRequest(price=price, expected_version=expected))


async def _schedule(router: Router) -> float:
    """A cheap price that is far too dear in the minute after the next one begins; when that is, Unix seconds."""
    start = (time.time() + BEGINS_IN_S) // MINUTE_S * MINUTE_S + MINUTE_S
    minute = round(start / MINUTE_S) % MINUTES_A_DAY
    price = admin.price(OF, CHEAP)
    price.schedule.add(start_minute=minute, end_minute=(minute + 1) % MINUTES_A_DAY, factor=DEAR / CHEAP)
    expected = await admin.price_version(router, OF)
    await router.admin.SetPrice(pb.SetPriceRequest(price=price, expected_version=expected))
    return start


def _timestamp(unix: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(round(unix * 1e9))
    return stamp


async def _leases(router: Router) -> list[int]:
    listed = await router.fleet.ListReplicas(fleet_pb2.ListReplicasRequest(), timeout=admin.CALL_LIMIT_S)
    return [one.leases for one in sorted(listed.replicas, key=lambda one: one.id)]


ROWS = (
    Row(
        name="clock-skew",
        title="clock skew of +/- 5 s between replicas",
        does="runs replicas with wrong clocks over prices that begin and end",
        run=run,
    ),
)
