"""Ten thousand backends and a hundred tenants: starting, taking over a change, and memory.

Method. The store is filled once. A router without any fleet of its own is started on it; the clock runs from the
process's start until it says that it serves, which it says when it has the fleet. Taking over a change is measured from
outside, as the time that the replica answers nobody: one connection asks `/healthz` without pause while another replica
changes prices, and the longest silence around each change is what the swap took at most.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from bench.figures import quantile
from bench.load_http import Connection
from bench.machine import rss_bytes
from bench.state import admin
from bench.state.lab import Lab
from bench.state.row import Findings, Row
from bench.state.site import MODEL, Replicas, Router, Site
from router.domain.fleet import Backend, ServedModel
from router.domain.pricing import Price, book_of
from router.domain.tenant import ApiKey, Limits, Tenant
from router.state.store import SeedDocuments, ValkeyStore
from simulation.stores import start_standalone

BACKENDS = 10_000
TENANTS = 100
START_LIMIT_S = 5.0
SWAP_LIMIT_MS = 50.0
SETTLE_S = 4.0
MB = 1e6


def documents() -> SeedDocuments:
    """Backends of which one in a hundred serves the model that rows ask for, with a price each; and tenants."""
    backends = tuple(
        Backend(
            id=f"b-{n}",
            wire="scripted",
            profile="generic",
            address=f"http://10.0.{n // 250}.{n % 250}:8000",
            models=(ServedModel(model=MODEL if n % 100 == 0 else f"other-{n % 100}"),),
            hardware="h100-sxm-80",
            region="eu-1",
            max_concurrency=64,
        )
        for n in range(BACKENDS)
    )
    prices = tuple(
        book_of(Price(backend=f"b-{n}", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)) for n in range(BACKENDS)
    )
    tenants = tuple(
        Tenant(
            id=f"t-{n}",
            keys=(ApiKey(id=f"k-{n}", sha256=f"{n:064x}"),),
            limits=Limits(requests_per_s=100.0, usd_per_day=10.0),
        )
        for n in range(TENANTS)
    )
    return SeedDocuments(backends=backends, prices=prices, tenants=tenants)


async def run(lab: Lab, findings: Findings) -> None:
    changes = lab.pick(100, 20)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(start_standalone())
        lab.say("filling the store")
        filling = ValkeyStore.connect(store.url)
        await filling.seed(documents(), actor="benchmark")
        await filling.aclose()
        site = Site.build(
            lab, "127.0.0.1:9", prices=(), files={"fleet.yaml": "backends: {}\n", "prices.yaml": "prices: []\n"}
        )
        replicas = await stack.enter_async_context(Replicas(site, store.url))
        starts = []
        for name in ("a", "b"):
            lab.say(f"starting {name}")
            began = time.perf_counter()
            await replicas.start(name)
            starts.append(time.perf_counter() - began)
            state = await replicas[name].readyz()
            findings.equal(f"backends of {name} when it serves", state["backends"], BACKENDS)
        await asyncio.sleep(SETTLE_S)
        lab.say(f"{changes} price changes")
        refused: list[str] = []
        stalls, usual = await stalls_of(replicas["a"], replicas["b"], changes, refused)
        memory = rss_bytes([replicas["b"].child.pid]) / MB
        store_memory = rss_bytes([store.pid]) / MB
    findings.below("slowest start, process to serving", max(starts), START_LIMIT_S, "s")
    findings.none("price changes refused", refused, of=changes)
    findings.times_ms("silence at a price change", stalls, p99=SWAP_LIMIT_MS)
    findings.figure(
        "silence without a change, p50 and p99",
        f"{1e3 * quantile(usual, 0.5):.1f} and {1e3 * quantile(usual, 0.99):.1f} ms",
    )
    findings.figure("RSS of a replica", f"{memory:.0f} MB")
    findings.figure("RSS of Valkey", f"{store_memory:.0f} MB")
    findings.note(
        "the fleet is in the store, as after the first start of all; backends are of the kind that needs no wire"
    )


async def stalls_of(writer: Router, asked: Router, changes: int, refused: list[str]) -> tuple[list[float], list[float]]:
    """The longest silence around each change, and the silences when nothing changes."""
    gaps: list[tuple[float, float]] = []
    asking = asyncio.create_task(_ask(asked, gaps))
    stalls, spans = [], []
    version = await admin.price_version(writer, "b-0")
    try:
        for n in range(changes):
            began = time.perf_counter()
            written = await admin.set_price(writer, "b-0", 1.0 + 0.001 * n, expected=version)
            if written.reason:
                refused.append(written.reason)
                version = await admin.price_version(writer, "b-0")
                continue
            version = written.version
            await asyncio.sleep(0.15)
            ended = time.perf_counter()
            spans.append((began, ended))
            stalls.append(max((took for at, took in gaps if began <= at <= ended), default=float("inf")))
            await asyncio.sleep(0.1)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    usual = [took for at, took in gaps if not any(began <= at <= ended for began, ended in spans)]
    return stalls, usual


async def _ask(router: Router, gaps: list[tuple[float, float]]) -> None:
    """One question after another; how long each answer took, and when it came."""
    host, _, port = router.http.rpartition(":")
    _, lane = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    request = f"GET /healthz HTTP/1.1\r\nhost: {router.http}\r\n\r\n".encode()
    try:
        while True:
            began = time.perf_counter()
            await lane.ask(request)
            now = time.perf_counter()
            gaps.append((now, now - began))
            await asyncio.sleep(0.001)
    finally:
        lane.transport.close()


ROWS = (
    Row(
        name="scale",
        title="10,000 backends, 100 tenants",
        does="starts replicas on a large fleet and changes a price in it",
        run=run,
    ),
)
