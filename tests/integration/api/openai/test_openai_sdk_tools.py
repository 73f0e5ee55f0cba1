"""The official SDK uses tools, JSON schemas, images and log probabilities through the HTTP face."""

from __future__ import annotations

import base64

import msgspec
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from backends.contract import (
    Chunk,
    FinishReason,
    ImagePart,
    Message,
    TextPart,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)
from router.dispatch.scripted import ScriptedDirector, finished, routed
from router.domain.fleet import Capability

MODEL = "llama-3.1-8b"
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        "strict": True,
    },
}
STOP = Chunk(finish_reason=FinishReason.STOP)
HELLO = (routed(), Chunk(text="Hel", events=1), Chunk(text="lo", events=1), STOP, finished())
CALLS = (
    routed(),
    Chunk(tool_calls=(ToolCallDelta(index=0, id="call_1", name="weather"),), events=1),
    Chunk(tool_calls=(ToolCallDelta(index=0, arguments='{"place":'),), events=1),
    Chunk(
        tool_calls=(
            ToolCallDelta(index=0, arguments='"Rome"}'),
            ToolCallDelta(index=1, id="call_2", name="weather", arguments='{"place":"Oslo"}'),
        ),
        events=2,
    ),
    Chunk(finish_reason=FinishReason.TOOL_CALLS),
    finished(finish_reason="tool_calls"),
)
LOGPROBS = (
    TokenLogprob(token="Hi", logprob=-0.1, bytes=(72, 105), top=(TokenLogprob(token="Ho", logprob=-2.5),)),
    TokenLogprob(token="!", logprob=-0.2),
)


async def test_tool_calls_are_put_together(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """Pieces of two calls become two whole calls; the tools reach the backend with their schema as it was written."""
    director.script = CALLS

    answer = await client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=True,
    )

    message = answer.choices[0].message
    assert message.content is None
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = [call for call in message.tool_calls or () if call.type == "function"]
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "weather", '{"place":"Rome"}'),
        ("call_2", "weather", '{"place":"Oslo"}'),
    ]
    request, profile = director.served[0]
    assert request.tool_choice == ToolChoice(mode="function", name="weather", parallel=True)
    assert (request.tools[0].name, request.tools[0].strict) == ("weather", True)
    assert request.tools[0].parameters is not None
    assert msgspec.json.decode(request.tools[0].parameters) == WEATHER["function"]["parameters"]
    assert profile.needs == {Capability.TOOLS}


async def test_streamed_tool_calls_are_put_together_by_the_sdk(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """The SDK's own accumulator makes the same two calls of a stream."""
    director.script = CALLS

    async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[WEATHER]) as stream:
        answer = await stream.get_final_completion()

    calls = answer.choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_1", "weather", '{"place":"Rome"}'),
        ("call_2", "weather", '{"place":"Oslo"}'),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_a_conversation_with_tools_can_go_on(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """A former answer, as the SDK gives it back, and the tool's result are turns of the next request."""
    director.script = CALLS
    first = await client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER])
    director.script = HELLO
    turn = first.choices[0].message.model_dump()

    await client.chat.completions.create(
        model=MODEL,
        messages=[*ASK, turn, {"role": "tool", "tool_call_id": "call_1", "content": "sun"}],  # type: ignore[list-item]  # what users do
        tools=[WEATHER],
    )

    assert director.served[1][0].messages[1:] == (
        Message(
            role="assistant",
            tool_calls=(
                ToolCall(id="call_1", name="weather", arguments='{"place":"Rome"}'),
                ToolCall(id="call_2", name="weather", arguments='{"place":"Oslo"}'),
            ),
        ),
        Message(role="tool", content="sun", tool_call_id="call_1"),
    )


class Place(BaseModel):
    """What the answer is to look like."""

    name: str
    people: int


async def test_a_json_schema_gives_a_parsed_answer(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """The SDK's parse helper sends a schema, which reaches the backend, and reads the answer into its class."""
    director.script = (routed(), Chunk(text='{"name":"Rome","people":3}', events=1), STOP, finished())

    answer = await client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Place)

    assert answer.choices[0].message.parsed == Place(name="Rome", people=3)
    request, profile = director.served[0]
    form = request.response_format
    assert form is not None
    assert (form.kind, form.name, form.strict) == ("json_schema", "Place", True)
    assert form.schema is not None
    assert msgspec.json.decode(form.schema)["required"] == ["name", "people"]
    assert profile.needs == {Capability.JSON_SCHEMA}


async def test_images_reach_the_backend(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """Text and image parts keep their order, and an image needs a backend that sees."""
    director.script = HELLO
    data = f"data:image/png;base64,{base64.b64encode(b'png').decode()}"

    await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
                ],
            },
        ],
    )

    request, profile = director.served[0]
    assert request.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", name="ann", content=(TextPart(text="What is this?"), ImagePart(url=data, detail="low"))),
    )
    assert profile.needs == {Capability.VISION}


async def test_logprobs_of_a_chat(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """Log probabilities and their alternatives arrive, streamed and not."""
    director.script = (routed(), Chunk(text="Hi!", logprobs=LOGPROBS, events=2), STOP, finished())

    answer = await client.chat.completions.create(model=MODEL, messages=ASK, logprobs=True, top_logprobs=1)
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, logprobs=True, stream=True)
    events = [event async for event in stream]

    for logprobs in (answer.choices[0].logprobs, events[1].choices[0].logprobs):
        assert logprobs is not None
        tokens = logprobs.content or []
        assert [(t.token, t.logprob, t.bytes) for t in tokens] == [("Hi", -0.1, [72, 105]), ("!", -0.2, None)]
        assert [(t.token, t.logprob) for t in tokens[0].top_logprobs] == [("Ho", -2.5)]
    assert director.served[0][0].sampling.top_logprobs == 1
