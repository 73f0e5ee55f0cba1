"""The store dies, freezes, becomes slow or is cut off under traffic: nobody who asks the routers notices.

Method. Two replicas serve a steady stream of requests; meanwhile an operator tries to change a price on each, again and
again. A replica has noticed when its `readyz` no longer says that the store is connected; from then on it must refuse
at once. What callers were billed is added up and held against what the routers have accounted when the store is back.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from bench.figures import quantile
from bench.state import accounting, admin
from bench.state.lab import Lab
from bench.state.row import Findings, Row
from bench.state.site import Replicas, Router, Site
from bench.state.traffic import Traffic
from simulation.stores import StoreServer, start_standalone
from simulation.tcp_proxy import TcpProxy

RATE = 50.0
BEFORE_S = 3.0
AFTER_S = 3.0
TRY_EVERY_S = 0.2
BACK_LIMIT_S = 15.0
DECIDES_LIMIT_S = 5.0
AT_ONCE_MS = 50.0
CHEAP, DEAR = 0.1, 1000.0
REFUSED = "STORE_UNAVAILABLE"


@dataclass(slots=True)
class Wire:
    """The store and the way to it."""

    store: StoreServer
    proxy: TcpProxy


Fault = Callable[[Wire], Awaitable[None]]


@dataclass(slots=True)
class Operator:
    """Tries to change a price on one replica; what came of it."""

    router: Router
    first: admin.Attempted | None = None
    known: list[admin.Attempted] = field(default_factory=list)
    before_known: list[admin.Attempted] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    not_ready: int = 0

    async def keep_trying(self) -> None:
        while True:
            due = time.perf_counter() + TRY_EVERY_S
            state = await self.router.readyz()
            self.states[str(state["store"])] += 1
            self.not_ready += state["ready"] is not True
            # A version that is never right: should the store answer after all, it refuses and nothing changes.
            tried = await admin.set_price(self.router, "b-0", DEAR, expected=1 << 40)
            self.first = self.first or tried
            (self.before_known if state["store"] == "connected" else self.known).append(tried)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


@asynccontextmanager
async def two_replicas(lab: Lab) -> AsyncGenerator[tuple[Wire, Replicas]]:
    """On a store that keeps what it acknowledged, also when it is killed; they reach it through a wire of ours."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone(aof=True))
        proxy = await stack.enter_async_context(TcpProxy(store.port))
        site = Site.build(lab, upstream, prices=(CHEAP, 90.0, 90.0))
        replicas = await stack.enter_async_context(Replicas(site, proxy.url))
        for name in ("a", "b"):
            await replicas.start(name)
        yield Wire(store, proxy), replicas


async def connected(replicas: Replicas) -> float:
    """Seconds until every replica says that its store is connected."""
    began = time.monotonic()
    async with asyncio.timeout(BACK_LIMIT_S):
        for router in replicas.all:
            await admin.until(router.readyz, lambda state: state["store"] == "connected", pause_s=0.01)
    return time.monotonic() - began


async def run(lab: Lab, findings: Findings, *, harm: Fault, mend: Fault) -> None:
    seconds = lab.pick(60, 8)
    async with two_replicas(lab) as (wire, replicas):
        a, b = replicas.all
        traffic = Traffic(replicas.all, rate=RATE)
        operators = [Operator(router) for router in replicas.all]
        async with traffic.running():
            await asyncio.sleep(BEFORE_S)
            lab.say(f"store away for {seconds} s")
            await harm(wire)
            away = time.perf_counter()
            trying = [asyncio.create_task(operator.keep_trying()) for operator in operators]
            done, _ = await asyncio.wait(trying, timeout=seconds)
            for task in trying:
                task.cancel()
            await asyncio.gather(*trying, return_exceptions=True)
            for task in done:
                task.result()
            lab.say("store back")
            back = time.perf_counter()
            await mend(wire)
            back_s = await connected(replicas)
            written = await admin.set_price(a, "b-0", DEAR, expected=await admin.price_version(a, "b-0"))
            began = time.perf_counter()
            async with asyncio.timeout(DECIDES_LIMIT_S):
                await admin.until(lambda: admin.chosen(b), lambda backend: backend != "b-0")
            decides_s = time.perf_counter() - began
            await asyncio.sleep(AFTER_S)
        during = [one.took_s for one in traffic.served if away <= one.began < back]
        quiet = [one.took_s for one in traffic.served if one.began < away]
        findings.figure("the store was away for", f"{back - away:.0f} s")
        findings.none("requests that failed", traffic.failed, of=traffic.sent)
        findings.figure(
            "p99 of a request, while away and before",
            f"{1e3 * quantile(during, 0.99):.1f} and {1e3 * quantile(quiet, 0.99):.1f} ms",
        )
        _admin_facts(findings, operators)
        await accounting.check(findings, a, traffic.bill)
        findings.holds(
            "a price written after it decides on the other replica",
            written.reason or f"{1e3 * decides_s:.0f} ms after the answer",
            reached=not written.reason,
        )
        findings.figure("all replicas connected again after", f"{back_s:.2f} s")


def _admin_facts(findings: Findings, operators: list[Operator]) -> None:
    known = [tried for operator in operators for tried in operator.known]
    before = [tried for operator in operators for tried in operator.before_known]
    wrong = [tried.reason or "acknowledged" for tried in (*known, *before) if tried.reason != REFUSED]
    findings.none("admin calls not answered UNAVAILABLE", wrong, of=len(known) + len(before))
    findings.below(
        "slowest admin call once the outage was known",
        1e3 * max((tried.took_s for tried in known), default=float("inf")),
        AT_ONCE_MS,
        "ms",
    )
    first = [tried.took_s for operator in operators if (tried := operator.first) is not None]
    findings.figure("first admin call, outage not yet known", f"{1e3 * max(first, default=0.0):.0f} ms")
    states = sum((operator.states for operator in operators), Counter[str]())
    findings.none("readyz that said not ready", ["not ready"] * sum(o.not_ready for o in operators))
    findings.figure("readyz said the store is", ", ".join(f"{name} {n}x" for name, n in states.most_common()))


async def _kill(wire: Wire) -> None:
    await wire.store.kill()


async def _start(wire: Wire) -> None:
    await wire.store.start()


async def _freeze(wire: Wire) -> None:
    wire.store.freeze()


async def _thaw(wire: Wire) -> None:
    wire.store.thaw()


async def _slow(wire: Wire) -> None:
    wire.proxy.delay_s = 2.0


async def _fast(wire: Wire) -> None:
    wire.proxy.delay_s = 0.0


async def _swallow(wire: Wire) -> None:
    wire.proxy.black_hole = True


async def _pass(wire: Wire) -> None:
    wire.proxy.black_hole = False


def _row(name: str, title: str, does: str, *, harm: Fault, mend: Fault) -> Row:
    async def measure(lab: Lab, findings: Findings) -> None:
        await run(lab, findings, harm=harm, mend=mend)

    return Row(name=name, title=title, does=does, run=measure)


ROWS = (
    _row(
        "store-killed",
        "Valkey killed -9 under traffic, then back",
        "kills the store under traffic, starts it again, checks requests, refusals and accounts",
        harm=_kill,
        mend=_start,
    ),
    _row("store-frozen", "Valkey frozen (SIGSTOP)", "the same, frozen", harm=_freeze, mend=_thaw),
    _row("store-slow", "replies of Valkey delayed 2 s", "the same, with replies 2 s late", harm=_slow, mend=_fast),
    _row("store-cut-off", "connection to Valkey black-holed", "the same, cut off", harm=_swallow, mend=_pass),
)
