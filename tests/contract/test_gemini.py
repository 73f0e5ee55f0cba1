"""The adapter of Google's wire against the emulated server that Google's own SDK has judged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from backends.contract import (
    Chunk,
    FinishReason,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from backends.errors import (
    Unsupported,
)
from tests.contract.emulated import SECRET, adapters, ask, text
from tests.contract.gemini_stage import CLOUD, NEW, OLD, USER, Stage, a_request, staged
from tests.contract.loopback import LoopbackServer, Reply

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false}')
WEATHER = Tool(
    name="get_weather",
    parameters=msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with staged(request.param) as found:
        yield found


def answer_of(chunks: list[Chunk]) -> Message:
    """The turn that a caller would give back."""
    calls = [delta for chunk in chunks for delta in chunk.tool_calls]
    return Message(
        role="assistant",
        content=text(chunks),
        tool_calls=tuple(
            ToolCall(id=call.id or "", name=call.name or "", arguments=call.arguments, signature=call.signature)
            for call in calls
        ),
        reasoning=tuple(block for chunk in chunks for block in chunk.signed),
    )


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_text_and_usage_arrive(stage: Stage, model: str) -> None:
    """Text as it comes, the end and the counts with the last chunk."""
    chunks = await ask(stage.backend(), a_request(model=model))
    assert text(chunks).startswith(f"Emulated answer of {model}")
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    usage = chunks[-1].usage
    assert usage is not None
    assert not usage.estimated
    assert usage.input == 6
    assert 0 <= usage.output * 4 - len(text(chunks)) < 4


async def test_a_request_goes_where_its_model_is(stage: Stage) -> None:
    """The key in Google's header, the version of the options, a stream of events."""
    await ask(stage.backend(), a_request())
    await ask(stage.backend(options={"api_version": "v1"}), a_request(model=f"models/{NEW}"))
    first, second = stage.server.seen
    assert (first["path"], first["query"]) == (f"/v1beta/models/{NEW}:streamGenerateContent", "alt=sse")
    assert first["headers"]["x-goog-api-key"] == SECRET
    assert "authorization" not in first["headers"]
    assert second["path"] == f"/v1/models/{NEW}:streamGenerateContent"


async def test_vertex_takes_a_token_and_a_project(stage: Stage) -> None:
    """A bearer token; project and location in the path."""
    chunks = await ask(stage.backend("vertex", CLOUD), a_request())
    assert chunks[-1].finish_reason is FinishReason.STOP
    (seen,) = stage.server.seen
    parent = "/v1/projects/our-project/locations/europe-west4/publishers/google"
    assert seen["path"] == f"{parent}/models/{NEW}:streamGenerateContent"
    assert seen["headers"]["authorization"] == f"Bearer {SECRET}"


async def test_vertex_takes_a_key_alone(stage: Stage) -> None:
    """Express mode has no project."""
    chunks = await ask(stage.backend("vertex_express"), a_request())
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert stage.server.seen[-1]["path"] == f"/v1/publishers/google/models/{NEW}:streamGenerateContent"


async def test_sampling_is_taken(stage: Stage) -> None:
    """Every parameter of the family has its word, and the bound is kept."""
    sampling = Sampling(
        max_output_tokens=8,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=("\n\n",),
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=1,
    )
    chunks = await ask(stage.backend(), a_request(sampling=sampling))
    assert chunks[-1].finish_reason is FinishReason.LENGTH
    logprobs = [token for chunk in chunks for token in chunk.logprobs]
    assert "".join(token.token for token in logprobs) == text(chunks)
    assert all(len(token.top) == 1 for token in logprobs)
    assert stage.server.seen[-1]["body"]["generationConfig"] == {
        "maxOutputTokens": 8,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "stopSequences": ["\n\n"],
        "seed": 3,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 1,
    }


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_thought_is_reasoning(stage: Stage, model: str) -> None:
    """It is told apart from the text, and counted in the output."""
    chunks = await ask(stage.backend(), a_request(model=model, sampling=Sampling(reasoning_effort="low")))
    assert "".join(chunk.reasoning for chunk in chunks) == "Emulated thinking: no model has run."
    assert text(chunks).startswith("Emulated answer")
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.reasoning == 9
    assert usage.output > 9


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_a_tool_is_called_and_its_result_is_taken(stage: Stage, model: str) -> None:
    """The call's signature goes back with it, without which the newer models refuse the conversation."""
    asked = Message(role="user", content="What is the weather in Paris?")
    chunks = await ask(stage.backend(), a_request(asked, model=model, tools=(WEATHER,)))
    assert chunks[-1].finish_reason is FinishReason.TOOL_CALLS
    turn = answer_of(chunks)
    (call,) = turn.tool_calls
    assert (call.name, msgspec.json.decode(call.arguments)) == ("get_weather", {"city": "emulated"})
    assert call.id
    result = Message(role="tool", content="rain", tool_call_id=call.id)
    chunks = await ask(stage.backend(), a_request(asked, turn, result, model=model, tools=(WEATHER,)))
    assert chunks[-1].finish_reason is FinishReason.STOP
    sent = stage.server.seen[-1]["body"]["contents"]
    assert sent[1]["parts"][0].get("thoughtSignature") == call.signature
    assert sent[2]["parts"][0]["functionResponse"]["response"] == {"output": "rain"}


