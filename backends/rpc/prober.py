"""How a gRPC server is: its family's own question whether it lives, and its load where its metrics may be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import grpc.aio
import httpx

from backends.authorise import KeyAuthoriser
from backends.contract import LoadReport
from backends.dialect import Dialect
from backends.errors import BackendError, UpstreamFault, Warming
from backends.probing.fetch import fetch
from backends.probing.metrics_text import EngineLoad, read_load
from backends.rpc.failures import from_status


class Questions(Protocol):
    """What a family's server is asked; both raise grpc.aio.AioRpcError and BackendError."""

    async def alive(self, *, timeout_s: float) -> bool: ...

    async def models(self, *, timeout_s: float) -> tuple[str, ...] | None:
        """Those that can be asked for, None where nobody says. Asked as often as the dialect's plan has it."""
        ...


class RpcProber:
    """The probes of one server.

    Args:
        metrics_url: of its Prometheus text, on a port of its own; None leaves the load unknown.
    """

    def __init__(
        self,
        questions: Questions,
        dialect: Dialect,
        authoriser: KeyAuthoriser,
        control: httpx.AsyncClient,
        *,
        metrics_url: str | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._questions = questions
        self._dialect = dialect
        self._authoriser = authoriser
        self._control = control
        self._metrics_url = httpx.URL(metrics_url) if metrics_url is not None else None
        self._now = now
        self._models: tuple[str, ...] | None = None
        self._models_at: float | None = None
        self._metrics_again_at = 0.0

    async def probe(self, *, timeout_s: float) -> LoadReport:
        """Never raises: a server that cannot be asked is reported as unhealthy, with the reason."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(timeout_s)
        except TimeoutError:
            self._models_at = None
            return LoadReport(healthy=False, reason=f"TIMED_OUT: no answer in {timeout_s:g} s")
        except BackendError as error:
            self._models_at = None
            is_warming = isinstance(error, Warming)
            return LoadReport(healthy=False, warming=is_warming, reason=f"{error.code}: {error.message}")

    async def _ask(self, timeout_s: float) -> LoadReport:
        started = self._now()
        try:
            is_alive = await self._questions.alive(timeout_s=timeout_s)
            rtt_s = self._now() - started
            if not is_alive:
                raise UpstreamFault("the server says that it is not alive")
            if self._models_at is None or self._now() - self._models_at >= self._dialect.probe.models_every_s:
                self._models = await self._questions.models(timeout_s=timeout_s)
                self._models_at = self._now()
        except grpc.aio.AioRpcError as error:
            raise from_status(error, rules=self._dialect.failures, secret=self._authoriser.revealed()) from error
        load = await self._load()
        return LoadReport(
            healthy=True,
            rtt_s=rtt_s,
            running=load.running,
            waiting=load.waiting,
            kv_cache_usage=load.kv_cache_usage,
            models=self._models,
        )

    async def _load(self) -> EngineLoad:
        gauges = self._dialect.probe.gauges
        if self._metrics_url is None or gauges is None or self._now() < self._metrics_again_at:
            return EngineLoad()
        try:
            status, body = await fetch(self._control, self._metrics_url)
        except BackendError:
            status, body = 0, b""
        if status != 200:
            # Its metrics may be switched off while it serves well.
            self._metrics_again_at = self._now() + self._dialect.probe.models_every_s
            return EngineLoad()
        return read_load(body.decode("utf-8", "replace"), gauges)
