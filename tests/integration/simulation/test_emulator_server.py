"""An emulated backend as a server: load, faults, disconnects."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulation.server import EmulatedServer

CHAT = "/v1/chat/completions"
Serve = Callable[..., AbstractAsyncContextManager[EmulatedServer]]


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "llama", "messages": [{"role": "user", "content": "hi"}], **more}


LONG = ask(stream=True, max_tokens=4000, ignore_eos=True)


async def stats(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.get("/emulator/stats")).json())


async def control(client: httpx.AsyncClient, **faults: Any) -> None:
    (await client.post("/emulator/control", json=faults)).raise_for_status()


@asynccontextmanager
async def at(server: EmulatedServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client


async def until(client: httpx.AsyncClient, **wanted: object) -> dict[str, Any]:
    """The first statistics that hold these values; the server is asked until then."""
    async with asyncio.timeout(5):
        while True:
            now = await stats(client)
            if all(now[name] == value for name, value in wanted.items()):
                return now


async def receive(client: httpx.AsyncClient, body: dict[str, Any], into: bytearray) -> None:
    async with client.stream("POST", CHAT, json=body) as response:
        async for data in response.aiter_bytes():
            into += data


async def test_an_answer_takes_the_time_of_the_hardware(client: httpx.AsyncClient) -> None:
    """The first token comes no sooner than the prefill allows, and the last no sooner than the steps do."""
    began = time.monotonic()
    async with client.stream("POST", CHAT, json=ask(stream=True, max_tokens=40, ignore_eos=True)) as response:
        lines = response.aiter_lines()
        await anext(lines)
        first = time.monotonic()
        async for _ in lines:
            pass
    last = time.monotonic()
    # 32 layers: 12 ms of prefill; a step of this model on this chip: 7.7 ms. Noise is a few per cent.
    assert first - began > 0.008
    assert last - first > 39 * 0.0077 * 0.8


async def test_a_client_that_leaves_frees_its_slot_at_once(client: httpx.AsyncClient) -> None:
    """Within 100 ms of a client's leaving, its slot serves the next in the queue, and the disconnect is on record."""
    async with client.stream("POST", CHAT, json=LONG, headers={"x-request-id": "first"}) as first:
        first_bytes = first.aiter_bytes()
        await anext(first_bytes)
        async with client.stream("POST", CHAT, json=LONG) as second:
            second_bytes = second.aiter_bytes()
            await anext(second_bytes)
            third = asyncio.create_task(client.post(CHAT, json=ask(max_tokens=2)))
            await until(client, running=2, waiting=1, active=3)
            left_at = time.monotonic()
            await first.aclose()
            assert (await third).status_code == 200
    seen = await until(client, active=0, running=0, disconnects=2)
    by_id = {entry["request_id"]: entry for entry in seen["last_disconnects"]}
    assert 0.0 <= by_id["first"]["at_monotonic_s"] - left_at < 0.1
    assert by_id["first"]["tokens"] >= 1
    assert seen["max_active"] == 3


async def test_a_full_queue_refuses(serve: Serve) -> None:
    """Beyond the bound of the queue a request is answered 503 with a time to wait, and the rejection is counted."""
    async with serve(max_waiting=1) as server, at(server) as client:
        streams = [asyncio.create_task(client.post(CHAT, json=LONG)) for _ in range(3)]
        await until(client, running=2, waiting=1)
        refused = await client.post(CHAT, json=LONG)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "vllm:admission_rejections_total" in (await client.get("/metrics")).text
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)


async def test_a_rate_limit_refuses_with_the_time_to_wait(serve: Serve) -> None:
    """Beyond its requests per minute a backend answers 429 and says when to come back."""
    async with serve(requests_per_minute=2) as server, at(server) as client:
        codes = [(await client.post(CHAT, json=ask(max_tokens=1))).status_code for _ in range(2)]
        refused = await client.post(CHAT, json=ask(max_tokens=1))
    assert codes == [200, 200]
    assert refused.status_code == 429
    assert 25 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


