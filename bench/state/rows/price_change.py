"""How long after an admin sends a new price the last of all replicas decides by it; alone, and under load.

Method. One backend's price goes up and down in turn, so that each change turns the decision around. The clock starts
when the call to the first replica is sent. Each replica is watched (`WatchChanges`); when it tells of the change it is
asked whom it would choose (`Explain`), until the answer is the new one. The time of the last of these answers is the
figure: it includes the watch's message and the question's way there and back, so it is an upper bound. Asking every
replica all the time would take more of two cores than the routers have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.figures import quantile
from bench.state import admin
from bench.state.lab import Lab
from bench.state.row import Findings, Row
from bench.state.site import Replicas, Router, Site
from bench.state.traffic import Traffic
from bench.state.web import WebLoad
from router.v1 import admin_pb2 as pb
from simulation.stores import start_standalone

REPLICAS = 8
LOADED_REPLICAS = 4
RATE = 500.0
# The rest is over HTTP, which costs less of the two cores and does not tell how long a decision took.
OVER_GRPC = 350.0
CHANGES_PER_S = 5.0
WINDOW_S = 2.0
CHEAP, DEAR = 0.1, 1000.0
SEEN_LIMIT_S = 5.0
OF = "b-0"


class Observer:
    """One replica under watch."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self._told = asyncio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[Observer]:
        newest = (await self.router.admin.ListBackends(pb.ListBackendsRequest())).fleet_version
        call: Any = self.router.admin.WatchChanges(pb.WatchChangesRequest(after_version=newest))
        reading = asyncio.create_task(self._read(call))
        try:
            yield self
        finally:
            call.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, call: Any) -> None:
        async for change in call:
            if change.kind == "price":
                self._told.set()

    def expect(self) -> None:
        self._told.clear()

    async def decides(self, condition: Callable[[str], bool]) -> float:
        """When this replica's decision met the condition."""
        async with asyncio.timeout(SEEN_LIMIT_S):
            await self._told.wait()
            await admin.until(lambda: admin.chosen(self.router), condition)
        return time.perf_counter()


class Changes:
    """Changes the price again and again on the first replica; the times are in `seconds`."""

    def __init__(self, observers: list[Observer], version: int) -> None:
        self.seconds: list[float] = []
        self.refused: list[str] = []
        self._observers = observers
        self._version = version
        self._dear = False

    async def once(self) -> None:
        self._dear = not self._dear
        dear = self._dear
        for observer in self._observers:
            observer.expect()
        began = time.perf_counter()
        usd = DEAR if dear else CHEAP
        writing = asyncio.create_task(admin.set_price(self._observers[0].router, OF, usd, expected=self._version))
        seen = await asyncio.gather(
            *(observer.decides(lambda backend: (backend != OF) is dear) for observer in self._observers),
            return_exceptions=True,
        )
        written = await writing
        if written.reason:
            self.refused.append(written.reason)
            self._version = await admin.price_version(self._observers[0].router, OF)
            return
        self._version = written.version
        late = [error for error in seen if isinstance(error, BaseException)]
        if late:
            self.refused.append(f"{len(late)} replicas did not decide by it within {SEEN_LIMIT_S:g} s")
            return
        self.seconds.append(max(at for at in seen if isinstance(at, float)) - began)


