"""The adapter of Google's wire against the emulated server that Google's own SDK has judged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import msgspec
import pytest

from backends.contract import (
    Backend,
    Chunk,
    FinishReason,
    GenerateRequest,
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
    AuthFailed,
    BackendError,
    BadRequest,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    TimedOut,
    Unsupported,
    UpstreamFault,
)
from backends.registry import build
from backends.spec import BackendSpec
from simulation.wires.gemini import GeminiServer
from tests.contract.emulated import SECRET, Adapters, adapters, ask, ask_until_broken, text
from tests.contract.harness import make_transport
from tests.contract.loopback import LoopbackServer, Reply

NEW, OLD = "gemini-3-emulated", "gemini-2.5-emulated"
USER = Message(role="user", content="Hello")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false}')
WEATHER = Tool(
    name="get_weather",
    parameters=msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)
CLOUD = {"project": "our-project", "location": "europe-west4"}


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: GeminiServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(
        self, profile: str = "gemini", options: Mapping[str, str] | None = None, *, credential: bool = True
    ) -> Backend:
        url = f"http://127.0.0.1:{self.server.port}"
        return self._made.bind("gemini", url, profile=profile, credential=credential, options=options)


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    server = GeminiServer(key=SECRET, bearer=SECRET)
    await server.start("127.0.0.1", 0)
    async with adapters(request.param) as made:
        yield Stage(server, made)
    await server.close()


def a_request(*messages: Message, model: str = NEW, **fields: object) -> GenerateRequest:
    return msgspec.structs.replace(GenerateRequest(model=model, messages=messages or (USER,)), **fields)


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


async def test_a_renewed_token_is_used(stage: Stage, tmp_path: Path) -> None:
    """A refusal makes the next request read the token's file again."""
    file = tmp_path / "token"
    file.write_text("ya29.old")
    spec = BackendSpec(
        id="b",
        wire="gemini",
        profile="vertex",
        base_url=f"http://127.0.0.1:{stage.server.port}",
        credential=f"file:{file}",
        options=CLOUD,
    )
    transport = make_transport("fast")
    try:
        async with httpx.AsyncClient() as control:
            backend = build(spec, transport=transport, control=control, env={})
            with pytest.raises(AuthFailed):
                await ask(backend, a_request())
            file.write_text(SECRET)
            assert (await ask(backend, a_request()))[-1].finish_reason is FinishReason.STOP
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({}, "project"), ({"project": "p"}, "location"), ({**CLOUD, "api_version": "../v1"}, "api_version")],
)
async def test_options_are_checked(stage: Stage, options: dict[str, str], wrong: str) -> None:
    """Vertex AI needs its two, and none may lead elsewhere."""
    with pytest.raises(ValueError, match=wrong):
        stage.backend("vertex", options)


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


@pytest.mark.parametrize(
    ("status", "code", "kind", "wait_s"),
    [
        (400, "", BadRequest, None),
        (400, "API_KEY_INVALID", AuthFailed, None),
        (401, "", AuthFailed, None),
        (402, "", QuotaExhausted, None),
        (403, "", AuthFailed, None),
        (403, "BILLING_DISABLED", QuotaExhausted, None),
        (404, "", ModelNotServed, None),
        (429, "", RateLimited, 37.4),
        (429, "PerMinute", RateLimited, 37.0),
        (429, "PerDay", QuotaExhausted, 37.0),
        (500, "", UpstreamFault, None),
        (503, "", Overloaded, None),
        (504, "", TimedOut, None),
    ],
)
async def test_errors(stage: Stage, status: int, code: str, kind: type[BackendError], wait_s: float | None) -> None:
    """Status, reason and the name of the quota together say what went wrong, and for how long."""
    stage.server.faults.status, stage.server.faults.code = status, code
    with pytest.raises(BackendError) as caught:
        await ask(stage.backend(), a_request())
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.retry_after_s == wait_s


