"""What tests say to a running router and its emulated backends, and what they read out of the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
import httpx
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from router.v1 import admin_pb2, admin_pb2_grpc, inference_pb2_grpc
from router.v1 import inference_pb2 as pb
from tests.integration.router.site import MODEL, Running, Site

NO_FAULTS: dict[str, Any] = {
    "slow": 1.0,
    "stall": False,
    "ready": True,
    "fail_rate": 0.0,
    "fail_status": 500,
    "retry_after_s": None,
    "break_after": None,
}
LOCAL_POOL = (("grpc.use_local_subchannel_pool", 1),)
Detail = TypeVar("Detail", bound=Message)


@dataclass
class Clients:
    """Connections to one router."""

    channel: grpc.aio.Channel
    inference: inference_pb2_grpc.InferenceServiceStub
    admin: admin_pb2_grpc.AdminServiceStub
    health: Any
    http: httpx.AsyncClient

    async def in_flight(self, *backends: str) -> dict[str, float]:
        """This replica's counts: of each backend, and in all under ""."""
        found: dict[str, float] = {}
        for name in backends:
            answer = await self.admin.GetBackend(admin_pb2.GetBackendRequest(id=name))
            found[name] = answer.backend.state.in_flight
        found[""] = await self.metric("router_in_flight_requests")
        return found

    async def metric(self, series: str) -> float:
        """The value of one series of /metrics, 0 where there is none."""
        page = (await self.http.get("/metrics")).text
        for line in page.splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def serving(self) -> bool:
        """What the standard health service says now."""
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service="router.v1.InferenceService"))
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def clients_of(router: Running) -> AsyncGenerator[Clients]:
    """Connections of their own to a router."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(router.grpc, options=LOCAL_POOL))
        admin = await stack.enter_async_context(grpc.aio.insecure_channel(router.admin, options=LOCAL_POOL))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=router.http, timeout=30.0))
        yield Clients(
            channel,
            inference_pb2_grpc.InferenceServiceStub(channel),  # type: ignore[no-untyped-call]  # generated
            admin_pb2_grpc.AdminServiceStub(admin),  # type: ignore[no-untyped-call]  # generated
            health_pb2_grpc.HealthStub(channel),
            http,
        )


class Emulators:
    """The tests' own face of the emulated backends of a site."""

    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self._site = site
        self._http = http

    async def stats(self, backend: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._http.get(f"{self._site.url(backend)}/emulator/stats")).json()
        return answer

    async def control(self, backend: str, **faults: object) -> None:
        """Switches faults on and off; what is left out stays as it is."""
        response = await self._http.post(f"{self._site.url(backend)}/emulator/control", json=faults)
        response.raise_for_status()

    async def reset(self) -> None:
        """No faults anywhere."""
        for spot in self._site.spots.values():
            if spot.emulated:
                await self.control(spot.id, **NO_FAULTS)

    async def requests(self, backend: str) -> int:
        return int((await self.stats(backend))["requests"])

    async def wait(self, backend: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Its counts, as soon as they meet the condition."""
        return await eventually(lambda: self.stats(backend), condition)


@asynccontextmanager
async def emulators_of(site: Site) -> AsyncGenerator[Emulators]:
    async with httpx.AsyncClient(timeout=5.0) as http:
        yield Emulators(site, http)


@dataclass
class Answer:
    """A whole answer over gRPC. `text` obeys Rerouted: after a restart it begins anew."""

    text: str = ""
    routed: pb.Routed | None = None
    rerouted: list[pb.Rerouted] = field(default_factory=list)
    finished: pb.Finished | None = None
    first_token_s: float = 0.0
    total_s: float = 0.0

    @property
    def backend(self) -> str:
        return self.finished.backend if self.finished is not None else ""


def ask(text: str = "hello", *, max_tokens: int = 16, **routing: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        model=MODEL,
        messages=[pb.Message(role=pb.ROLE_USER, text=text)],
        sampling=pb.Sampling(max_output_tokens=max_tokens),
        routing=pb.RoutingOptions(**routing),
    )


async def generate(clients: Clients, request: pb.GenerateRequest, *, timeout_s: float = 20.0) -> Answer:
    """The answer to a request over gRPC; raises what the call raises."""
    answer, began = Answer(), time.monotonic()
    async for message in clients.inference.Generate(request, timeout=timeout_s):
        take(answer, message, began)
    answer.total_s = time.monotonic() - began
    return answer


def take(answer: Answer, message: pb.GenerateResponse, began: float = 0.0) -> None:
    """Adds one message of the call."""
    if message.HasField("routed"):
        answer.routed = message.routed
    if message.HasField("rerouted"):
        answer.rerouted.append(message.rerouted)
        if message.rerouted.resume == pb.STREAM_BREAK_ACTION_RESTART:
            answer.text = ""
    if message.HasField("delta"):
        answer.first_token_s = answer.first_token_s or time.monotonic() - began
        answer.text += message.delta.text.text
    if message.HasField("finished"):
        answer.finished = message.finished


def chat(text: str = "hello", *, max_tokens: int = 16, **more: Any) -> dict[str, Any]:
    """The body of the same request over HTTP."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_completion_tokens": max_tokens, **more}


async def post(clients: Clients, body: dict[str, Any]) -> httpx.Response:
    return await clients.http.post("/v1/chat/completions", json=body)


def detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail:
    """A detail of an error's status; it must be there."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()} without details: {error.details()}"
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


Value = TypeVar("Value")


async def eventually(
    read: Callable[[], Awaitable[Value]], condition: Callable[[Value], bool], *, limit_s: float = 5.0
) -> Value:
    """Reads again and again, since another process tells no event, until the value meets the condition."""
    began = time.monotonic()
    while not condition(value := await read()):
        assert time.monotonic() - began < limit_s, f"not within {limit_s:g} s; the last value was {value}"
        await asyncio.sleep(0.005)
    return value
