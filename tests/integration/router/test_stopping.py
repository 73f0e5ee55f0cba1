"""A router that is told to stop: not ready at once, finishes what it has begun within the limit, then is gone."""

from __future__ import annotations

import asyncio
import signal
import time

import grpc
import grpc.aio
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from router.v1 import admin_pb2
from router.v1 import inference_pb2 as pb
from tests.integration.router.calls import (
    Answer,
    Clients,
    Emulators,
    ask,
    chat,
    clients_of,
    detail,
    eventually,
    generate,
    take,
)
from tests.integration.router.conftest import Figure
from tests.integration.router.site import Running, Site, run_router

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WATCHED = health_pb2.HealthCheckRequest(service="router.v1.InferenceService")
AT_ONCE_S = 0.25


class HttpStream:
    """A streamed answer over HTTP that is read in the background."""

    def __init__(self, clients: Clients, body: dict[str, object]) -> None:
        self.begun = asyncio.Event()
        self.text = ""
        self.task = asyncio.create_task(self._read(clients, body))

    async def _read(self, clients: Clients, body: dict[str, object]) -> None:
        async with clients.http.stream("POST", "/v1/chat/completions", json=body) as response:
            async for part in response.aiter_text():
                self.text += part
                self.begun.set()


class GrpcStream:
    """The same over gRPC."""

    def __init__(self, clients: Clients, request: pb.GenerateRequest) -> None:
        self.begun = asyncio.Event()
        self.answer = Answer()
        self.error: grpc.aio.AioRpcError | None = None
        self.task = asyncio.create_task(self._read(clients, request))

    async def _read(self, clients: Clients, request: pb.GenerateRequest) -> None:
        try:
            async for message in clients.inference.Generate(request):
                take(self.answer, message)
                if self.answer.text:
                    self.begun.set()
        except grpc.aio.AioRpcError as error:
            self.error = error


async def refused(clients: Clients) -> str:
    """How a new gRPC request fails; it must not be served and must not hang."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generate(clients, ask(), timeout_s=2.0)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE, caught.value
    return str(caught.value.details())


async def not_ready(router: Running) -> str:
    """What a load balancer sees at /readyz: 503 with a reason, or nobody."""
    async with httpx.AsyncClient(base_url=router.http) as http:
        try:
            answer = await http.get("/readyz")
        except httpx.ConnectError:
            return "refused"
        return "ready" if answer.status_code == 200 else f"{answer.status_code} draining={answer.json()['draining']}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_streams_finish_while_the_router_stops(
    number: signal.Signals, fresh_clients: Clients, fresh_router: Running, emulators: Emulators, figure: Figure
) -> None:
    """Told to stop, a router is not ready at once and refuses new requests, streams end whole, and it exits with 0."""
    clients, router = fresh_clients, fresh_router
    whole = (await generate(clients, ask("a story", max_tokens=64))).text
    await emulators.control("fast", slow=3.0)
    watch = clients.health.Watch(WATCHED)
    assert (await watch.read()).status == SERVING
    over_grpc = GrpcStream(clients, ask("a story", max_tokens=64))
    over_http = HttpStream(clients, chat("a story", max_tokens=64, stream=True))
    await asyncio.gather(over_grpc.begun.wait(), over_http.begun.wait())

    router.send(number)
    told_at = time.monotonic()
    assert (await watch.read()).status == NOT_SERVING
    unready_after = time.monotonic() - told_at
    seen = await eventually(lambda: not_ready(router), lambda s: s != "ready", limit_s=AT_ONCE_S)
    async with clients_of(router) as late:
        answers = [await refused(clients), await refused(late)]
    assert not over_grpc.task.done(), "the stream was over before new requests were tried"

    await asyncio.gather(over_grpc.task, over_http.task)
    streams_ended = time.monotonic()
    status = await asyncio.wait_for(router.child.wait(), 5.0)
    gone_after = time.monotonic() - streams_ended

    figure(
        f"{number.name}: health watch told after {1e3 * unready_after:.0f} ms, readyz {seen}, new calls: "
        f"{sorted(set(answers))}, exit {1e3 * gone_after:.0f} ms after the last stream"
    )
    assert status == 0, router.output()
    assert unready_after < AT_ONCE_S
    assert over_grpc.error is None
    assert over_grpc.answer.text == whole
    assert over_grpc.answer.finished is not None
    assert over_http.text.endswith("data: [DONE]\n\n"), over_http.text[-300:]
    assert gone_after < 1.5


async def test_a_stream_longer_than_the_limit_is_cut(site: Site, emulators: Emulators, figure: Figure) -> None:
    """After drain_limit_s what still streams is told SHUTTING_DOWN, and the process ends in time with status 0."""
    limit_s = 0.6
    async with run_router(site, INFERENCE_ROUTER_DRAIN_LIMIT_S=str(limit_s)) as router, clients_of(router) as clients:
        over_grpc = GrpcStream(clients, ask(max_tokens=4000))
        over_http = HttpStream(clients, chat(max_tokens=4000, stream=True))
        await asyncio.gather(over_grpc.begun.wait(), over_http.begun.wait())
        await emulators.control("fast", stall=True)
        waiting = asyncio.create_task(clients.http.post("/v1/chat/completions", json=chat("no token yet")))
        await emulators.wait("fast", lambda s: s["active"] == 3)

        router.send(signal.SIGTERM)
        told_at = time.monotonic()
        status = await asyncio.wait_for(router.child.wait(), 10.0)
        took = time.monotonic() - told_at
        await asyncio.gather(over_grpc.task, over_http.task)
        answer = await waiting

    figure(f"drain_limit_s {limit_s}: with streams that do not end, exit after {took:.2f} s")
    assert status == 0, router.output()
    assert limit_s <= took < limit_s + 2.0
    assert over_grpc.error is not None
    assert over_grpc.error.code() == grpc.StatusCode.UNAVAILABLE, over_grpc.error
    assert detail(over_grpc.error, error_details_pb2.ErrorInfo).reason == "SHUTTING_DOWN"
    assert '"code":"shutting_down"' in over_http.text
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    await emulators.control("fast", stall=False)
    await emulators.wait("fast", lambda s: (s["active"], s["running"]) == (0, 0))


async def test_an_idle_router_stops_at_once(site: Site, emulators: Emulators, figure: Figure) -> None:
    """With nothing in flight, idle connections and watchers do not hold up a stop."""
    await emulators.control("fast", slow=1.0)
    async with run_router(site) as router, clients_of(router) as clients:
        watch = clients.health.Watch(WATCHED)
        changes = clients.admin.WatchChanges(admin_pb2.WatchChangesRequest())
        await watch.read()
        await generate(clients, ask())
        await clients.http.get("/readyz")
        told_at = time.monotonic()
        router.send(signal.SIGTERM)
        status = await asyncio.wait_for(router.child.wait(), 5.0)
        took = time.monotonic() - told_at
        changes.cancel()

    figure(f"idle stop: {1e3 * took:.0f} ms")
    assert status == 0
    assert took < 1.5, router.output()