@asynccontextmanager
async def watched(lab: Lab, count: int) -> AsyncGenerator[tuple[list[Router], Changes]]:
    """So many replicas on one store, each under watch."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone())
        # The others cost the same, so that requests spread over them when this one is dear.
        site = Site.build(lab, upstream, prices=(CHEAP, 90.0, 90.0, 90.0))
        replicas = await stack.enter_async_context(Replicas(site, store.url))
        for n in range(count):
            lab.say(f"replica {n + 1} of {count}")
            await replicas.start(f"r{n}")
        observers = [await stack.enter_async_context(Observer(router).watching()) for router in replicas.all]
        yield replicas.all, Changes(observers, await admin.price_version(replicas["r0"], OF))


async def run_alone(lab: Lab, findings: Findings) -> None:
    count = lab.pick(1_000, 100)
    async with watched(lab, REPLICAS) as (_, changes):
        for n in range(count):
            if n % 250 == 0:
                lab.say(f"price change {n} of {count}")
            await changes.once()
    findings.times_ms(f"last of {REPLICAS} replicas decides by it", changes.seconds, p99=50.0)
    findings.none("changes that were refused or not seen", changes.refused, of=count)
    findings.note("from sending the call to the last replica's answer by the new price, that question's way included")


async def run_under_load(lab: Lab, findings: Findings) -> None:
    count = lab.pick(1_000, 100)
    failed: list[str] = []

    def answered(status: int, body: bytes, _at: float) -> None:
        if status != 200:
            failed.append(f"HTTP {status}: {body[:200]!r}")

    async with watched(lab, LOADED_REPLICAS) as (routers, changes):
        traffic = Traffic(routers, rate=OVER_GRPC, tokens=1)
        windows: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        async with AsyncExitStack() as load:
            await load.enter_async_context(traffic.running())
            each = (RATE - OVER_GRPC) / len(routers)
            web = [await load.enter_async_context(WebLoad(router, each, answered).running()) for router in routers]
            await asyncio.sleep(2.0)  # connections and caches
            made, changing = 0, False
            while made < count:
                began = time.perf_counter()
                lab.say(f"{RATE:g} requests/s, {'changing prices' if changing else 'quiet'}: {made} of {count} changes")
                while time.perf_counter() < began + WINDOW_S:
                    due = time.perf_counter() + 1.0 / CHANGES_PER_S
                    if changing and made < count:
                        await changes.once()
                        made += 1
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                windows[changing].append((began, time.perf_counter()))
                changing = not changing
    sent = traffic.sent + sum(one.sent for one in web)
    times = {kind: decision_times(traffic, spans) for kind, spans in windows.items()}
    quiet, busy = times[False], times[True]
    findings.times_ms(f"last of {LOADED_REPLICAS} replicas decides by it", changes.seconds, p99=50.0)
    findings.none("changes that were refused or not seen", changes.refused, of=count)
    findings.none("requests that failed", [*traffic.failed, *failed], of=sent)
    ratio = quantile(busy, 0.99) / quantile(quiet, 0.99)
    findings.holds(
        "p99 decision time, windows with changes over windows without",
        f"{ratio:.2f} ({1e6 * quantile(busy, 0.99):.0f} over {1e6 * quantile(quiet, 0.99):.0f} us, "
        f"n {len(busy):,} and {len(quiet):,})",
        reached=ratio <= 1.10,
        bound="<= 1.10",
        timed=True,
    )
    findings.figure(
        "p50 decision time, with and without changes",
        f"{1e6 * quantile(busy, 0.5):.0f} and {1e6 * quantile(quiet, 0.5):.0f} us",
    )
    findings.figure("requests sent late by the load generator, at most", f"{1e3 * traffic.late_s:.0f} ms")
    findings.note(
        f"{CHANGES_PER_S:g} changes a second in every other window of {WINDOW_S:g} s; decision times are what each "
        f"of the {OVER_GRPC:g} requests/s over gRPC is told, on the router's clock: a pause of the machine is in them"
    )
    findings.figure("of the requests over HTTP, not sent: all connections busy", f"{sum(one.skipped for one in web):,}")
    findings.note(
        f"{LOADED_REPLICAS} replicas: two cores do not carry {REPLICAS} of them with this load and its generator"
    )


def decision_times(traffic: Traffic, spans: list[tuple[float, float]]) -> list[float]:
    return [one.decision_s for one in traffic.served if any(a <= one.began < b for a, b in spans)]


ROWS = (
    Row(
        name="price-change",
        title="admin price change to last of 8 replicas using it",
        does="changes a price on one of 8 replicas until all decide by it, again and again",
        run=run_alone,
    ),
    Row(
        name="price-change-load",
        title=f"the same while {RATE:g} requests/s are served",
        does="the same with requests on all replicas, in windows with and without changes",
        run=run_under_load,
    ),
)
