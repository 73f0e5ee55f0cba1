"""The real llama.cpp with a real model: as a server that somebody else started, and as a child of the adapter."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from backends.contract import (
    Backend,
    Chunk,
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from backends.errors import BadRequest, ConnectFailed, ContextTooLong, Warming
from backends.http.transport import FastTransport
from backends.llama_embedded.adapter import EmbeddedLlama
from backends.registry import build
from backends.spec import BackendSpec
from backends.wire import Resources
from router.clock import FakeClock
from simulation import ports
from simulation.device import MODEL_FILE
from supervise.child import Child

ROOT = Path(__file__).parents[3]
HELLO = (Message(role="user", content="Say hello."),)
GREEDY = Sampling(max_output_tokens=12, temperature=0.0)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="no build for this machine"),
]


@dataclass(slots=True)
class Device:
    backend: Backend

    async def ask(self, **fields: Any) -> list[Chunk]:
        stream = self.backend.generate(
            GenerateRequest(model="m", **fields), upstream_model="smollm2-135m", request_id="r"
        )
        async with contextlib.aclosing(stream), asyncio.timeout(60):
            return [chunk async for chunk in stream]

    async def running(self) -> int | None:
        """Sequences that the engine works on."""
        return (await self.backend.probe(timeout_s=5)).running

    async def idle(self) -> None:
        """Waits until it works on nothing."""
        async with asyncio.timeout(5):
            while await self.running():
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param("server", marks=pytest.mark.judge("llama_cpp", "real")),
        pytest.param("embedded", marks=pytest.mark.judge("llama_cpp_embedded", "real")),
    ],
)
async def device(request: pytest.FixtureRequest) -> AsyncIterator[Device]:
    transport = FastTransport()
    async with contextlib.AsyncExitStack() as open_things, httpx.AsyncClient(trust_env=False, timeout=60) as control:
        open_things.push_async_callback(transport.aclose)
        # One thread: more would wait for each other by spinning, which is slow where others compute, too.
        if request.param == "server":
            port = ports.free_port()
            url = f"http://127.0.0.1:{port}"
            spec = BackendSpec(id="device", wire="openai_chat", profile="llama_cpp", base_url=url)
        else:
            spec = BackendSpec(
                id="device",
                wire="llama_cpp_embedded",
                base_url=MODEL_FILE.absolute().as_uri(),
                options={"slots": "2", "threads": "1"},
            )
        backend = build(spec, transport=transport, control=control, env={})
        open_things.push_async_callback(backend.aclose)

        async def ready() -> bool:
            return (await backend.probe(timeout_s=1)).healthy

        if request.param == "server":
            argv = [sys.executable, "-m", "simulation.device", "--port", str(port), "--threads", "1"]
            child = Child.start(argv, name="llama.cpp", cwd=ROOT, ready=ready, ready_timeout_s=60)
            await open_things.enter_async_context(child)
        async with asyncio.timeout(60):
            while not await ready():
                await asyncio.sleep(0.05)
        yield Device(backend)


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


def usage(chunks: list[Chunk]) -> Usage:
    return next(chunk.usage for chunk in reversed(chunks) if chunk.usage is not None)


async def test_logarithms_stops_and_seeds(device: Device) -> None:
    """A logarithm per token on both endpoints, a stop sequence that ends the text, a seed that repeats an answer."""
    wanted = Sampling(max_output_tokens=5, temperature=0.0, logprobs=True, top_logprobs=2)
    for fields in ({"messages": HELLO}, {"prompt": "Once upon a time"}):
        chunks = await device.ask(**fields, sampling=wanted)
        found = [value for chunk in chunks for value in chunk.logprobs]
        assert "".join(value.token for value in found) == text(chunks)
        assert [len(value.top) for value in found] == [2] * 5

    whole = text(await device.ask(messages=HELLO, sampling=GREEDY))
    stop = whole[3:5]
    chunks = await device.ask(messages=HELLO, sampling=msgspec.structs.replace(GREEDY, stop=(stop,)))
    assert text(chunks) == whole.partition(stop)[0]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.STOP]

    story = (Message(role="user", content="Tell a story."),)
    said = [
        text(await device.ask(messages=story, sampling=Sampling(max_output_tokens=12, temperature=1.0, seed=seed)))
        for seed in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2]


async def test_what_was_in_the_cache_is_counted(device: Device) -> None:
    """A prompt that came before is read from the slot that still holds it; it is input all the same."""
    prompt = (Message(role="user", content="Of birds and bees: " + "sing " * 200),)
    first = usage(await device.ask(messages=prompt, sampling=GREEDY))
    again = usage(await device.ask(messages=prompt, sampling=GREEDY))
    assert first.input == again.input > 200
    assert first.cached_input < 100
    assert 200 < again.cached_input < again.input


async def test_tools_are_offered_and_results_are_read(device: Device) -> None:
    """This model's template has no place for tools: what forces a call goes unheard there, and nothing breaks.

    A model whose template has one calls them as it is told to; recorded traffic of this server proves that.
    """
    tool = Tool(name="f", parameters=msgspec.Raw(b'{"type":"object","properties":{"n":{"type":"integer"}}}'))
    for mode in ("auto", "none", "required"):
        chunks = await device.ask(messages=HELLO, tools=(tool,), tool_choice=ToolChoice(mode=mode), sampling=GREEDY)
        assert text(chunks)
        assert not [delta for chunk in chunks for delta in chunk.tool_calls]
    turns = (
        *HELLO,
        Message(role="assistant", tool_calls=(ToolCall(id="call_1", name="f", arguments='{"n":1}'),)),
        Message(role="tool", tool_call_id="call_1", content="2"),
    )
    assert text(await device.ask(messages=turns, tools=(tool,), sampling=GREEDY))


async def test_what_it_refuses_and_what_it_lets_pass(device: Device) -> None:
    """Wrong types, schemas that are none and pictures are the request's fault; any name of a model is answered to."""
    broken = ResponseFormat(kind="json_schema", schema=msgspec.Raw(b'{"type":"nonsense"}'))
    picture = Message(role="user", content=(TextPart(text="?"), ImagePart(url="data:image/png;base64,iVBORw0KGgo=")))
    refused: tuple[dict[str, Any], ...] = (
        {"messages": HELLO, "sampling": msgspec.structs.replace(GREEDY, temperature="hot")},
        {"messages": HELLO, "response_format": broken},
        {"messages": (picture,)},
    )
    for fields in refused:
        with pytest.raises(BadRequest):
            await device.ask(**fields)
    # One model is loaded, and the name of another is passed over: the router's own list of models is what holds.
    request = GenerateRequest(model="m", messages=HELLO, sampling=GREEDY)
    stream = device.backend.generate(request, upstream_model="no-such-model", request_id="r")
    async with contextlib.aclosing(stream):
        assert text([chunk async for chunk in stream])


