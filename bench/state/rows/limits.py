"""A tenant's rate limit over four replicas: never overrun by more than is stated, and no replica starves.

Method. A tenant may send 1,000 requests a second; over HTTP its key asks four replicas for 1,600 a second, first all
alike, then one of them little and the others much. The bound is the one that `router/resilience/tenant_gate.py` states:
in any time T at most rate * T + burst + replicas * slice. It is held against the whole run and against every second in
it. An answer counts when it comes, so what is on its way at the edges of a second may count in the next one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.state.lab import Lab
from bench.state.row import Findings, Row
from bench.state.site import Replicas, Router, Site
from bench.state.web import WebLoad
from router.v1 import tenants_pb2 as pb
from simulation.stores import start_standalone

REPLICAS = 4
RATE = 1_000.0
BURST_S = 0.5
SLICE = max(1.0, RATE * 0.1 / REPLICAS)
EVEN = (400.0, 400.0, 400.0, 400.0)
UNEVEN = (100.0, 500.0, 500.0, 500.0)
WARM_S = 1.5
FAIR_SHARE = 0.8
USED_SHARE = 0.95


def bound(seconds: float) -> float:
    """How many may be admitted in this time at most."""
    return RATE * seconds + RATE * BURST_S + REPLICAS * SLICE


@dataclass(slots=True)
class Asked:
    """What became of the requests to one replica: when each was admitted or refused."""

    offered: float
    admitted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    skipped: int = 0

    def answered(self, status: int, body: bytes, at: float) -> None:
        if status == 200:
            self.admitted.append(at)
        elif status == 429 and b"TENANT_LIMITED" in body:
            self.refused.append(at)
        else:
            self.wrong[f"{status} {body[:200]!r}"] += 1

    def admitted_in(self, began: float, ended: float) -> int:
        return bisect_right(self.admitted, ended) - bisect_right(self.admitted, began)

    def refused_in(self, began: float, ended: float) -> int:
        return bisect_right(self.refused, ended) - bisect_right(self.refused, began)


async def tenant(router: Router) -> str:
    """A tenant with that limit, and the text of its key."""
    spec = pb.TenantSpec(id="limited", limits=pb.TenantLimits(requests_per_s=RATE, burst_s=BURST_S))
    written = await router.tenants.PutTenant(pb.PutTenantRequest(spec=spec))
    request = pb.CreateKeyRequest(tenant="limited", expected_version=written.tenant.version)
    return str((await router.tenants.CreateKey(request)).text)


async def run(lab: Lab, findings: Findings) -> None:
    seconds = lab.pick(20, 5)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(lab.upstream())
        store = await stack.enter_async_context(start_standalone())
        replicas = await stack.enter_async_context(Replicas(Site.build(lab, upstream), store.url))
        for n in range(REPLICAS):
            await replicas.start(f"r{n}")
        key = await tenant(replicas["r0"])
        for name, offered in (("even", EVEN), ("uneven", UNEVEN)):
            lab.say(f"{name}: {', '.join(f'{rate:g}' for rate in offered)} requests/s for {seconds} s")
            asked = [Asked(rate) for rate in offered]
            # A pause, so that each phase begins with all that may be saved up.
            await asyncio.sleep(1.0)
            async with AsyncExitStack() as sending:
                loads = [
                    await sending.enter_async_context(WebLoad(router, one.offered, one.answered, key).running())
                    for router, one in zip(replicas.all, asked, strict=True)
                ]
                await asyncio.sleep(WARM_S + seconds)
            for one, load in zip(asked, loads, strict=True):
                one.skipped = load.skipped
            _judge(findings, name, asked)
    findings.note(
        f"limit {RATE:g}/s, burst {RATE * BURST_S:g}, slice {SLICE:g} of each replica; shares are counted after the "
        f"first {WARM_S:g} s, overruns from the first request on"
    )


def _judge(findings: Findings, name: str, asked: list[Asked]) -> None:
    admitted = sorted(at for one in asked for at in one.admitted)
    if not admitted:
        findings.holds(f"{name}: requests admitted", "none", reached=False, bound="some")
        return
    first, last = admitted[0], admitted[-1]
    whole = bound(last - first)
    findings.holds(
        f"{name}: admitted in {last - first:.1f} s", f"{len(admitted):,}",
        reached=len(admitted) <= whole, bound=f"<= {whole:,.0f}",
    )  # fmt: skip
    most = max(bisect_right(admitted, at + 1.0) - n for n, at in enumerate(admitted))
    findings.holds(
        f"{name}: admitted in any second", f"{most:,}", reached=most <= bound(1.0), bound=f"<= {bound(1.0):,.0f}"
    )
    began = first + WARM_S
    shares = [(one, one.admitted_in(began, last) / (last - began)) for one in asked]
    used = sum(share for _, share in shares)
    tried = used + sum(one.refused_in(began, last) for one in asked) / (last - began)
    findings.holds(
        f"{name}: of the limit is used, {tried:,.0f}/s asked", f"{used:,.0f}/s",
        reached=used >= USED_SHARE * RATE, bound=f">= {USED_SHARE * RATE:,.0f}/s", timed=True,
    )  # fmt: skip
    for n, (one, share) in enumerate(shares):
        least = FAIR_SHARE * min(one.offered, RATE / REPLICAS)
        findings.holds(
            f"{name}: replica {n}, asked {one.offered:g}/s", f"{share:.0f}/s",
            reached=share >= least, bound=f">= {least:g}/s", timed=True,
        )  # fmt: skip
    findings.none(f"{name}: other answers", [text for one in asked for text in one.wrong])
    if skipped := sum(one.skipped for one in asked):
        findings.figure(f"{name}: not sent, all connections busy", f"{skipped:,}")


ROWS = (
    Row(
        name="rate-limit",
        title="rate limit of 1,000/s over 4 replicas",
        does="a tenant asks four replicas for more than it may",
        run=run,
    ),
)
