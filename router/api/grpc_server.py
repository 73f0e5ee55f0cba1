"""The two gRPC servers: inference for everybody, administration on a port of its own that can be kept private.

SO_REUSEPORT is off: with grpc.aio's default a second router on the same port would silently take every other connection
(PERFORMANCE.md 9); here a taken port is an error, or another port where that is allowed. Clients may ping every ten
seconds, also without calls, as load balancers and long thinking models make them do; the server itself pings idle
connections, so that a client that vanished frees what it held. TCP_NODELAY is gRPC's default.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from router.api.health import Health
from router.v1 import inference_pb2, inference_pb2_grpc

INFERENCE_SERVICE: str = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
_HEALTH_SERVICE = "grpc.health.v1.Health"
# How long calls that are cut off may take to tell their callers why.
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, slots=True)
class Face:
    """One service: its full name, and what registers it."""

    name: str
    add_to: Callable[[grpc.aio.Server], None]


class PortTakenError(OSError):
    """Somebody else listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            errno.EADDRINUSE,
            f"{host}:{port} cannot be listened on; stop what uses it, choose another port, or allow pick_free_ports",
        )


class GrpcServers:
    """Builds, starts and stops both servers; `grpc_port` and `admin_port` are the real ones after `start`."""

    def __init__(
        self,
        *,
        inference: inference_pb2_grpc.InferenceServiceServicer,
        admin: Sequence[Face],
        ready: Callable[[], bool],
        host: str = "127.0.0.1",
        grpc_port: int = 50051,
        admin_port: int = 50052,
        pick_free_ports: bool = False,
        max_message_bytes: int = 8 * 1024 * 1024,
        max_connection_age_s: float | None = None,
        client_ping_interval_s: float = 10.0,
        cut_off: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self.grpc_port = grpc_port
        self.admin_port = admin_port
        self._inference = inference
        self._admin = tuple(admin)
        self._ready = ready
        self._cut_off = cut_off
        self._pick_free_ports = pick_free_ports
        self._options = _options(max_message_bytes, max_connection_age_s, client_ping_interval_s)
        self._servers: list[grpc.aio.Server] = []
        self._healths: list[Health] = []

    async def start(self) -> None:
        """Listens.

        Raises:
            PortTakenError: where a port is in use and no other may be picked.
        """
        try:
            server = self._build((INFERENCE_SERVICE,), self._ready)
            inference_pb2_grpc.add_InferenceServiceServicer_to_server(self._inference, server)  # type: ignore[no-untyped-call]  # generated
            self.grpc_port = self._listen(server, self.grpc_port)
            if self._admin:
                # Administration is what an unready router may need, so it is serving whenever it answers.
                server = self._build(tuple(face.name for face in self._admin), lambda: True)
                for face in self._admin:
                    face.add_to(server)
                self.admin_port = self._listen(server, self.admin_port)
        except BaseException:
            await self.stop(0.0)
            raise
        for server in self._servers:
            await server.start()

    def readiness_changed(self) -> None:
        """Tells those who watch the health service now, instead of at their next poll."""
        for health in self._healths:
            health.changed()

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls, lets running ones finish for so long, then lets `cut_off` end them, or cancels them."""
        for health in self._healths:
            health.close()
        cutting = None
        if self._cut_off is not None:
            cutting = asyncio.get_running_loop().call_later(grace_s, self._cut_off)
            grace_s += _LAST_WORDS_S
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(server.stop(grace_s))
        finally:
            if cutting is not None:
                cutting.cancel()
        self._servers.clear()

    def _build(self, services: tuple[str, ...], ready: Callable[[], bool]) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._options)
        health = Health(services, ready)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        reflection.enable_server_reflection((*services, _HEALTH_SERVICE, reflection.SERVICE_NAME), server)
        self._healths.append(health)
        self._servers.append(server)
        return server

    def _listen(self, server: grpc.aio.Server, port: int) -> int:
        address = f"[{self.host}]" if ":" in self.host else self.host
        try:
            return server.add_insecure_port(f"{address}:{port}")
        except RuntimeError as error:
            if not self._pick_free_ports or port == 0:
                raise PortTakenError(self.host, port) from error
        return server.add_insecure_port(f"{address}:0")


def _options(
    max_message_bytes: int, max_connection_age_s: float | None, client_ping_interval_s: float
) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A little less, so that a client whose timer is early by a blink is not sent away for it.
        ("grpc.http2.min_ping_interval_without_data_ms", round(client_ping_interval_s * 950)),
    ]
    if max_connection_age_s is not None:
        # Streams in flight keep their connection: the grace period is infinite unless set.
        options.append(("grpc.max_connection_age_ms", round(max_connection_age_s * 1_000)))
    return options
