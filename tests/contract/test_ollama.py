"""The Ollama adapter against the emulated server that Ollama's own SDK has judged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from backends.contract import (
    Backend,
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    UpstreamTimings,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    RateLimited,
    StreamBroken,
    Unsupported,
    UpstreamFault,
)
from simulation.wires.faults import Faults
from simulation.wires.ollama import OllamaServer
from tests.contract.emulated import SECRET, Adapters, adapters, ask, ask_until_broken, text
from tests.contract.loopback import LoopbackServer, Reply

USER = Message(role="user", content="What is the weather in Paris?")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NDJSON = (("content-type", "application/x-ndjson"),)
JSON = (("content-type", "application/json"),)
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"]}')
WEATHER = Tool(
    name="get_weather",
    parameters=msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: OllamaServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(self, **options: str) -> Backend:
        url = f"http://127.0.0.1:{self.server.port}"
        return self._made.bind("ollama", url, options=options)


@pytest.fixture(params=["httpx", "fast"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    server = OllamaServer({"big:latest": frozenset({"tools", "vision", "thinking"}), "small:1b": frozenset()})
    await server.start("127.0.0.1", 0)
    async with adapters(request.param) as made:
        yield Stage(server, made)
    await server.close()


def a_request(*messages: Message, model: str = "big", **fields: object) -> GenerateRequest:
    return msgspec.structs.replace(GenerateRequest(model=model, messages=messages or (USER,)), **fields)


async def test_text_usage_and_times_arrive(stage: Stage) -> None:
    """With thoughts before the text, and the load of the model as time in the queue."""
    chunks = await ask(stage.backend(), a_request(sampling=Sampling(reasoning_effort="low", seed=3)))
    assert text(chunks).startswith("Emulated answer of Ollama")
    assert "".join(chunk.reasoning for chunk in chunks) == "Emulated thoughts: nobody thinks."
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.estimated, usage.output) == (False, sum(chunk.events for chunk in chunks))
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].timings == UpstreamTimings(queue_s=0.5, prefill_s=0.25, decode_s=2.0)


async def test_a_tool_is_called_and_its_result_goes_back(stage: Stage) -> None:
    """Two turns: the call with an id to answer to, then text."""
    backend = stage.backend()
    chunks = await ask(backend, a_request(tools=(WEATHER,)))
    (delta,) = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert (delta.name, msgspec.json.decode(delta.arguments)) == ("get_weather", {"city": "emulated"})
    assert chunks[-1].finish_reason is FinishReason.TOOL_CALLS
    assert delta.id
    call = ToolCall(id=delta.id, name="get_weather", arguments=delta.arguments)
    turns = (
        USER,
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="rain", tool_call_id=delta.id),
    )
    assert text(await ask(backend, a_request(*turns, tools=(WEATHER,))))
    assert stage.server.seen[-1]["messages"][2]["tool_name"] == "get_weather"


async def test_a_picture_is_understood(stage: Stage) -> None:
    """As bytes; only a model that sees takes it."""
    message = Message(role="user", content=(TextPart(text="what?"), ImagePart(url=PIXEL)))
    assert text(await ask(stage.backend(), a_request(message)))
    with pytest.raises(Unsupported, match="multimodal"):
        await ask(stage.backend(), a_request(message, model="small:1b"))


async def test_structured_output_keeps_to_its_schema(stage: Stage) -> None:
    """The schema goes as the format."""
    wanted = ResponseFormat(kind="json_schema", name="n", schema=SCHEMA)
    assert text(await ask(stage.backend(), a_request(response_format=wanted))) == '{"a": 1}'


async def test_a_plain_prompt_is_continued(stage: Stage) -> None:
    """Without a template, up to its bound."""
    request = GenerateRequest(model="small:1b", prompt="Once upon", sampling=Sampling(max_output_tokens=3))
    chunks = await ask(stage.backend(), request)
    assert len(text(chunks)) == 12
    assert chunks[-1].finish_reason is FinishReason.LENGTH


async def test_log_probabilities_come_where_they_are_asked_for(stage: Stage) -> None:
    """One for each token."""
    chunks = await ask(stage.backend(), a_request(model="small:1b", sampling=Sampling(logprobs=True, top_logprobs=1)))
    assert "".join(entry.token for chunk in chunks for entry in chunk.logprobs) == text(chunks)


async def test_a_prompt_longer_than_the_window_is_refused_and_never_cut(stage: Stage) -> None:
    """By the server where it can; where it cuts all the same, by its own count."""
    long = Message(role="user", content="x" * 4000)
    backend = stage.backend(num_ctx="512")
    with pytest.raises(ContextTooLong, match="exceeds the available context size"):
        await ask(backend, a_request(long))
    stage.server.cuts_prompts = True
    with pytest.raises((ContextTooLong, StreamBroken), match="cut the prompt"):
        await ask(backend, a_request(long))


async def test_an_uncounted_prompt_makes_the_usage_an_estimate(stage: Stage) -> None:
    """As older versions answer from their cache."""
    stage.server.counts_prompts = False
    usage = (await ask(stage.backend(), a_request()))[-1].usage
    assert usage is not None
    assert usage.estimated


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, Overloaded), (500, UpstreamFault), (401, AuthFailed), (429, RateLimited)],
)
async def test_refusals_have_their_kind(stage: Stage, status: int, kind: type[BackendError]) -> None:
    """A full queue is load and not sickness."""
    stage.server.faults = Faults(status=status, headers={"retry_after": "7"} if status == 429 else {})
    with pytest.raises(kind) as caught:
        await ask(stage.backend(), a_request())
    assert caught.value.status == status
    assert caught.value.retry_after_s == (7.0 if status == 429 else None)


async def test_what_this_model_cannot_do_another_may(stage: Stage) -> None:
    """An unknown model, or one without tools, is a reason to go elsewhere."""
    with pytest.raises(ModelNotServed, match="not found"):
        await ask(stage.backend(), a_request(model="none"))
    with pytest.raises(Unsupported, match="does not support tools") as caught:
        await ask(stage.backend(), a_request(model="small:1b", tools=(WEATHER,)))
    assert caught.value.retryable
    assert not caught.value.counts_against_health


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(cut_after=3), "broke while it answered|ended before the answer"),
        (Faults(malformed_after=3), "not of this wire"),
        (Faults(error_after=3), "an error was encountered"),
    ],
)
async def test_a_stream_that_goes_wrong_is_broken(stage: Stage, faults: Faults, words: str) -> None:
    """What was sent before was delivered; then the failure says what it was."""
    stage.server.faults = faults
    chunks, error = await ask_until_broken(stage.backend(), a_request())
    assert sum(chunk.events for chunk in chunks) == 3
    assert isinstance(error, StreamBroken)
    assert re.search(words, error.message)


async def test_a_caller_that_leaves_frees_the_server(stage: Stage) -> None:
    """Closing the answer closes the connection."""
    stage.server.faults = Faults(stall_after=1)
    stream = stage.backend().generate(a_request(), upstream_model="big", request_id="r")
    await anext(stream)
    await stream.aclose()
    async with asyncio.timeout(2):
        await stage.server.disconnected()
    assert stage.server.disconnects == 1


async def test_a_stalled_server_can_be_cancelled(stage: Stage) -> None:
    """Also before the first token."""
    stage.server.faults = Faults(stall_after=0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ask(stage.backend(), a_request())
    async with asyncio.timeout(2):
        await stage.server.disconnected()


@pytest.mark.parametrize(
    "reply", [Reply([DEEP, b"\n"], headers=NDJSON), Reply([DEEP], headers=JSON), Reply([DEEP], status=500)]
)
async def test_an_answer_that_nests_too_deeply_is_refused(reply: Reply) -> None:
    """As a stream, as a document, as an error and to a probe: nothing but errors of the adapter's leaves it."""
    async with LoopbackServer(lambda _: reply) as server, adapters() as made:
        backend = made.bind("ollama", server.url)
        with pytest.raises((ProtocolViolation, UpstreamFault)):
            await ask(backend, a_request())
        assert not (await backend.probe(timeout_s=2.0)).healthy


