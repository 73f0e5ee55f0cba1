"""The Messages wire of the real llama.cpp with a real model: a server of this wire that nobody here wrote."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backends.contract import Backend, FinishReason, GenerateRequest, Message, Sampling
from backends.errors import ContextTooLong
from backends.http.transport import FastTransport
from backends.registry import build
from backends.spec import BackendSpec
from simulation import ports
from supervise.child import Child
from tests.contract.emulated import ask, text

ROOT = Path(__file__).parents[3]
USER = Message(role="user", content="Say hello.")

pytestmark = [
    pytest.mark.judge("llama_cpp", "real"),
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="no build for this machine"),
]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    port = ports.free_port()
    spec = BackendSpec(id="device", wire="anthropic", profile="llama_cpp", base_url=f"http://127.0.0.1:{port}")
    transport = FastTransport()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as control:
        backend = build(spec, transport=transport, control=control, env={})

        async def ready() -> bool:
            return (await backend.probe(timeout_s=1)).healthy

        argv = [sys.executable, "-m", "simulation.device", "--port", str(port)]
        async with Child.start(argv, name="llama.cpp", cwd=ROOT, ready=ready, ready_timeout_s=60):
            async with asyncio.timeout(60):
                while not await ready():
                    await asyncio.sleep(0.05)
            yield backend
            await transport.aclose()


def asking(*messages: Message, tokens: int = 12, stop: tuple[str, ...] = ()) -> GenerateRequest:
    sampling = Sampling(max_output_tokens=tokens, temperature=0.0, stop=stop)
    return GenerateRequest(model="smollm2-135m", messages=messages, sampling=sampling)


async def test_the_adapter_speaks_with_another_server_of_its_wire(backend: Backend) -> None:
    """Text, ends, counts, several turns, a prompt over the window and a caller that leaves, on a real engine."""
    chunks = await ask(backend, asking(Message(role="system", content="Be short"), USER))
    assert text(chunks)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.LENGTH]
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.input > 10
    assert (usage.output, usage.estimated) == (12, False)

    said = Message(role="assistant", content=text(chunks))
    stopped = await ask(backend, asking(USER, said, USER, tokens=60, stop=("e",)))
    assert "e" not in text(stopped)
    assert stopped[-1].finish_reason is FinishReason.STOP
    assert stopped[-1].stop_sequence == "e"

    with pytest.raises(ContextTooLong):
        await ask(backend, asking(Message(role="user", content="word " * 20_000)))

    stream = backend.generate(asking(USER, tokens=1500, stop=("zzzz",)), upstream_model="m", request_id="r")
    async with contextlib.aclosing(stream):
        await anext(stream)
    async with asyncio.timeout(5):
        while (await backend.probe(timeout_s=2)).running:
            await asyncio.sleep(0.02)