async def test_faults_are_switched_on_and_off(client: httpx.AsyncClient) -> None:
    """Failures, a health that is down and a stream that breaks are each switched on by a call, and off again."""
    await control(client, fail_rate=1.0, fail_status=502, retry_after_s=3)
    failed = await client.post(CHAT, json=ask())
    assert (failed.status_code, failed.headers["retry-after"]) == (502, "3")
    await control(client, fail_rate=0.0, ready=False)
    assert (await client.get("/health")).status_code == 503
    assert (await client.post(CHAT, json=ask())).status_code == 503
    await control(client, ready=True, break_after=5)
    broken = bytearray()
    with pytest.raises(httpx.HTTPError):
        await receive(client, ask(stream=True), broken)
    assert 1 <= broken.count(b'"content":') <= 6
    assert b"[DONE]" not in broken
    await control(client, break_after=None)
    assert (await client.post(CHAT, json=ask(max_tokens=3))).status_code == 200
    assert (await until(client, active=0))["running"] == 0


async def test_a_stalled_server_keeps_its_streams_and_goes_on(client: httpx.AsyncClient) -> None:
    """While it stalls no token comes and the connection stays; afterwards the stream goes on to its end."""
    text = bytearray()
    reading = asyncio.create_task(receive(client, ask(stream=True, max_tokens=50), text))
    await until(client, running=1)
    await control(client, stall=True)
    await stats(client)  # whatever was on its way has arrived
    before = len(text)
    await asyncio.wait([reading], timeout=0.3)
    assert len(text) == before
    assert not reading.done()
    await control(client, stall=False)
    await reading
    assert text.endswith(b"[DONE]\n\n")


async def test_a_control_that_does_not_exist_is_refused(client: httpx.AsyncClient) -> None:
    """An unknown or impossible fault is a 400, and changes nothing."""
    for wrong in ({"slwo": 2}, {"slow": 0}, {"fail_rate": 2}):
        assert (await client.post("/emulator/control", json=wrong)).status_code == 400
    assert (await stats(client))["control"]["slow"] == 1.0


async def test_metrics_are_those_of_vllm(client: httpx.AsyncClient) -> None:
    """The page parses as Prometheus text and holds vLLM's gauges, counters and histograms by model."""
    await client.post(CHAT, json=ask(max_tokens=7))
    stream = asyncio.create_task(client.post(CHAT, json=LONG))
    await until(client, running=1)
    page = (await client.get("/metrics")).text
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)
    samples = {
        sample.name: sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    assert samples["vllm:num_requests_running"].value == 1.0
    assert samples["vllm:num_requests_running"].labels == {"model_name": "llama", "engine": "0"}
    assert samples["vllm:num_requests_waiting"].value == 0.0
    assert samples["vllm:generation_tokens_total"].value == 7.0
    assert samples["vllm:time_to_first_token_seconds_count"].value == 1.0
    assert samples["vllm:inter_token_latency_seconds_count"].value == 6.0


async def test_a_slow_reader_holds_no_memory(serve: Serve) -> None:
    """What a client does not read is not piled up for it, and it gets the whole answer when it reads on."""
    body = json.dumps(LONG | {"max_tokens": 60_000}).encode()
    async with serve(context_tokens={"llama": 100_000}) as server, at(server) as client:
        await control(client, slow=0.001)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**12)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await until(client, running=1)
        await until(client, running=0, active=1)
        transport = next(c for c in server._connections if not c.writable)._transport
        assert transport is not None
        # The whole answer has more than 12 MB.
        assert transport.get_write_buffer_size() < 2_000_000
        text, total = b"", 0
        while b"data: [DONE]" not in text:
            data = await reader.read(2**20)
            assert data
            text, total = text[-100:] + data, total + len(data)
        assert total > 12_000_000
        writer.close()
        await writer.wait_closed()


async def test_one_connection_serves_requests_in_order(server: EmulatedServer) -> None:
    """Requests sent at once on one connection are answered in order; nonsense is answered 400 and the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n")
    text = b""
    while b"is not served" not in text:
        text += await reader.read(65536)
    assert text.index(b"200 OK") < text.index(b"404 Not Found")
    writer.write(b"NONSENSE\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()
