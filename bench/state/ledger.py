"""Operators who write without pause, a ledger of what was acknowledged, and a witness who looks for holes in the fleet.

Each operator owns one backend and sets its price to the next number, again and again, at one replica after the other. A
number is never used twice, so what a replica lists says which writes it has. What was acknowledged must be there at
the end, or a later one. A write without an answer may be there or not.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from bench.state import admin
from bench.state.row import Findings
from bench.state.site import Router
from router.v1 import admin_pb2 as pb

# Prices stay near each other, so that traffic goes on spreading over all backends.
BASE_USD = 1.0
STEP_USD = 1e-6
PAUSE_S = 0.01
LOOK_EVERY_S = 0.01


def usd(number: int) -> float:
    return BASE_USD + STEP_USD * number


def number(price_usd: float) -> int:
    return round((price_usd - BASE_USD) / STEP_USD)


@dataclass(slots=True)
class Ledger:
    """Of each backend the last number that was acknowledged, and how the writes went."""

    last: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def writing(self, routers: Sequence[Router], backends: Sequence[str]) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self._operator(routers, name)) for name in backends]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _operator(self, routers: Sequence[Router], backend: str) -> None:
        version = await admin.price_version(routers[0], backend)
        for n in range(1, 1 << 60):
            router = routers[n % len(routers)]
            self.tried += 1
            answer = await admin.set_price(router, backend, usd(n), expected=version)
            if answer.reason:
                self.refused[answer.reason] += 1
                await asyncio.sleep(PAUSE_S * 5)
                version = await admin.price_version(router, backend)
            else:
                self.acknowledged += 1
                self.last[backend], version = n, answer.version
            await asyncio.sleep(PAUSE_S)

    async def missing(self, routers: Sequence[Router]) -> list[str]:
        """Acknowledged writes that a replica does not have."""
        found = []
        for router in routers:
            listed = await router.admin.ListPrices(pb.ListPricesRequest(), timeout=admin.CALL_LIMIT_S)
            has = {e.price.backend: number(e.price.input_usd_per_mtok) for e in listed.prices if not e.price.model}
            found += [
                f"{backend} on {router.name}: number {has.get(backend)}, acknowledged: {last}"
                for backend, last in self.last.items()
                if has.get(backend, -1) < last
            ]
        return found

    def tell(self, findings: Findings) -> None:
        refusals = ", ".join(f"{reason} {count}x" for reason, count in self.refused.most_common())
        findings.figure(
            "price writes acknowledged", f"{self.acknowledged:,} of {self.tried:,}; refused: {refusals or 'none'}"
        )


@dataclass(slots=True)
class Witness:
    """Looks at the fleet of each replica again and again."""

    backends: int
    looks: int = 0
    holes: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def watching(self, routers: Sequence[Router]) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self._watch(router)) for router in routers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, router: Router) -> None:
        while True:
            due = time.perf_counter() + LOOK_EVERY_S
            try:
                listed = await router.admin.ListBackends(pb.ListBackendsRequest(), timeout=admin.CALL_LIMIT_S)
                self.looks += 1
                if len(listed.backends) != self.backends:
                    self.holes.append(f"{router.name}: {len(listed.backends)} of {self.backends} backends")
                if self.looks % 5 == 0 and not await admin.chosen(router):
                    self.holes.append(f"{router.name}: nobody to choose")
            except grpc.aio.AioRpcError as error:
                self.holes.append(f"{router.name}: {error.code().name} {error.details()}")
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