async def test_its_load_is_in_its_metrics(device: Device) -> None:
    """Running and waiting are told, also while it works; how full its cache is, newer versions do not say: unknown."""
    stream = device.backend.generate(
        GenerateRequest(model="m", prompt="1 2 3", sampling=Sampling(max_output_tokens=1500)),
        upstream_model="m",
        request_id="r",
    )
    async with contextlib.aclosing(stream):
        await anext(stream)
        report = await device.backend.probe(timeout_s=5)
    assert (report.running, report.waiting, report.kv_cache_usage) == (1, 0, None)
    await device.idle()


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
        assert await device.running() == 1
    await device.idle()


@pytest.mark.judge("llama_cpp_embedded", "real")
async def test_an_embedded_engine_that_dies_is_started_again() -> None:
    """Killed, it is a failed connection until a later probe has brought it back; closed, nothing of it is left."""
    transport, clock = FastTransport(), FakeClock()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as control:
        address = MODEL_FILE.absolute().as_uri()
        spec = BackendSpec(id="device", wire="llama_cpp_embedded", base_url=address, options={"threads": "1"})
        resources = Resources(transport=transport, control=control, env={})
        backend = EmbeddedLlama(spec, resources, now=clock.monotonic)
        request = GenerateRequest(model="m", messages=HELLO, sampling=GREEDY)

        async def ask() -> str:
            async with contextlib.aclosing(backend.generate(request, upstream_model="m", request_id="r")) as stream:
                return text([chunk async for chunk in stream])

        with pytest.raises(Warming):
            await ask()
        first = await engine(backend)
        assert await ask()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(60):
            while (await backend.probe(timeout_s=1)).warming or backend.pid is not None:
                await asyncio.sleep(0.02)
        with pytest.raises(ConnectFailed, match="not running: it ended with status"):
            await ask()
        clock.advance(5.0)
        second = await engine(backend)
        assert second != first
        assert await ask()
        await backend.aclose()
        await transport.aclose()
        with pytest.raises(ProcessLookupError):
            os.kill(second, 0)


async def engine(backend: EmbeddedLlama) -> int:
    """The process of an engine that serves."""
    async with asyncio.timeout(60):
        while not (await backend.probe(timeout_s=1)).healthy:
            await asyncio.sleep(0.05)
    assert backend.pid is not None
    return backend.pid


async def test_a_file_that_is_no_model_is_said_to_be_none(tmp_path: Path) -> None:
    """The engine's own last word is in the report of the probe."""
    file = tmp_path / "not.gguf"
    file.write_bytes(b"nothing")
    transport = FastTransport()
    async with httpx.AsyncClient(trust_env=False) as control:
        spec = BackendSpec(id="device", wire="llama_cpp_embedded", base_url=file.as_uri())
        backend = build(spec, transport=transport, control=control, env={})
        async with asyncio.timeout(90):
            while (report := await backend.probe(timeout_s=1)).warming:
                await asyncio.sleep(0.05)
        assert not report.healthy
        assert report.reason.startswith("CONNECT_FAILED: the engine is not running: ")
        await backend.aclose()
        await transport.aclose()
