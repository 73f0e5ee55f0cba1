"""Whoever stops waiting frees the backend: the upstream connection closes within 100 ms, however the caller leaves."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest

from router.v1 import inference_pb2 as pb
from tests.integration.router.calls import Answer, Clients, Emulators, ask, chat, eventually, take
from tests.integration.router.conftest import Figure
from tests.integration.router.site import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")
LIMIT_S = 0.1
TIMES = 10
DEADLINE_S = 0.15
IDLE = {"fast": 0, "spare": 0, "": 0}
Leave = Callable[[Clients, Running, str], Awaitable[float]]


async def cancel_grpc(clients: Clients, _router: Running, request_id: str) -> float:
    """Cancels a gRPC call after its first tokens; returns when."""
    call = clients.inference.Generate(ask(max_tokens=4000), metadata=(("x-request-id", request_id),))
    heard = Answer()
    while not heard.text:
        take(heard, await call.read())
    left_at = time.monotonic()
    call.cancel()
    return left_at


async def cancel_grpc_early(clients: Clients, _router: Running, request_id: str) -> float:
    """Cancels a gRPC call that has been routed and waits for its first token."""
    call = clients.inference.Generate(ask("word " * 20_000), metadata=(("x-request-id", request_id),))
    assert (await call.read()).HasField("routed")
    await asyncio.sleep(0.02)  # into the prefill, which takes much longer
    left_at = time.monotonic()
    call.cancel()
    return left_at


async def pass_deadline(clients: Clients, _router: Running, request_id: str) -> float:
    """Lets the deadline of a gRPC call pass in the middle of its stream."""
    metadata = (("x-request-id", request_id),)
    began = time.monotonic()
    call = clients.inference.Generate(ask(max_tokens=4000), timeout=DEADLINE_S, metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read(call)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    return began + DEADLINE_S


async def pass_deadline_http(clients: Clients, _router: Running, request_id: str) -> float:
    """Lets the timeout of an HTTP request pass in the middle of its stream; the caller stays to hear of it."""
    body = chat(max_tokens=4000, stream=True, router={"timeout_s": DEADLINE_S})
    began = time.monotonic()
    async with clients.http.stream(
        "POST", "/v1/chat/completions", json=body, headers={"x-request-id": request_id}
    ) as response:
        text = "".join([part async for part in response.aiter_text()])
    assert '"code":"deadline_exceeded"' in text
    return began + DEADLINE_S


async def close_http(_clients: Clients, router: Running, request_id: str) -> float:
    """Closes an HTTP connection after the first tokens of its stream; returns when."""
    return await _close_http(router, request_id, stream=True)


async def close_http_whole(_clients: Clients, router: Running, request_id: str) -> float:
    """Closes an HTTP connection that waits for an answer in one piece."""
    return await _close_http(router, request_id, stream=False)


async def _close_http(router: Running, request_id: str, *, stream: bool) -> float:
    host, port = router.http.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps(chat(max_tokens=4000, stream=stream)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    if stream:
        await reader.readuntil(b'"content":"E')
    else:
        await asyncio.sleep(0.05)  # nothing is sent to wait for
    left_at = time.monotonic()
    writer.close()
    await writer.wait_closed()
    return left_at


@pytest.mark.parametrize(
    "leave", [cancel_grpc, cancel_grpc_early, pass_deadline, pass_deadline_http, close_http, close_http_whole]
)
async def test_leaving_frees_the_backend(
    leave: Leave, clients: Clients, router: Running, emulators: Emulators, figure: Figure
) -> None:
    """Ten times each: the upstream sees the disconnect, and frees the slot, within 100 ms of the caller's leaving."""
    await emulators.control("fast", slow=5.0)
    waits = []
    for _ in range(TIMES):
        request_id = uuid.uuid4().hex
        left_at = await leave(clients, router, request_id)
        stats = await emulators.wait("fast", partial(_has_left, request_id))
        assert (stats["active"], stats["running"], stats["waiting"]) == (0, 0, 0)
        waits.append(stats["last_disconnects"][-1]["at_monotonic_s"] - left_at)

    figure(f"{leave.__name__}: upstream closed after {1e3 * max(waits):.1f} ms at most, {TIMES} times")
    assert max(waits) < LIMIT_S, f"upstream closed after {[f'{1e3 * w:.1f} ms' for w in waits]}"
    await eventually(lambda: clients.in_flight("fast", "spare"), IDLE.__eq__, limit_s=1.0)


async def test_nothing_is_left_of_callers_who_leave_at_any_time(clients: Clients, emulators: Emulators) -> None:
    """After 300 cancellations, at any point from before the decision to the end, no count is off and no slot taken."""
    rng = random.Random(7)

    async def come_and_go(delay_s: float) -> None:
        call = clients.inference.Generate(ask(max_tokens=16))
        reading = asyncio.create_task(_read(call))
        await asyncio.sleep(delay_s)
        call.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    for _ in range(10):
        await asyncio.gather(*(come_and_go(rng.uniform(0.0, 0.04)) for _ in range(30)))

    await eventually(lambda: clients.in_flight("fast", "spare"), IDLE.__eq__, limit_s=2.0)
    await emulators.wait("fast", lambda s: (s["active"], s["running"], s["waiting"]) == (0, 0, 0))
    assert (await emulators.stats("fast"))["disconnects"] > 50


def _has_left(request_id: str, stats: dict[str, Any]) -> bool:
    return any(seen["request_id"] == request_id for seen in stats["last_disconnects"][-1:])


async def _read(call: grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateResponse]) -> None:
    async for _ in call:
        pass
