"""Whether what the routers have accounted is what their callers were billed."""

from __future__ import annotations

import asyncio
import time

import grpc
import grpc.aio

from bench.state.row import Findings
from bench.state.site import Router
from bench.state.traffic import Bill
from router.v1 import usage_pb2 as pb

EXACT_WITHIN_S = 15.0
ASK_EVERY_S = 0.25


async def accounted(router: Router) -> Bill:
    """Everything of this day, as this replica lists it."""
    bill = Bill()
    async for page in router.usage.ListUsage(pb.ListUsageRequest(), timeout=10.0):
        for row in page.rows:
            bill.requests[row.backend] += row.requests
            bill.input_tokens[row.backend] += row.input_tokens
            bill.output_tokens[row.backend] += row.output_tokens
            bill.cost_nano_usd[row.backend] += row.cost_nano_usd
    return bill


async def check(findings: Findings, router: Router, billed: Bill) -> None:
    """Waits until all replicas have handed in what they counted, but not for ever; then it must be exact."""
    what = "accounted, against what callers were billed"
    began = time.monotonic()
    found = Bill()
    while time.monotonic() - began < EXACT_WITHIN_S:
        try:
            found = await accounted(router)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                findings.holds(what, "UsageService is not built yet", reached=False, bound="exact")
                return
            found = Bill()
        if found == billed:
            break
        await asyncio.sleep(ASK_EVERY_S)
    got = f"{found.total}, billed: {billed.total}"
    if found == billed:
        got = f"{billed.total}; {time.monotonic() - began:.1f} s after the last answer"
    findings.holds(what, got, reached=found == billed, bound="exact")