async def test_errors_of_the_service_itself(stage: Stage) -> None:
    """An unknown model, a prompt that is too long, a key that is wrong and does not leak."""
    with pytest.raises(ModelNotServed):
        await ask(stage.backend(), a_request(model="gemini-0"))
    with pytest.raises(ModelNotServed):
        await ask(stage.backend("vertex", CLOUD), a_request(model="gemini-0"))
    with pytest.raises(ContextTooLong):
        await ask(stage.backend(), a_request(Message(role="user", content="x" * 20_000), model=OLD))
    with pytest.raises(AuthFailed):
        await ask(stage.backend(credential=False), a_request())


@pytest.mark.parametrize("word", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST"])
async def test_a_filtered_answer_is_an_answer(stage: Stage, word: str) -> None:
    """It has a text so far, a reason and usage."""
    stage.server.finish = word
    chunks = await ask(stage.backend(), a_request())
    assert chunks[-1].finish_reason is FinishReason.CONTENT_FILTER
    assert chunks[-1].usage is not None


async def test_a_blocked_prompt_is_an_answer_without_text(stage: Stage) -> None:
    """The filter is the request's: no backend is to blame, and none is tried after it."""
    stage.server.blocks_prompts = True
    (chunk,) = await ask(stage.backend(), a_request())
    assert (chunk.text, chunk.finish_reason) == ("", FinishReason.CONTENT_FILTER)
    assert chunk.usage == Usage(input=6)


async def test_a_malformed_call_is_a_failure(stage: Stage) -> None:
    """The model's own mistake: there is no answer to pass on."""
    stage.server.finish = "MALFORMED_FUNCTION_CALL"
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert isinstance(error, StreamBroken if chunks else UpstreamFault)


@pytest.mark.parametrize("bare", [False, True])
async def test_an_error_inside_a_stream(stage: Stage, *, bare: bool) -> None:
    """As an event or as it is, it is seen: as itself before anything was delivered, as a broken stream after."""
    stage.server.bare_errors = bare
    stage.server.faults.error_after = 0
    with pytest.raises(Overloaded):
        await ask(stage.backend(), a_request())
    stage.server.faults.error_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)
    assert "OVERLOADED" in error.message


async def test_a_cut_stream_is_broken(stage: Stage) -> None:
    """An end without a finish reason is none."""
    stage.server.faults.cut_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)


async def test_a_malformed_event_breaks_the_stream(stage: Stage) -> None:
    """What is not of the wire is not passed over."""
    stage.server.faults.malformed_after = 2
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert text(chunks)
    assert isinstance(error, StreamBroken)
    assert "PROTOCOL_VIOLATION" in error.message


async def test_leaving_frees_the_upstream(stage: Stage) -> None:
    """A caller that goes closes the connection of an answer that does not end."""
    stage.server.faults.stall_after = 2
    stream = stage.backend().generate(a_request(), upstream_model=NEW, request_id="r")
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_the_credential_stays_where_it_is(stage: Stage) -> None:
    """Not in what the adapter shows of itself, and not in the body that goes out."""
    backend = stage.backend()
    await ask(backend, a_request())
    assert SECRET not in repr(backend)
    assert SECRET not in msgspec.json.encode(stage.server.seen[-1]["body"]).decode()
    assert SECRET not in stage.server.seen[-1]["path"] + stage.server.seen[-1]["query"]


async def test_a_probe_lists_the_models(stage: Stage) -> None:
    """With the names that requests use; nothing is generated."""
    report = await stage.backend().probe(timeout_s=2.0)
    assert report.healthy
    assert report.models == (NEW, OLD)
    assert not stage.server.seen


async def test_a_probe_sees_a_bad_key(stage: Stage) -> None:
    """Although Google calls it a bad request."""
    report = await stage.backend(credential=False).probe(timeout_s=2.0)
    assert not report.healthy
    assert "AUTH_FAILED" in report.reason


async def test_a_probe_of_vertex_only_connects(stage: Stage) -> None:
    """Nothing there can be asked for free."""
    backend = stage.backend("vertex", CLOUD)
    report = await backend.probe(timeout_s=2.0)
    assert report.healthy
    assert report.models is None
    assert not stage.server.seen


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


async def test_an_empty_stream_is_no_answer() -> None:
    """Nothing came, so that another backend can be tried."""
    async with LoopbackServer(lambda _: Reply([b"\r\n"])) as server, adapters() as made:
        with pytest.raises(ProtocolViolation):
            await ask(made.bind("gemini", server.url), a_request())
