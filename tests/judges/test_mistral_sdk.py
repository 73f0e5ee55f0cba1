"""Mistral's own SDK drives the emulated Mistral."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, SDKError
from mistralai.client.models import AssistantMessage, ChatCompletionResponse

from simulation.wires.faults import Faults
from simulation.wires.openai_vendor import KEY, MODEL, EmulatedVendor
from simulation.wires.openai_vendors import VENDORS

pytestmark = pytest.mark.judge("mistral", "sdk")

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture
async def server() -> AsyncIterator[EmulatedVendor]:
    server = EmulatedVendor(VENDORS["mistral"])
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: EmulatedVendor) -> AsyncIterator[Mistral]:
    async with Mistral(server_url=f"http://127.0.0.1:{server.port}", api_key=KEY, retry_config=None) as client:
        yield client


def said(answer: ChatCompletionResponse) -> AssistantMessage:
    message = answer.choices[0].message
    assert message is not None
    return message


async def test_one_answer(client: Mistral) -> None:
    """A whole answer passes the SDK's types."""
    answer = await client.chat.complete_async(model=MODEL, messages=MESSAGES, random_seed=1)
    assert isinstance(said(answer).content, str)
    assert str(said(answer).content).startswith("Emulated answer of mistral")
    assert answer.usage.completion_tokens


async def test_a_stream_says_what_the_answer_says(client: Mistral) -> None:
    """Usage comes unasked with the finish reason."""
    whole = await client.chat.complete_async(model=MODEL, messages=MESSAGES)
    text = ""
    async for event in await client.chat.stream_async(model=MODEL, messages=MESSAGES):
        assert isinstance(event.data.choices[0].delta.content, str)
        text += event.data.choices[0].delta.content
        last = event.data
        if last.choices[0].finish_reason:
            break
    assert text == said(whole).content
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == whole.usage.completion_tokens


async def test_a_tool_is_called_and_answered(client: Mistral) -> None:
    """Its word for "some tool" is "any", and its ids have nine characters."""
    asked: Any = {"model": MODEL, "tools": TOOLS, "tool_choice": "any"}
    message = said(await client.chat.complete_async(messages=MESSAGES, **asked))
    assert message.tool_calls
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(str(call.function.arguments))) == ("get_weather", {"city": "emulated"})
    assert len(str(call.id)) == 9
    pieces = [
        piece
        async for event in await client.chat.stream_async(messages=MESSAGES, **asked)
        for piece in event.data.choices[0].delta.tool_calls or ()
    ]
    assert [(piece.function.name, json.loads(str(piece.function.arguments))) for piece in pieces] == [
        ("get_weather", {"city": "emulated"})
    ]
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "content": "rain", "tool_call_id": call.id}
    turns: Any = [*MESSAGES, called, result]
    assert said(await client.chat.complete_async(model=MODEL, messages=turns)).content


async def test_structured_output_keeps_to_its_schema(client: Mistral) -> None:
    """The schema goes as in OpenAI's own wire."""
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = await client.chat.complete_async(model=MODEL, messages=MESSAGES, response_format=wanted)
    assert json.loads(str(said(answer).content)) == {"a": 1}


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_refusal_is_the_sdks_error(client: Mistral, server: EmulatedVendor, status: int) -> None:
    """With the status, and the body in the vendor's shape."""
    server.faults = Faults(status=status)
    with pytest.raises(SDKError) as caught:
        await client.chat.complete_async(model=MODEL, messages=MESSAGES)
    assert caught.value.status_code == status
    assert ("detail" if status == 401 else "object") in json.loads(caught.value.body)


async def test_a_body_that_is_not_valid_is_the_sdks_validation_error(client: Mistral) -> None:
    """Each field at fault has its place."""
    with pytest.raises(HTTPValidationError) as caught:
        await client.chat.complete_async(model=MODEL, messages=[])
    assert caught.value.data.detail