async def test_a_probe_tells_what_is_there_and_what_is_in_memory(stage: Stage) -> None:
    """By questions that load no model and generate nothing."""
    backend = stage.backend()
    report = await backend.probe(timeout_s=2.0)
    assert (report.healthy, report.models, report.loaded) == (True, ("big:latest", "small:1b"), ())
    await ask(backend, a_request(model="small:1b"))
    assert (await backend.probe(timeout_s=2.0)).loaded == ("small:1b",)
    assert [request["path"] for request in stage.server.seen] == ["/api/chat"]


async def test_the_cloud_wants_a_token_and_it_stays_secret() -> None:
    """Sent as a bearer token with requests and probes; found in no error and no repr."""
    server = OllamaServer({"big:latest": frozenset()}, key=SECRET)
    await server.start("127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}"
    async with adapters() as made:
        backend = made.bind("ollama", url, profile="ollama_cloud", credential=True)
        assert text(await ask(backend, a_request()))
        report = await backend.probe(timeout_s=2.0)
        assert (report.healthy, report.loaded) == (True, None)
        assert SECRET not in repr(backend)
        server.faults = Faults(status=401, code=f"bad token {SECRET}")
        with pytest.raises(AuthFailed) as caught:
            await ask(backend, a_request())
        assert SECRET not in str(caught.value)
        stranger = made.bind("ollama", url, profile="ollama_cloud")
        assert (await stranger.probe(timeout_s=2.0)).reason.startswith("AUTH_FAILED")
    await server.close()


async def test_settings_of_the_backend_reach_the_server(stage: Stage) -> None:
    """In the types that the server reads."""
    await ask(stage.backend(num_ctx="8192", keep_alive="30m"), a_request())
    assert (stage.server.seen[-1]["options"]["num_ctx"], stage.server.seen[-1]["keep_alive"]) == (8192, "30m")
    await ask(stage.backend(keep_alive="-1"), a_request())
    assert stage.server.seen[-1]["keep_alive"] == -1


@pytest.mark.parametrize("options", [{"num_ctx": "0"}, {"num_ctx": "many"}, {"keep_alive": "soon"}, {"gpu": "1"}])
async def test_settings_that_are_none_are_refused(stage: Stage, options: dict[str, str]) -> None:
    """When the backend is built, by their names."""
    with pytest.raises(ValueError, match=r"options\."):
        stage.backend(**options)
