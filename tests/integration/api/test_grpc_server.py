"""The servers themselves: ports, health, reflection, message sizes, keepalive and stopping."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from router.api.grpc_server import INFERENCE_SERVICE, GrpcServers, PortTakenError
from router.api.inference_service import InferenceService
from router.clock import SystemClock
from router.v1 import inference_pb2 as pb
from router.v1.inference_pb2_grpc import InferenceServiceStub
from tests.integration.api.conftest import CHUNK, REQUEST, ToldDirector, connected, finished, stub_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def ask(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on, and would share."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("service", ["", INFERENCE_SERVICE])
async def test_health_follows_readiness(channel: grpc.aio.Channel, director: ToldDirector, service: str) -> None:
    """Check answers by whether the router is ready at that moment."""
    health = health_pb2_grpc.HealthStub(channel)

    assert (await health.Check(ask(service))).status == SERVING
    director.ready = False
    assert (await health.Check(ask(service))).status == NOT_SERVING


async def test_health_of_an_unknown_service(channel: grpc.aio.Channel) -> None:
    """Check of a service that is not here is NOT_FOUND; Watch says SERVICE_UNKNOWN and stays."""
    health = health_pb2_grpc.HealthStub(channel)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(ask("nobody"))
    watch = health.Watch(ask("nobody"))

    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert (await watch.read()).status == UNKNOWN
    watch.cancel()


async def test_administration_serves_while_the_router_is_not_ready(
    grpc_servers: GrpcServers, director: ToldDirector
) -> None:
    """The admin port has a health of its own: an unready router may be waiting for its operator."""
    director.ready = False

    async with connected(grpc_servers.admin_port) as channel:
        assert (await health_pb2_grpc.HealthStub(channel).Check(ask("router.v1.AdminService"))).status == SERVING


async def test_watchers_see_every_flip_even_when_one_of_them_leaves(
    channel: grpc.aio.Channel, grpc_servers: GrpcServers, director: ToldDirector
) -> None:
    """Each watcher is told of each change, and the leaving of one does not silence another."""
    health = health_pb2_grpc.HealthStub(channel)
    leaver, stayer = health.Watch(ask("")), health.Watch(ask(""))
    assert [(await watch.read()).status for watch in (leaver, stayer)] == [SERVING, SERVING]

    leaver.cancel()
    director.ready = False
    grpc_servers.readiness_changed()
    assert (await stayer.read()).status == NOT_SERVING
    director.ready = True
    assert (await stayer.read()).status == SERVING  # nobody called readiness_changed: the poll saw it
    stayer.cancel()


async def test_stopping_tells_watchers_and_does_not_wait_for_them(
    channel: grpc.aio.Channel, grpc_servers: GrpcServers
) -> None:
    """A server that stops says NOT_SERVING, dismisses its watchers and is gone long before its grace period is over."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(ask(""))
    assert (await watch.read()).status == SERVING

    async with asyncio.timeout(5):
        await grpc_servers.stop(60.0)

    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


async def test_stopping_lets_a_running_call_finish(
    stub: InferenceServiceStub, grpc_servers: GrpcServers, director: ToldDirector
) -> None:
    """Within the grace period a stream goes on to its end."""
    director.events = (CHUNK,) * 20_000 + (finished(),)
    kinds: list[str] = []
    stopping: asyncio.Task[None] | None = None

    async for message in stub.Generate(REQUEST):
        kinds += [field.name for field, _ in message.ListFields()]
        stopping = stopping or asyncio.create_task(grpc_servers.stop(30.0))

    assert kinds[-1] == "finished"
    assert len(kinds) == 20_001
    assert stopping is not None
    async with asyncio.timeout(5):
        await stopping


async def test_stopping_cancels_what_outlasts_the_grace_period(
    stub: InferenceServiceStub, grpc_servers: GrpcServers, director: ToldDirector
) -> None:
    """A stream that does not end is cut when the grace period is over, and its generator is closed."""
    director.events = (CHUNK,)
    director.hang = True
    call = stub.Generate(REQUEST)
    await call.read()

    await grpc_servers.stop(0.1)

    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    assert director.open == 0


async def test_reflection_lists_the_services(grpc_servers: GrpcServers) -> None:
    """Tools can find out what each port offers."""
    listed = {}
    for name, port in (("inference", grpc_servers.grpc_port), ("admin", grpc_servers.admin_port)):
        async with connected(port) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
            answer = await call.read()
            listed[name] = {service.name for service in answer.list_services_response.service}

    common = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert listed == {"inference": {INFERENCE_SERVICE} | common, "admin": {"router.v1.AdminService"} | common}


async def test_an_oversized_message_is_refused(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """A request above the limit is RESOURCE_EXHAUSTED and is never decoded; the connection survives it."""
    large = pb.GenerateRequest(model="m", prompt="x" * (8 * 1024 * 1024))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Generate(large).read()

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert director.requests == []
    director.events = (finished(),)
    assert (await stub.Generate(REQUEST).read()).HasField("finished")


async def test_a_taken_port_is_an_error(director: ToldDirector, taken: int) -> None:
    """A port that somebody else listens on is not shared in silence, even if that somebody would share it."""
    servers = GrpcServers(
        inference=InferenceService(director, SystemClock()),
        admin=(),
        ready=lambda: True,
        grpc_port=taken,
    )

    with pytest.raises(PortTakenError, match=f"127.0.0.1:{taken} cannot be listened on"):
        await servers.start()


async def test_a_free_port_is_picked_where_that_is_allowed(director: ToldDirector, taken: int) -> None:
    """With pick_free_ports the server moves elsewhere and says where."""
    servers = GrpcServers(
        inference=InferenceService(director, SystemClock()),
        admin=(),
        ready=lambda: True,
        grpc_port=taken,
        pick_free_ports=True,
    )
    director.events = (finished(),)

    await servers.start()

    assert servers.grpc_port != taken
    async with connected(servers.grpc_port) as channel:
        assert (await stub_of(channel).Generate(REQUEST).read()).HasField("finished")
    await servers.stop(0.0)


async def test_clients_may_ping_without_calls_but_not_faster_than_agreed(director: ToldDirector) -> None:
    """Keepalive pings at the agreed interval keep an idle connection; pings far below it end it."""

    async def survives(agreed_s: float) -> bool:
        servers = GrpcServers(
            inference=InferenceService(director, SystemClock()),
            admin=(),
            ready=lambda: True,
            grpc_port=0,
            client_ping_interval_s=agreed_s,
        )
        await servers.start()
        every_second = (("grpc.keepalive_time_ms", 1_000), ("grpc.keepalive_permit_without_calls", 1))
        async with connected(servers.grpc_port, *every_second, ("grpc.http2.max_pings_without_data", 0)) as channel:
            await channel.channel_ready()
            try:
                async with asyncio.timeout(6):
                    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
                stayed = False
            except TimeoutError:
                stayed = True
        await servers.stop(0.0)
        return stayed

    kept, flooded = await asyncio.gather(survives(1.0), survives(60.0))
    assert kept
    assert not flooded
