"""How streams end and how they are held back: cancellation, deadlines, lost clients, clients that do not read."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from router.api.grpc_server import GrpcServers
from router.v1.inference_pb2_grpc import InferenceServiceStub
from tests.integration.api.conftest import CHUNK, REQUEST, ToldDirector, connected, stub_of

CLIENT_THAT_VANISHES = """
import asyncio, os, sys
import grpc.aio
from router.v1 import inference_pb2, inference_pb2_grpc
async def main():
    channel = grpc.aio.insecure_channel(sys.argv[1])
    request = inference_pb2.GenerateRequest.FromString(bytes.fromhex(sys.argv[2]))
    await inference_pb2_grpc.InferenceServiceStub(channel).Generate(request).read()
    os._exit(0)
asyncio.run(main())
"""


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What the loop had to report; at the end of the test it must be nothing, and no log a warning."""
    reported: list[dict[str, Any]] = []
    with caplog.at_level(logging.WARNING):
        yield reported
    gc.collect()
    assert reported == []
    assert caplog.records == []


@pytest.fixture
async def listening(quiet: list[dict[str, Any]]) -> None:
    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # grpc.aio has one poller for all loops and hands it late events of calls whose test, and loop, has ended.
        if str(context.get("exception")) != "Event loop is closed":
            quiet.append(context)

    asyncio.get_running_loop().set_exception_handler(report)


async def closed_within(director: ToldDirector, seconds: float) -> float:
    """Seconds until the director's generator was closed."""
    started = time.monotonic()
    async with asyncio.timeout(5):
        await director.closed.wait()
    took = time.monotonic() - started
    assert took < seconds
    return took


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("kind", ["hang", "endless"])
async def test_cancelling_closes_the_director_at_once(
    stub: InferenceServiceStub, director: ToldDirector, kind: str
) -> None:
    """A cancelled call closes the director's generator within 100 ms, be it waiting for a token or writing one."""
    director.events = (CHUNK,)
    director.hang, director.endless = kind == "hang", kind == "endless"
    call = stub.Generate(REQUEST)
    await call.read()

    call.cancel()

    await closed_within(director, 0.1)
    assert director.open == 0


@pytest.mark.usefixtures("listening")
async def test_a_passed_deadline_closes_the_director(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """When the caller's time is over, the caller sees DEADLINE_EXCEEDED and nothing goes on inside."""
    director.events = (CHUNK,)
    director.hang = True
    call = stub.Generate(REQUEST, timeout=0.3)
    await call.read()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()

    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await closed_within(director, 0.1)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("kind", ["hang", "endless"])
async def test_a_client_that_dies_closes_the_director(
    grpc_servers: GrpcServers, director: ToldDirector, kind: str
) -> None:
    """A client process that vanishes without a word frees what it held as soon as its connection is gone."""
    director.events = (CHUNK,)
    director.hang, director.endless = kind == "hang", kind == "endless"
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENT_THAT_VANISHES,
        f"127.0.0.1:{grpc_servers.grpc_port}",
        REQUEST.SerializeToString().hex(),
    )

    assert await client.wait() == 0

    await closed_within(director, 0.5)


@pytest.mark.usefixtures("listening")
async def test_many_cancellations_leave_nothing_behind(stub: InferenceServiceStub, director: ToldDirector) -> None:
    """Calls that are cancelled at any moment of their life all end, silently, and the server goes on."""
    director.events = (CHUNK,)
    director.endless = True

    async def abandon(number: int) -> None:
        call = stub.Generate(REQUEST)
        for _ in range(number % 5):
            await call.read()
        call.cancel()

    for _ in range(4):
        await asyncio.gather(*(abandon(number) for number in range(40)))

    async with asyncio.timeout(5):
        while director.open:
            director.closed.clear()
            await director.closed.wait()
    director.endless = False
    assert len((await stub.Generate(REQUEST).read()).delta.text.text) == 100


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("options", "most_bytes"),
    [((("grpc.http2.bdp_probe", 0),), 1_000_000), ((), 8_000_000)],
    ids=["a window that stays small", "a window that grows to 4 MiB"],
)
async def test_a_client_that_does_not_read_holds_the_upstream_back(
    grpc_servers: GrpcServers, director: ToldDirector, options: tuple[tuple[str, int], ...], most_bytes: int
) -> None:
    """An endless stream that nobody reads is produced as far as the client's own window and no further.

    What is counted has left this process but for the last few kilobytes: the window is memory that the client offers.
    """
    director.events = (CHUNK,)
    director.endless = True
    async with connected(grpc_servers.grpc_port, *options) as channel:
        call = stub_of(channel).Generate(REQUEST)
        message = await call.read()

        await until_held_back(director)
        held = director.pulled
        assert held * message.ByteSize() < most_bytes

        director.advanced.clear()
        for _ in range(held):
            await call.read()
        async with asyncio.timeout(5):
            await director.advanced.wait()
        assert director.pulled > held
        call.cancel()
        await closed_within(director, 0.1)


async def until_held_back(director: ToldDirector) -> None:
    """Returns when the director was not asked for anything for half a second."""
    while True:
        director.advanced.clear()
        try:
            async with asyncio.timeout(0.5):
                await director.advanced.wait()
        except TimeoutError:
            return