async def test_a_conversation_with_another_vendor_goes_on(stage: Stage) -> None:
    """Calls without a signature, thoughts that another signed, two results of one turn."""
    calls = tuple(ToolCall(id=f"call_{n}", name="get_weather", arguments='{"city":"x"}') for n in (1, 2))
    turn = Message(
        role="assistant",
        content="Let me look.",
        tool_calls=calls,
        reasoning=(ReasoningBlock(text="hm", signature="EqQBanother"), ReasoningBlock(signature="x", redacted=True)),
    )
    results = [Message(role="tool", content='{"sky":"blue"}', tool_call_id=call.id) for call in calls]
    chunks = await ask(stage.backend(), a_request(USER, turn, *results, tools=(WEATHER,)))
    assert chunks[-1].finish_reason is FinishReason.STOP
    sent = stage.server.seen[-1]["body"]["contents"]
    assert [part.get("thoughtSignature") for part in sent[1]["parts"]] == [
        None,
        "skip_thought_signature_validator",
        None,
    ]
    assert [part["functionResponse"]["id"] for part in sent[2]["parts"]] == ["call_1", "call_2"]


async def test_what_the_model_thought_goes_back_to_it(stage: Stage) -> None:
    """A signature that came with text is taken back with text."""
    turn = answer_of(await ask(stage.backend(), a_request(sampling=Sampling(reasoning_effort="high"))))
    assert turn.reasoning
    chunks = await ask(stage.backend(), a_request(USER, turn, USER))
    assert chunks[-1].finish_reason is FinishReason.STOP
    parts = stage.server.seen[-1]["body"]["contents"][1]["parts"]
    assert parts[0] == {"text": "Emulated thinking: no model has run.", "thought": True}
    assert parts[-1]["thoughtSignature"]


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (ToolChoice(mode="required"), FinishReason.TOOL_CALLS),
        (ToolChoice(mode="function", name="get_weather"), FinishReason.TOOL_CALLS),
        (ToolChoice(mode="none"), FinishReason.STOP),
        (ToolChoice(mode="auto", parallel=True), FinishReason.STOP),
    ],
)
async def test_the_choice_of_tools(stage: Stage, choice: ToolChoice, reason: FinishReason) -> None:
    """Forced, named, forbidden or free."""
    chunks = await ask(stage.backend(), a_request(tools=(WEATHER,), tool_choice=choice))
    assert chunks[-1].finish_reason is reason


@pytest.mark.parametrize("schemas", ["json", "openapi"])
async def test_structured_output(stage: Stage, schemas: str) -> None:
    """A schema in the newer words or the older ones; any object; arguments of tools alike."""
    schema = ResponseFormat(kind="json_schema", name="a", schema=SCHEMA)
    backend = stage.backend(options={"schemas": schemas})
    assert msgspec.json.decode(text(await ask(backend, a_request(response_format=schema)))) == {"a": 1}
    assert msgspec.json.decode(text(await ask(backend, a_request(response_format=ResponseFormat(kind="json_object")))))
    chunks = await ask(backend, a_request(tools=(WEATHER,), tool_choice=ToolChoice(mode="required")))
    assert chunks[-1].finish_reason is FinishReason.TOOL_CALLS


async def test_images_are_sent(stage: Stage) -> None:
    """As bytes, by address, and by an address of the cloud's own storage where that is read."""
    parts = (TextPart(text="What is this?"), ImagePart(url=PIXEL), ImagePart(url="https://example.com/a.png?b=1"))
    await ask(stage.backend(), a_request(Message(role="user", content=parts)))
    assert stage.server.seen[-1]["body"]["contents"][0]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/gif", "data": PIXEL.partition(",")[2]}},
        {"fileData": {"fileUri": "https://example.com/a.png?b=1", "mimeType": "image/png"}},
    ]
    stored = a_request(Message(role="user", content=(ImagePart(url="gs://bucket/a.webp"),)))
    await ask(stage.backend("vertex", CLOUD), stored)
    with pytest.raises(Unsupported, match="gs"):
        await ask(stage.backend(), stored)


async def test_an_array_in_place_of_events_is_understood() -> None:
    """A gateway that drops the query gets the stream as one JSON array."""
    body = (
        b'[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},\n'
        b'{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":3}}]'
    )
    reply = Reply([body], headers=(("content-type", "application/json; charset=UTF-8"),))
    async with LoopbackServer(lambda _: reply) as server, adapters() as made:
        chunks = await ask(made.bind("gemini", server.url), a_request())
    assert text(chunks) == "ab"
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].usage == Usage(input=1, output=2)
