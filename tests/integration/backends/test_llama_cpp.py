"""The chat adapter against the real llama.cpp server with a real model."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from backends.contract import Backend, Chunk, FinishReason, GenerateRequest, Message, ResponseFormat, Sampling
from backends.errors import ContextTooLong
from backends.http.transport import FastTransport
from backends.registry import build
from backends.spec import BackendSpec
from simulation import ports
from supervise.child import Child

ROOT = Path(__file__).parents[3]
HELLO = (Message(role="user", content="Say hello."),)
GREEDY = Sampling(max_output_tokens=12, temperature=0.0)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="no build for this machine")


@dataclass(slots=True)
class Device:
    backend: Backend
    control: httpx.AsyncClient

    async def ask(self, **fields: Any) -> list[Chunk]:
        stream = self.backend.generate(
            GenerateRequest(model="m", **fields), upstream_model="smollm2-135m", request_id="r"
        )
        async with contextlib.aclosing(stream), asyncio.timeout(60):
            return [chunk async for chunk in stream]

    async def busy_slots(self) -> int:
        return sum(slot["is_processing"] for slot in (await self.control.get("/slots")).json())


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    port = ports.free_port()
    url = f"http://127.0.0.1:{port}"
    transport = FastTransport()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as control:
        spec = BackendSpec(id="device", wire="openai_chat", profile="llama_cpp", base_url=url)
        backend = build(spec, transport=transport, control=control, env={})

        async def ready() -> bool:
            return (await backend.probe(timeout_s=1)).healthy

        argv = [sys.executable, "-m", "simulation.device", "--port", str(port)]
        async with Child.start(argv, name="llama.cpp", cwd=ROOT, ready=ready, ready_timeout_s=60):
            yield Device(backend, control)
            await transport.aclose()


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


async def test_answers_are_streamed_counted_and_timed(device: Device) -> None:
    """Text comes token by token, with the engine's own counts and times behind it."""
    chunks = await device.ask(messages=HELLO, sampling=GREEDY)
    assert text(chunks)
    assert [c.finish_reason for c in chunks if c.finish_reason] in ([FinishReason.STOP], [FinishReason.LENGTH])
    usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage)
    assert not usage.estimated
    assert usage.input > 0
    assert 0 < usage.output <= 12
    timings = next(chunk.timings for chunk in chunks if chunk.timings)
    assert timings.decode_s is not None
    assert timings.decode_s > 0

    completed = await device.ask(prompt="Once upon a time", sampling=GREEDY)
    assert text(completed)

    begun = (*HELLO, Message(role="assistant", content="Hello! My name is"))
    continued = await device.ask(messages=begun, sampling=GREEDY)
    assert not text(continued).lstrip().startswith("Hello! My name is")

    schema = msgspec.Raw(b'{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}')
    wanted = ResponseFormat(kind="json_schema", schema=schema, strict=True)
    structured = await device.ask(
        messages=HELLO, response_format=wanted, sampling=Sampling(max_output_tokens=60, temperature=0.0)
    )
    assert isinstance(json.loads(text(structured))["n"], int)

    report = await device.backend.probe(timeout_s=5)
    assert report.healthy
    assert report.models
    assert report.rtt_s is not None
    assert (report.running, report.waiting) == (0, 0)


async def test_a_prompt_over_the_window_is_the_requests_fault(device: Device) -> None:
    """The real server's refusal is recognised, and the server goes on."""
    with pytest.raises(ContextTooLong):
        await device.ask(messages=(Message(role="user", content="word " * 20_000),), sampling=GREEDY)
    assert text(await device.ask(messages=HELLO, sampling=GREEDY))


async def test_a_caller_that_leaves_frees_the_slot(device: Device) -> None:
    """Closing the stream stops the model."""
    stream = device.backend.generate(
        GenerateRequest(model="m", prompt="1 2 3", sampling=Sampling(max_output_tokens=1500)),
        upstream_model="m",
        request_id="r",
    )
    async with contextlib.aclosing(stream):
        await anext(stream)
        assert await device.busy_slots() == 1
    async with asyncio.timeout(5):
        while await device.busy_slots():
            await asyncio.sleep(0.02)
