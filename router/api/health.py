"""The standard health service, answered from the router's own readiness.

Not the reference implementation of grpcio-health-checking: there, a watcher that does not read holds the lock that
every change of state needs, and of two watchers of one service the first to leave takes the other's news with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated code without types
    """Serving while `ready` says so and `close` was not called, the same for every service named.

    `Check` asks at that moment. `Watch` asks when `changed` is called, and besides every `poll_s`, for readiness also
    ends without an event (a snapshot that grows too old).
    """

    def __init__(self, services: tuple[str, ...], ready: Callable[[], bool], *, poll_s: float = 0.5) -> None:
        self._services = frozenset({"", *services})
        self._ready = ready
        self._poll_s = poll_s
        self._closed = False
        self._change = asyncio.Event()

    def changed(self) -> None:
        """Wakes the watchers."""
        self._change.set()
        self._change = asyncio.Event()

    def close(self) -> None:
        """Not serving from now on; watchers are told so and dismissed, or they would hold up the server's stop."""
        self._closed = True
        self.changed()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        told: int | None = None
        while True:
            change = self._change
            status = self._status(request.service)
            if status != told:
                told = status
                await context.write(health_pb2.HealthCheckResponse(status=status))
            elif self._closed:
                return
            else:
                try:
                    async with asyncio.timeout(self._poll_s):
                        await change.wait()
                except TimeoutError:
                    continue

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(_UNKNOWN)
        return int(_SERVING if self._ready() and not self._closed else _NOT_SERVING)
