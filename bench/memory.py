"""A fresh gateway: what it uses when nobody asks it anything, and its memory after many requests."""

from __future__ import annotations

import asyncio
import time

from bench.figures import ROUTER, Figure, Section
from bench.gateways import Gateway
from bench.lab import Lab, LoadFailed
from bench.load_job import Job
from bench.machine import cpu_us, rss_bytes

STREAMS = 32
FIRST = 1_000
MANY = 100_000
MANY_QUICK = 10_000
MB = 1e6
SETTLE_S = 2.0  # after starting
IDLE_S = 8.0
IDLE_QUICK_S = 2.0
AT_ONCE = 20_000


async def measure(lab: Lab, gateways: dict[str, Gateway]) -> Section:
    """Fresh gateways by subject. The router is asked very often; the others, which are slower, only the first time."""
    many = MANY_QUICK if lab.quick else MANY
    start = Figure("rss_start", "RSS when it serves", "MB")
    first = Figure("rss_1k", f"RSS after {FIRST:,} requests", "MB")
    last = Figure("rss_many", f"RSS after {many:,} requests", "MB")
    growth = Figure("rss_growth", f"growth from {FIRST:,} to {many:,} requests", "bytes a request")
    store = Figure("rss_store", "RSS of the embedded Valkey at the end", "MB")
    idle = Figure("idle_cpu", "CPU when idle, probes of 4 backends included", "ms a second")
    figures = [idle, start, first, last, growth, store]
    section = Section("memory", "At rest, and memory", tuple(gateways), figures)
    await _rest(lab, gateways, idle)
    for subject, gateway in gateways.items():
        start.add(subject, rss_bytes(gateway.pids) / MB)
        lab.progress.step(f"memory: {FIRST:,} requests to {subject}")
        try:
            await _send(lab, gateway, FIRST)
        except LoadFailed as failure:
            section.fail(subject, " under load", failure)
            continue
        first.add(subject, rss_bytes(gateway.pids) / MB)
    if ROUTER in section.failed:
        return section
    gateway = gateways[ROUTER]
    before = rss_bytes(gateway.pids)
    sent = FIRST
    while sent < many:
        lab.progress.step(f"memory: {sent:,} of {many:,} requests to {ROUTER}")
        sent += await _send(lab, gateway, min(AT_ONCE, many - sent))
    after = rss_bytes(gateway.pids)
    last.add(ROUTER, after / MB)
    growth.add(ROUTER, (after - before) / (many - FIRST))
    store.add(ROUTER, rss_bytes(gateway.store_pids) / MB)
    section.notes.append("Requests over HTTP, not streamed, 32 at a time.")
    return section


async def _rest(lab: Lab, gateways: dict[str, Gateway], idle: Figure) -> None:
    """All gateways at once, because none of them has anything to do."""
    seconds = IDLE_QUICK_S if lab.quick else IDLE_S
    lab.progress.step(f"at rest for {SETTLE_S + seconds:.0f} s")
    await asyncio.sleep(SETTLE_S)
    before = {subject: cpu_us(gateway.pids) for subject, gateway in gateways.items()}
    started = time.monotonic()
    await asyncio.sleep(seconds)
    spent_s = time.monotonic() - started
    for subject, gateway in gateways.items():
        idle.add(subject, (cpu_us(gateway.pids) - before[subject]) / 1e3 / spent_s)


async def _send(lab: Lab, gateway: Gateway, requests: int) -> int:
    each = -(-requests // STREAMS)
    done = await lab.job(Job(face="http", address=gateway.http, streams=STREAMS, requests=each, stream=False))
    return done.requests
