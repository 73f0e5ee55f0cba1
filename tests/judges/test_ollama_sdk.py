"""Ollama's own Python SDK drives the emulated server: what its typed models accept, and how it reports errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import ollama
import pytest

from simulation.wires.faults import Faults
from simulation.wires.ollama import VERSION, OllamaServer

pytestmark = pytest.mark.judge("ollama", "sdk")

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ALL = frozenset({"tools", "vision", "thinking"})


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    server = OllamaServer({"big:latest": ALL, "small:1b": frozenset()})
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: OllamaServer) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=f"http://127.0.0.1:{server.port}") as client:
        yield client


def user(text: str) -> list[ollama.Message]:
    return [ollama.Message(role="user", content=text)]


async def test_a_stream_is_accepted_part_by_part(client: ollama.AsyncClient) -> None:
    """Text comes in parts, the counts with the last."""
    parts = [part async for part in await client.chat("small:1b", user("hello"), stream=True)]
    assert "".join(part.message.content or "" for part in parts).startswith("Emulated answer of Ollama")
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count, parts[-1].prompt_eval_count) == ("stop", len(parts) - 1, 6)


async def test_an_answer_in_one_piece_is_accepted(client: ollama.AsyncClient) -> None:
    """The whole answer in one object, thoughts and log-probabilities with it."""
    answer = await client.chat("big", user("hello"), think="high", logprobs=True, top_logprobs=1)
    assert answer.message.content
    assert answer.message.thinking == "Emulated thoughts: nobody thinks."
    assert answer.logprobs
    assert answer.logprobs[0].top_logprobs


async def test_a_tool_is_called_and_its_result_is_taken(client: ollama.AsyncClient) -> None:
    """Arguments are an object, and a result names its tool."""
    conversation = user("What is the weather in Paris?")
    answer = await client.chat("big", conversation, tools=[WEATHER])
    assert answer.message.tool_calls
    function = answer.message.tool_calls[0].function
    assert (function.name, list(function.arguments)) == ("get_weather", ["city"])
    conversation += [answer.message, ollama.Message(role="tool", content="rain", tool_name="get_weather")]
    assert (await client.chat("big", conversation, tools=[WEATHER])).message.content


async def test_images_formats_and_options_are_taken(client: ollama.AsyncClient, server: OllamaServer) -> None:
    """A picture as base64, a schema as the format, every option of the SDK's type that a server still knows."""
    message = ollama.Message(role="user", content="what is this?", images=[ollama.Image(value=PIXEL)])
    options = ollama.Options(num_ctx=8192, num_predict=64, seed=7, temperature=0.5, stop=["\n\n"])
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    answer = await client.chat("big", [message], format=schema, options=options, keep_alive="5m")
    assert answer.message.content == '{"a": 1}'
    assert server.seen[-1]["messages"][0]["images"] == [PIXEL]


async def test_plain_prompts_are_completed(client: ollama.AsyncClient) -> None:
    """/api/generate has its text beside the message's place."""
    parts = [part async for part in await client.generate("small:1b", "Once upon", raw=True, stream=True)]
    assert "".join(part.response or "" for part in parts)
    assert parts[-1].done_reason == "stop"


async def test_an_empty_request_loads_the_model(client: ollama.AsyncClient) -> None:
    """Which is why a probe never sends one."""
    assert (await client.generate("small:1b")).done_reason == "load"
    assert [model.model for model in (await client.ps()).models] == ["small:1b"]


async def test_models_are_listed_and_the_loaded_ones_told_apart(client: ollama.AsyncClient) -> None:
    """The questions of a probe."""
    assert [model.model for model in (await client.list()).models] == ["big:latest", "small:1b"]
    assert not (await client.ps()).models
    assert VERSION


@pytest.mark.parametrize(
    ("status", "words"), [(503, "maximum pending requests exceeded"), (500, "llama runner"), (401, "unauthorized")]
)
async def test_refusals_are_read(client: ollama.AsyncClient, server: OllamaServer, status: int, words: str) -> None:
    """An error is a text under its status, also where a stream was asked for."""
    server.faults = Faults(status=status)
    with pytest.raises(ollama.ResponseError, match=words) as caught:
        await client.chat("small:1b", user("hello"))
    assert caught.value.status_code == status


async def test_what_a_model_cannot_do_is_refused(client: ollama.AsyncClient) -> None:
    """Unknown models, tools, thoughts and pictures, each in the server's words."""
    with pytest.raises(ollama.ResponseError, match="model 'none' not found"):
        await client.chat("none", user("hello"))
    with pytest.raises(ollama.ResponseError, match="does not support tools"):
        await client.chat("small:1b", user("hello"), tools=[WEATHER])
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        await client.chat("small:1b", user("hello"), think=True)


async def test_an_error_inside_a_stream_is_read(client: ollama.AsyncClient, server: OllamaServer) -> None:
    """A line with an error under 200."""
    server.faults = Faults(error_after=2)
    stream = aiter(await client.chat("small:1b", user("hello"), stream=True))
    assert [(await anext(stream)).done for _ in range(2)] == [False, False]
    with pytest.raises(ollama.ResponseError, match="an error was encountered"):
        await anext(stream)


async def test_a_client_that_leaves_is_noticed(client: ollama.AsyncClient, server: OllamaServer) -> None:
    """A closed connection ends the generation."""
    server.faults = Faults(stall_after=1)
    stream = await client.chat("small:1b", user("hello"), stream=True)
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(2):
        await server.disconnected()
