"""The vendor's own SDK drives the emulated Anthropic server, with its answers validated against the SDK's types.

What passes here is what the adapter is tested against.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from simulation.wires.anthropic import KEY, EmulatedAnthropic
from simulation.wires.anthropic_answer import REDACTED_TRIGGER, REFUSAL_TRIGGER

pytestmark = pytest.mark.judge("anthropic", "sdk")

MODEL = "claude-emulated"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
async def server() -> AsyncIterator[EmulatedAnthropic]:
    server = EmulatedAnthropic()
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: EmulatedAnthropic) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{server.port}", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def ask(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 2048, "messages": [{"role": "user", "content": text}], **more}


async def test_one_message(client: anthropic.AsyncAnthropic, server: EmulatedAnthropic) -> None:
    """A whole answer passes the SDK's types, and its request id and limits are found."""
    raw = await client.messages.with_raw_response.create(**ask())
    message = await raw.parse()
    assert message.content[0].type == "text"
    assert message.content[0].text.startswith("Emulated answer")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 1
    assert raw.headers["request-id"]
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "49"
    assert server.seen[0]["headers"]["anthropic-version"] == "2026-10-21"


async def test_the_stream_helper_puts_together_what_create_gives(client: anthropic.AsyncAnthropic) -> None:
    """Stream and whole answer say the same."""
    whole = await client.messages.create(**ask())
    async with client.messages.stream(**ask()) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert final.content[0].type == "text"
    assert final.content[0].text == text
    assert whole.content[0].type == "text"
    assert whole.content[0].text == text
    assert (final.stop_reason, final.usage.input_tokens) == (whole.stop_reason, whole.usage.input_tokens)
    assert final.usage.output_tokens == whole.usage.output_tokens


async def test_raw_events_come_in_the_vendors_order(client: anthropic.AsyncAnthropic) -> None:
    """Every event is one of the SDK's union, from message_start to message_stop."""
    events = [event.type async for event in await client.messages.create(**ask(stream=True))]
    assert (events[0], events[1]) == ("message_start", "content_block_start")
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(events[2:-3]) == {"content_block_delta"}


@pytest.mark.parametrize("how", ["at once", "streamed"])
async def test_tools_and_their_results(client: anthropic.AsyncAnthropic, how: str) -> None:
    """A call arrives with its parsed input, and its result is taken back in the next turn."""
    request = ask("What is the weather?", tools=[WEATHER], tool_choice={"type": "any"})
    if how == "streamed":
        async with client.messages.stream(**request) as stream:
            message: Any = await stream.get_final_message()
    else:
        message = await client.messages.create(**request)
    call = message.content[-1]
    assert (message.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "get_weather")
    assert call.input == {"city": "emulated"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [*request["messages"], message.to_param(), {"role": "user", "content": [result]}]
    answer = await client.messages.create(model=MODEL, max_tokens=64, messages=turns, tools=[WEATHER])
    assert answer.content[0].type == "text"


@pytest.mark.parametrize("how", ["at once", "streamed"])
async def test_thinking_is_signed_and_taken_back(client: anthropic.AsyncAnthropic, how: str) -> None:
    """Thinking and its redacted sibling pass the SDK's types, and come back unchanged; a changed one is refused."""
    request = ask(f"Think. {REDACTED_TRIGGER}", thinking={"type": "adaptive", "display": "summarized"})
    if how == "streamed":
        async with client.messages.stream(**request) as stream:
            message: Any = await stream.get_final_message()
    else:
        message = await client.messages.create(**request)
    assert [block.type for block in message.content] == ["redacted_thinking", "thinking", "text"]
    assert message.content[1].signature
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens
    turns = [*request["messages"], message.to_param(), {"role": "user", "content": "Go on"}]
    await client.messages.create(model=MODEL, max_tokens=64, messages=turns)
    message.content[1].thinking += "!"
    turns[1] = message.to_param()
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        await client.messages.create(model=MODEL, max_tokens=64, messages=turns)


async def test_structured_output(client: anthropic.AsyncAnthropic) -> None:
    """The SDK's `parse` reads the answer into the model it was asked for."""

    class City(BaseModel):
        name: str
        people: int

    parsed = await client.messages.parse(**ask("Describe Paris"), output_format=City)
    assert parsed.parsed_output == City(name="emulated", people=0)


async def test_images_system_and_stop_sequences(client: anthropic.AsyncAnthropic, server: EmulatedAnthropic) -> None:
    """What else a request can hold is taken; the stop sequence that ended the answer is named."""
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    content: Any = [image, {"type": "text", "text": "What is it?"}]
    request = ask(system="Be short", stop_sequences=["answer"], metadata={"user_id": "u-1"})
    request["messages"][0]["content"] = content
    message = await client.messages.create(**request)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "answer")
    assert message.usage.input_tokens > 256
    assert server.seen[0]["body"]["metadata"] == {"user_id": "u-1"}


