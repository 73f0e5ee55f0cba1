"""A caller who stops reading holds little memory in the router: the upstream is not read on for nobody."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio

from router.v1 import inference_pb2_grpc
from tests.integration.router.calls import ask, chat, clients_of, eventually
from tests.integration.router.conftest import Figure
from tests.integration.router.flood import Flood, flooding
from tests.integration.router.site import Running, Site, Spot, assert_clean, run_router

pytestmark = pytest.mark.asyncio(loop_scope="session")
MIB = 1024 * 1024
FLOOD_BYTES = 50 * MIB
GROWTH_LIMIT_BYTES = 20 * MIB
WINDOW_BYTES = 64 * 1024


@pytest_asyncio.fixture(loop_scope="session")
async def flood_site(tmp_path: Path) -> Site:
    return Site.build(tmp_path / "site", Spot(id="flood", usd_per_mtok=1.0, emulated=False))


@pytest_asyncio.fixture(loop_scope="session")
async def flood(flood_site: Site) -> AsyncGenerator[Flood]:
    async with flooding(FLOOD_BYTES, flood_site.ports["flood"]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def flooded(flood_site: Site, flood: Flood) -> AsyncGenerator[Running]:  # noqa: ARG001 - it must be running
    async with run_router(flood_site) as running:
        yield running


async def settled(flood: Flood) -> int:
    """The bytes that the upstream got rid of, once they have not grown for a while."""
    last, same = -1, 0
    while same < 20:
        await asyncio.sleep(0.02)  # standing still is no event
        same = same + 1 if flood.sent_bytes == last else 0
        last = flood.sent_bytes
    return last


async def test_grpc(flooded: Running, flood: Flood, figure: Figure) -> None:
    """A gRPC call that reads one message of 50 MB: the upstream stands, memory hardly grows, reading on gets all."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.lookahead_bytes", WINDOW_BYTES))
    async with grpc.aio.insecure_channel(flooded.grpc, options=options) as channel, clients_of(flooded) as clients:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        before = flooded.rss_bytes()
        call = stub.Generate(ask(max_tokens=100_000))
        messages = call.__aiter__()
        await anext(messages)
        stood_at = await settled(flood)
        growth = flooded.rss_bytes() - before
        _report(figure, "gRPC", stood_at, growth)
        assert (await clients.in_flight("flood"))["flood"] == 1

        received = 0
        async for message in messages:
            received += len(message.delta.text.text)

    assert stood_at < FLOOD_BYTES / 2
    assert growth < GROWTH_LIMIT_BYTES, f"{growth / MIB:.1f} MiB"
    assert flood.ended == 1
    assert received > 0.8 * FLOOD_BYTES


async def test_http(flooded: Running, flood: Flood, figure: Figure) -> None:
    """The same over HTTP; and when that caller leaves without ever reading on, the upstream is let go."""
    async with clients_of(flooded) as clients:
        before = flooded.rss_bytes()
        reader, writer = await _post(flooded)
        stood_at = await settled(flood)
        growth = flooded.rss_bytes() - before
        _report(figure, "HTTP", stood_at, growth)
        assert (await clients.in_flight("flood"))["flood"] == 1

        writer.transport.abort()
        await eventually(lambda: clients.in_flight("flood"), {"flood": 0, "": 0}.__eq__, limit_s=1.0)
        await eventually(lambda: asyncio.sleep(0, flood.gone), lambda gone: gone >= 1, limit_s=1.0)
        assert not reader.at_eof()

    assert stood_at < FLOOD_BYTES / 2
    assert growth < GROWTH_LIMIT_BYTES, f"{growth / MIB:.1f} MiB"
    assert flood.ended == 0


async def test_a_deadline_ends_what_nobody_reads(flooded: Running, flood: Flood) -> None:
    """A gRPC call whose deadline passes while its messages wait for the reader frees the backend, and logs nothing."""
    async with clients_of(flooded) as clients:
        call = clients.inference.Generate(ask(max_tokens=100_000), timeout=0.4)
        messages = call.__aiter__()
        await anext(messages)
        assert (await clients.in_flight("flood"))["flood"] == 1
        await eventually(lambda: clients.in_flight("flood"), {"flood": 0, "": 0}.__eq__, limit_s=2.0)
        call.cancel()

    assert flood.ended == 0
    assert_clean(flooded.output(), "router")


async def _post(router: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Asks for a stream on a connection with a small buffer, and does not read."""
    host, port = router.http.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=WINDOW_BYTES)
    body = json.dumps(chat(max_tokens=100_000, stream=True)).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer


def _report(figure: Figure, face: str, stood_at: int, growth: int) -> None:
    figure(
        f"{face} caller who does not read: upstream stands after {stood_at / MIB:.1f} of {FLOOD_BYTES / MIB:.0f} MiB, "
        f"router grew by {growth / MIB:.1f} MiB"
    )
