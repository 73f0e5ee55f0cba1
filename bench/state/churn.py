"""A fleet that never stands still: prices change, backends come, change, are drained and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from bench.state import admin
from bench.state.site import Router
from router.v1 import admin_pb2 as pb

PRICE_EVERY_S = 0.25
FLEET_EVERY_S = 0.5
COMES_AND_GOES = "passing"


@dataclass(slots=True)
class Churn:
    """What was changed, and what was refused; both by name of the change."""

    router: Router
    like: str = "b-1"
    priced: str = "b-0"
    done: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Churn]:
        tasks = [asyncio.create_task(self._prices()), asyncio.create_task(self._fleet())]
        try:
            yield self
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _prices(self) -> None:
        n = 0
        while True:
            n += 1
            expected = await admin.price_version(self.router, self.priced)
            answer = await admin.set_price(self.router, self.priced, 0.1 + 0.001 * (n % 100), expected=expected)
            self._count("price", answer.reason)
            await asyncio.sleep(PRICE_EVERY_S)

    async def _fleet(self) -> None:
        """Registers a backend, moves it, drains it, takes that back, removes it; each step changes every replica."""
        api = self.router.admin
        while True:
            try:
                spec = (await api.GetBackend(pb.GetBackendRequest(id=self.like))).backend.spec
                spec.id = COMES_AND_GOES
                backend = (await api.RegisterBackend(pb.RegisterBackendRequest(spec=spec))).backend
                await self._step("register")
                spec.region = "eu-2"
                request = pb.UpdateBackendRequest(spec=spec, expected_version=backend.version)
                backend = (await api.UpdateBackend(request)).backend
                await self._step("update")
                drain = pb.DrainBackendRequest(id=spec.id, expected_version=backend.version)
                backend = (await api.DrainBackend(drain)).backend
                await self._step("drain")
                undrain = pb.UndrainBackendRequest(id=spec.id, expected_version=backend.version)
                backend = (await api.UndrainBackend(undrain)).backend
                await self._step("undrain")
                await api.RemoveBackend(pb.RemoveBackendRequest(id=spec.id, expected_version=backend.version))
                await self._step("remove")
            except grpc.aio.AioRpcError as error:
                self._count("fleet", admin.reason_of(error))
                await asyncio.sleep(FLEET_EVERY_S)

    async def _step(self, what: str) -> None:
        self._count(what, "")
        await asyncio.sleep(FLEET_EVERY_S)

    def _count(self, what: str, reason: str) -> None:
        if reason:
            self.refused.append(f"{what}: {reason}")
        else:
            self.done[what] += 1