async def test_the_cache_of_prompts(client: anthropic.AsyncAnthropic) -> None:
    """A marked prefix is written once and read from then on; neither is among the input tokens."""
    system: Any = [{"type": "text", "text": "Be short. " * 40, "cache_control": {"type": "ephemeral"}}]
    first = await client.messages.create(**ask(system=system))
    second = await client.messages.create(**ask(system=system))
    assert first.usage.cache_creation_input_tokens == second.usage.cache_read_input_tokens != 0
    assert first.usage.cache_read_input_tokens == second.usage.cache_creation_input_tokens == 0
    assert first.usage.input_tokens == second.usage.input_tokens


async def test_a_refusal(client: anthropic.AsyncAnthropic) -> None:
    """The model's refusal is a stop reason, with details."""
    message = await client.messages.create(**ask(REFUSAL_TRIGGER))
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None


async def test_the_list_of_models(client: anthropic.AsyncAnthropic) -> None:
    """Its page passes the SDK's types."""
    assert [model.id async for model in client.models.list()] == ["claude-emulated", "claude-emulated-small"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (402, anthropic.PaymentRequiredError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (413, anthropic.ContentTooLargeError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (504, anthropic.GatewayTimeoutError),
        (529, anthropic.OverloadedError),
    ],
)
async def test_each_status_is_its_exception(
    client: anthropic.AsyncAnthropic,
    server: EmulatedAnthropic,
    status: int,
    error: type[anthropic.APIStatusError],
) -> None:
    """An injected status arrives as the SDK's class for it, with its type, request id and headers."""
    server.faults.status = status
    server.faults.headers = {"retry-after": "7"}
    with pytest.raises(error) as caught:
        await client.messages.create(**ask())
    assert caught.value.type is not None
    assert caught.value.request_id == "req_emulated"
    assert caught.value.response.headers["retry-after"] == "7"


async def test_a_spend_limit_has_its_code(client: anthropic.AsyncAnthropic, server: EmulatedAnthropic) -> None:
    """The SDK finds the code that tells it from a rate limit."""
    server.faults.status, server.faults.code = 429, "enforced_spend_limit_reached"
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(**ask())
    assert caught.value.error_code == "enforced_spend_limit_reached"
    assert caught.value.type == "rate_limit_error"
    assert "retry-after" not in caught.value.response.headers


async def test_an_overload_inside_a_stream(client: anthropic.AsyncAnthropic, server: EmulatedAnthropic) -> None:
    """The SDK raises an error event after what came before it."""
    server.faults.error_after = 2
    pieces: list[str] = []

    async def read() -> None:
        async with client.messages.stream(**ask()) as stream:
            pieces.extend([piece async for piece in stream.text_stream])

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"extra_body": {"temperature": 1.0}}, "temperature: Extra inputs are not permitted"),
        ({"extra_body": {"seed": 1}}, "seed: Extra inputs are not permitted"),
        ({"messages": [{"role": "user", "content": " "}]}, "non-whitespace"),
        ({"stop_sequences": ["\n"]}, "non-whitespace"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tool_choice": {"type": "any"}}, "while providing tools"),
    ],
)
async def test_what_the_vendor_refuses_is_refused(
    client: anthropic.AsyncAnthropic, wrong: dict[str, Any], words: str
) -> None:
    """The emulated server is as strict as its documentation."""
    with pytest.raises(anthropic.BadRequestError, match=words):
        await client.messages.create(**{**ask(), **wrong})


async def test_the_older_version_takes_sampling_parameters(
    client: anthropic.AsyncAnthropic, server: EmulatedAnthropic
) -> None:
    """The same server speaks 2023-06-01 to who asks for it, with the key in its own header."""
    headers = {"anthropic-version": "2023-06-01", "x-api-key": KEY, "authorization": "Bearer wrong"}
    await client.messages.create(**ask(), extra_body={"temperature": 0.5, "top_k": 3}, extra_headers=headers)
    assert server.seen[0]["body"]["temperature"] == 0.5


async def test_a_wrong_key_and_an_unknown_model(client: anthropic.AsyncAnthropic) -> None:
    """Both are told apart from other refusals."""
    with pytest.raises(anthropic.NotFoundError, match="model: nothing"):
        await client.messages.create(**{**ask(), "model": "nothing"})
    stranger = client.with_options(api_key="sk-ant-other")
    with pytest.raises(anthropic.AuthenticationError):
        await stranger.messages.create(**ask())
