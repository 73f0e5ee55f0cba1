"""Memory over very many requests while prices and the fleet change all the time.

Method. Two replicas on one store are asked in turn, most requests over HTTP and not streamed (the cheapest whole path:
decision, upstream, accounting), some as `Generate`, some as `Pick` with its `Report`. After each batch the resident
memory of every replica is read. What it was when the warm-up had just ended, in which each face was asked of
each replica, is held against what it is at the end.
"""

from __future__ import annotations

import statistics
import time
from contextlib import AsyncExitStack

from bench.load import run as run_job
from bench.load_job import Face, Job
from bench.machine import rss_bytes
from bench.state.churn import Churn
from bench.state.lab import Lab
from bench.state.row import Findings, Row
from bench.state.site import Replicas, Router, Site
from simulation.stores import start_standalone

STREAMS = 32
OPEN_PICKS = 2_000
# Of each ten batches: over HTTP, as Generate, as Pick and Report.
FACES: tuple[Face, ...] = ("generate", "pick") + ("http",) * 8
SAMPLES = 3
FLAT = 0.05
MB = 1e6


async def run(lab: Lab, findings: Findings) -> None:
    total, batch, warm = lab.pick(2_000_000, 30_000), lab.pick(20_000, 500), lab.pick(400_000, 15_000)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone())
        replicas = await stack.enter_async_context(Replicas(Site.build(lab, upstream), store.url))
        for name in ("a", "b"):
            await replicas.start(name)
        churn = await stack.enter_async_context(Churn(replicas["a"]).running())
        began, sent = time.monotonic(), 0
        memory: dict[str, list[tuple[int, float]]] = {router.name: [] for router in replicas.all}
        for n in range(-(-total // batch)):
            if n % max(1, total // batch // 20) == 0:
                lab.say(f"{sent:,} of {total:,} requests, {_now(memory)}")
            sent += await _send(replicas.all[n % 2], FACES[n // 2 % len(FACES)], batch)
            for router in replicas.all:
                await router.web.get("/metrics")
                memory[router.name].append((sent, rss_bytes([router.child.pid]) / MB))
        seconds = time.monotonic() - began
        findings.figure("requests", f"{sent:,} in {seconds:.0f} s, {sent / seconds:,.0f}/s, none failed")
        changes = ", ".join(f"{count:,} x {name}" for name, count in churn.done.most_common())
        findings.holds("changes meanwhile", changes or "none", reached=bool(changes), bound="some")
        findings.none("changes that were refused", churn.refused)
        for name, samples in memory.items():
            _flat(findings, name, samples, warm=warm)
        findings.figure("RSS of Valkey at the end", f"{rss_bytes([store.pid]) / MB:.1f} MB")


async def _send(router: Router, face: Face, count: int) -> int:
    """A batch; a request that fails fails the row."""
    address = router.http if face == "http" else router.grpc
    # Picks are reported when all of a job are made, and a replica holds no more of them than it would serve at once.
    most = OPEN_PICKS if face == "pick" else count
    sent = 0
    while sent < count:
        each = -(-min(most, count - sent) // STREAMS)
        job = Job(face=face, address=address, streams=STREAMS, requests=each, stream=False)
        sent += (await run_job(job)).requests
    return sent


def _flat(findings: Findings, name: str, samples: list[tuple[int, float]], *, warm: int) -> None:
    after = [megabytes for sent, megabytes in samples if sent >= warm]
    first, last = statistics.median(after[:SAMPLES]), statistics.median(after[-SAMPLES:])
    growth = last / first - 1.0
    findings.holds(
        f"RSS of {name}, growth after the warm-up",
        f"{growth:+.1%} ({first:.1f} to {last:.1f} MB, at most {max(after):.1f})",
        reached=growth < FLAT,
        bound=f"< {FLAT:.0%}",
    )


def _now(memory: dict[str, list[tuple[int, float]]]) -> str:
    return ", ".join(f"{name} {samples[-1][1]:.1f} MB" for name, samples in memory.items() if samples)


ROWS = (
    Row(
        name="soak",
        title="soak: 2 million requests with price and fleet churn",
        does="sends very many requests while prices and the fleet change, and watches memory",
        run=run,
    ),
)
