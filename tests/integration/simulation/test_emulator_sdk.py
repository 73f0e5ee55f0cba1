"""The official openai SDK takes an emulated backend for a real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from simulation.server import EmulatedServer

ASK: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
async def sdk(server: EmulatedServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1",
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        yield client


async def test_a_whole_answer(sdk: openai.AsyncOpenAI) -> None:
    """A chat completion says who it is, counts its tokens, and is marked as emulated."""
    response = await sdk.chat.completions.with_raw_response.create(model="llama", messages=ASK, max_tokens=10)
    assert response.headers["x-emulated"] == "true"
    answer = response.parse()
    assert answer.system_fingerprint == "emulated"
    assert (answer.choices[0].message.content or "").startswith("Emulated answer")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10


async def test_a_stream_sends_one_event_per_token_and_the_same_text(sdk: openai.AsyncOpenAI) -> None:
    """A stream has as many text events as tokens, and together they are the answer that is given without streaming."""
    whole = await sdk.chat.completions.create(model="llama", messages=ASK, max_tokens=30)
    stream = await sdk.chat.completions.create(
        model="llama", messages=ASK, max_tokens=30, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(texts) == whole.choices[0].message.content
    assert len(texts) == 30
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]


async def test_tools_are_called_where_they_must_be_or_where_the_question_asks(sdk: openai.AsyncOpenAI) -> None:
    """A tool is called when it is required and when the last message speaks of it, and otherwise not."""
    choices: tuple[Literal["required", "auto"], ...] = ("required", "auto")
    for choice in choices:
        answer = await sdk.chat.completions.create(model="llama", messages=ASK, tools=[WEATHER], tool_choice=choice)
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        call = calls[0]
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "emulated"})
    other = await sdk.chat.completions.create(
        model="llama", messages=[{"role": "user", "content": "hello"}], tools=[WEATHER], max_tokens=5
    )
    assert other.choices[0].message.tool_calls is None


async def test_a_streamed_tool_call_is_assembled(sdk: openai.AsyncOpenAI) -> None:
    """The pieces of a streamed tool call make up one call, whose name and id come first and once."""
    async with sdk.chat.completions.stream(model="llama", messages=ASK, tools=[WEATHER], tool_choice="required") as s:
        completion = await s.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == {"city": "emulated"}
    assert calls[0].id.startswith("call_")


async def test_json_follows_the_schema(sdk: openai.AsyncOpenAI) -> None:
    """An answer in a JSON schema is one that the schema's model accepts; a plain JSON object says it is emulated."""
    parsed = await sdk.chat.completions.parse(model="llama", messages=ASK, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)
    plain = await sdk.chat.completions.create(model="llama", messages=ASK, response_format={"type": "json_object"})
    assert json.loads(plain.choices[0].message.content or "")["emulated"] is True


async def test_logprobs_come_with_every_token(sdk: openai.AsyncOpenAI) -> None:
    """Each token has a log probability when it was asked for, streamed or not."""
    whole = await sdk.chat.completions.create(model="llama", messages=ASK, max_tokens=6, logprobs=True)
    assert whole.choices[0].logprobs is not None
    assert len(whole.choices[0].logprobs.content or []) == 6
    stream = await sdk.chat.completions.create(model="llama", messages=ASK, max_tokens=6, logprobs=True, stream=True)
    tokens = [
        entry.token
        async for chunk in stream
        for choice in chunk.choices
        if choice.logprobs is not None
        for entry in choice.logprobs.content or []
    ]
    assert "".join(tokens) == whole.choices[0].message.content


async def test_text_completions(sdk: openai.AsyncOpenAI) -> None:
    """A raw prompt is completed, streamed or not, and ends at a stop sequence."""
    whole = await sdk.completions.create(model="llama", prompt="Once", max_tokens=40, stop="no model")
    assert "no model" not in whole.choices[0].text
    assert whole.choices[0].finish_reason == "stop"
    stream = await sdk.completions.create(model="llama", prompt="Once", max_tokens=40, stop="no model", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream if chunk.choices]) == whole.choices[0].text


async def test_models_are_listed(sdk: openai.AsyncOpenAI) -> None:
    """The served models are listed with their context windows."""
    models = [model async for model in sdk.models.list()]
    assert [(model.id, (model.model_extra or {})["max_model_len"]) for model in models] == [("llama", 4096)]


async def test_errors_are_the_sdks_own_classes(sdk: openai.AsyncOpenAI) -> None:
    """An unknown model, too long a prompt and a wrong body raise what OpenAI's own server makes the SDK raise."""
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.chat.completions.create(model="gpt-9", messages=ASK)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        await sdk.chat.completions.create(model="llama", messages=[{"role": "user", "content": "x" * 20_000}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as wrong:
        await sdk.chat.completions.create(model="llama", messages=ASK, max_tokens="many")  # type: ignore[call-overload]  # wrong on purpose
    assert wrong.value.param == "max_tokens"
