"""The Anthropic adapter against the emulated server that the vendor's SDK has accepted, over a real port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from backends.contract import (
    Backend,
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
    UpstreamFault,
)
from simulation.wires.anthropic import EmulatedAnthropic
from simulation.wires.anthropic_answer import REDACTED_TRIGGER, REFUSAL_TRIGGER
from tests.contract.answers import Answer
from tests.contract.emulated import SECRET, Adapters, adapters, ask, ask_until_broken

MODEL = "claude-emulated"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
CITY = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
WEATHER = Tool(name="get_weather", parameters=CITY, strict=True)


def asking(*messages: Message, **more: Any) -> GenerateRequest:
    return GenerateRequest(model=MODEL, messages=messages or (Message(role="user", content="Hello"),), **more)


class Bench:
    """The server, and adapters bound to it."""

    def __init__(self, server: EmulatedAnthropic, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(self, profile: str = "anthropic", **options: str) -> Backend:
        url = f"http://127.0.0.1:{self.server.port}"
        return self._made.bind("anthropic", url, profile=profile, credential=True, options=options)

    async def ask(self, request: GenerateRequest, backend: Backend | None = None) -> Answer:
        return Answer(await ask(backend or self.backend(), request))

    @property
    def sent(self) -> dict[str, Any]:
        body: dict[str, Any] = self.server.seen[-1]["body"]
        return body


@pytest.fixture(params=["httpx", "fast"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    server = EmulatedAnthropic(key=SECRET)
    await server.start("127.0.0.1", 0)
    async with adapters(request.param) as made:
        yield Bench(server, made)
    await server.close()


@pytest.mark.parametrize(
    ("profile", "version", "header"),
    [("anthropic", "2023-06-01", "x-api-key"), ("anthropic_2026", "2026-10-21", "authorization")],
)
async def test_text_in_both_versions(bench: Bench, profile: str, version: str, header: str) -> None:
    """Text, its end, its counts and the limits' headroom arrive, and the key goes where the version wants it."""
    chunks = await ask(bench.backend(profile), asking())
    answer = Answer(chunks)
    assert answer.text.startswith("Emulated answer of claude-emulated")
    assert answer.finish == [FinishReason.STOP]
    assert answer.usage.output == answer.events > 1
    assert answer.usage.input > 0
    assert not answer.usage.estimated
    signals = chunks[0].signals
    assert signals is not None
    assert signals.headroom is not None
    assert signals.headroom.requests is not None
    assert (signals.headroom.requests.remaining, signals.headroom.requests.limit) == (49, 50)
    assert 25 < (signals.headroom.requests.reset_s or 0) <= 30
    assert signals.headroom.tokens is not None
    headers = bench.server.seen[0]["headers"]
    assert headers["anthropic-version"] == version
    assert headers[header].endswith(SECRET)
    assert ("authorization" in headers) + ("x-api-key" in headers) == 1
    assert bench.sent["max_tokens"] == 8192


async def test_a_conversation_of_many_turns(bench: Bench) -> None:
    """System messages, turns of one role in a row, blanks and images are put as the vendor takes them."""
    look = (TextPart(text="Look"), ImagePart(url=PIXEL), ImagePart(url="https://example.com/a.png"))
    answer = await bench.ask(
        asking(
            Message(role="system", content="Be short"),
            Message(role="user", content="One"),
            Message(role="user", content=look),
            Message(role="assistant", content="\n"),
            Message(role="assistant", content="Two"),
            Message(role="user", content="Three"),
            end_user="u-1",
            sampling=Sampling(max_output_tokens=16, temperature=0.5, top_p=0.9, top_k=5, stop=("answer",)),
        )
    )
    assert [turn["role"] for turn in bench.sent["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in bench.sent["messages"][0]["content"]] == ["text", "text", "image", "image"]
    assert bench.sent["system"] == [{"type": "text", "text": "Be short"}]
    assert bench.sent["metadata"] == {"user_id": "u-1"}
    assert answer.usage.input > 512
    assert answer.stop_sequence == "answer"
    assert answer.finish == [FinishReason.STOP]


async def test_a_bound_ends_the_answer(bench: Bench) -> None:
    """An answer that was cut says so."""
    answer = await bench.ask(asking(sampling=Sampling(max_output_tokens=3)))
    assert (answer.finish, answer.usage.output) == ([FinishReason.LENGTH], 3)


async def test_an_answer_is_continued(bench: Bench) -> None:
    """A trailing assistant message is the beginning of the answer, without the blank that the vendor refuses."""
    answer = await bench.ask(asking(Message(role="user", content="Go"), Message(role="assistant", content="So ")))
    assert bench.sent["messages"][-1]["content"][-1]["text"] == "So"
    assert not answer.text.startswith("Emulated")


async def test_tools_and_their_results(bench: Bench) -> None:
    """A call arrives whole, its result goes back with others in one turn, and ids of another vendor are fitted."""
    asked = Message(role="user", content="The weather?")
    forced = ToolChoice(mode="function", name="get_weather", parallel=False)
    answer = await bench.ask(asking(asked, tools=(WEATHER,), tool_choice=forced))
    (call,) = answer.calls
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "emulated"})
    assert answer.finish == [FinishReason.TOOL_CALLS]
    assert bench.sent["tool_choice"] == {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    assert bench.sent["tools"][0]["strict"] is True
    foreign = ToolCall(id="functions.get_weather:1", name="get_weather", arguments="")
    called = msgspec.structs.replace(answer.as_message(), tool_calls=(call, foreign))
    results = (
        Message(role="tool", tool_call_id=call.id, content="sunny"),
        Message(role="tool", tool_call_id=foreign.id, content=(ImagePart(url=PIXEL),)),
    )
    after = await bench.ask(asking(asked, called, *results, Message(role="user", content="So?"), tools=(WEATHER,)))
    assert after.text
    assert [block["type"] for block in bench.sent["messages"][-1]["content"]] == ["tool_result", "tool_result", "text"]
    assert (await bench.ask(asking(asked, called, *results))).text  # nobody declares the tools any more


async def test_no_tool_is_called_where_none_may_be(bench: Bench) -> None:
    """`none` forbids what the words would have called for."""
    answer = await bench.ask(
        asking(Message(role="user", content="The weather?"), tools=(WEATHER,), tool_choice=ToolChoice(mode="none"))
    )
    assert answer.calls == ()
    assert answer.text


async def test_structured_output(bench: Bench) -> None:
    """The schema is closed as the vendor wants it, and the answer fits it."""
    answer = await bench.ask(asking(response_format=ResponseFormat(kind="json_schema", name="city", schema=CITY)))
    assert json.loads(answer.text) == {"city": "emulated"}
    assert bench.sent["output_config"]["format"]["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("thinking", ["adaptive", "budget", "effort"])
async def test_reasoning_is_asked_for_in_each_generations_words(bench: Bench, thinking: str) -> None:
    """One effort of the caller, three ways to say it."""
    backend = bench.backend(thinking=thinking, max_tokens="1000")
    answer = await bench.ask(asking(sampling=Sampling(reasoning_effort="high")), backend)
    assert bool(answer.reasoning) == (thinking != "effort")
    assert bench.sent.get("output_config") == (None if thinking == "budget" else {"effort": "high"})
    if thinking == "budget":
        assert bench.sent["thinking"] == {"type": "enabled", "budget_tokens": 16384}
        assert bench.sent["max_tokens"] == 17384
    if answer.reasoning:
        assert 0 < answer.usage.reasoning < answer.usage.output


async def test_what_was_thought_goes_back_signed(bench: Bench) -> None:
    """The vendor takes its own blocks back, the redacted ones too; what nobody signed is left out."""
    asked = Message(role="user", content=f"Think. {REDACTED_TRIGGER}")
    answer = await bench.ask(asking(asked, sampling=Sampling(reasoning_effort="low")))
    redacted, thought = answer.signed
    assert redacted.redacted
    assert thought.text == answer.reasoning != ""
    said = answer.as_message()
    foreign = msgspec.structs.replace(said, reasoning=(*said.reasoning, ReasoningBlock(text="somebody else's")))
    await bench.ask(asking(asked, foreign, Message(role="user", content="On")))
    types = [block["type"] for block in bench.sent["messages"][1]["content"]]
    assert types == ["redacted_thinking", "thinking", "text"]


async def test_a_marked_prefix_is_cached(bench: Bench) -> None:
    """With the option on, the second request reads what the first wrote, and both are part of the input."""
    backend = bench.backend(cache="auto")
    request = asking(Message(role="system", content="Be short. " * 50), Message(role="user", content="Hello"))
    first = (await bench.ask(request, backend)).usage
    second = (await bench.ask(request, backend)).usage
    assert first.cache_write_input == second.cached_input > 0
    assert first.cached_input == second.cache_write_input == 0
    assert first.input == second.input > first.cache_write_input


async def test_a_refusal_is_a_filtered_answer(bench: Bench) -> None:
    """The model's own refusal ends the answer, it is no failure."""
    answer = await bench.ask(asking(Message(role="user", content=REFUSAL_TRIGGER)))
    assert answer.finish == [FinishReason.CONTENT_FILTER]


async def test_a_beta_is_named(bench: Bench) -> None:
    """The option becomes the vendor's header."""
    await bench.ask(asking(), bench.backend(beta="context-1m-2025-08-07"))
    assert bench.server.seen[0]["headers"]["anthropic-beta"] == "context-1m-2025-08-07"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "", BadRequest),
        (401, "", AuthFailed),
        (402, "", QuotaExhausted),
        (403, "", AuthFailed),
        (403, "organization_on_hold", AuthFailed),
        (404, "", ModelNotServed),
        (413, "", ContextTooLong),
        (429, "", RateLimited),
        (429, "ramp_limit_exceeded", RateLimited),
        (429, "enforced_spend_limit_reached", QuotaExhausted),
        (429, "contract_spend_limit_reached", QuotaExhausted),
        (500, "", UpstreamFault),
        (504, "", TimedOut),
        (529, "", Overloaded),
    ],
)
async def test_each_status_is_its_error(bench: Bench, status: int, code: str, error: type[BackendError]) -> None:
    """What the SDK raises as its classes becomes ours, with the wait that the vendor asks for and what is left."""
    bench.server.faults.status, bench.server.faults.code = status, code
    bench.server.faults.headers = {"retry-after": "7"}
    with pytest.raises(BackendError) as caught:
        await bench.ask(asking())
    assert type(caught.value) is error
    assert caught.value.retry_after_s == 7
    assert caught.value.signals is not None


async def test_a_limit_that_is_used_up_says_when_it_is_full_again(bench: Bench) -> None:
    """Without retry-after the reset of the limit at fault is the wait; others' are none."""
    bench.server.faults.status = 429
    bench.server.faults.headers = {"anthropic-ratelimit-input-tokens-remaining": "0"}
    with pytest.raises(RateLimited) as caught:
        await bench.ask(asking())
    assert 25 < (caught.value.retry_after_s or 0) <= 30
    signals = caught.value.signals
    assert signals is not None
    assert signals.headroom is not None
    assert signals.headroom.tokens is not None
    assert signals.headroom.tokens.remaining == 0


async def test_a_prompt_that_is_too_long(bench: Bench) -> None:
    """The window of the model is told apart from other refusals."""
    request = asking(Message(role="user", content="word " * 4000))
    with pytest.raises(ContextTooLong):
        await bench.ask(msgspec.structs.replace(request, model="claude-emulated-small"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [("cut_after", "CONNECT|UPSTREAM|PROTOCOL"), ("malformed_after", "PROTOCOL"), ("error_after", "OVERLOADED")],
)
async def test_a_fault_after_the_first_chunk_breaks_the_stream(bench: Bench, fault: str, words: str) -> None:
    """What was delivered stays delivered, and the failure says what it was."""
    setattr(bench.server.faults, fault, 3)
    chunks, error = await ask_until_broken(bench.backend(), asking())
    assert isinstance(error, StreamBroken)
    assert re.match(words, error.message)
    assert sum(chunk.events for chunk in chunks) == 3


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("cut_after", (UpstreamFault, ProtocolViolation)),
        ("malformed_after", (ProtocolViolation,)),
        ("error_after", (Overloaded,)),
    ],
)
async def test_a_fault_before_the_first_output_keeps_its_kind(
    bench: Bench, fault: str, kinds: tuple[type[BackendError], ...]
) -> None:
    """Nothing was delivered, so it can be tried elsewhere."""
    setattr(bench.server.faults, fault, 0)
    chunks, error = await ask_until_broken(bench.backend(), asking())
    assert chunks == []
    assert type(error) in kinds


@pytest.mark.parametrize("after", [0, 2])
async def test_leaving_frees_the_upstream(bench: Bench, after: int) -> None:
    """A cancelled caller's connection is closed, before the first token as well as after it."""
    bench.server.faults.stall_after = after
    got = asyncio.Event()

    async def consume() -> None:
        stream = bench.backend().generate(asking(), upstream_model=MODEL, request_id="r")
        async with contextlib.aclosing(stream):
            async for _ in stream:
                got.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(got.wait() if after else bench.server.asked(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(bench.server.disconnected(), 2)
    assert bench.server.disconnects == 1


async def test_a_probe_asks_for_the_models_once_a_minute(bench: Bench) -> None:
    """The list needs the version's header and the key, and is not asked for again so soon."""
    backend = bench.backend()
    report = await backend.probe(timeout_s=2)
    assert report.healthy
    assert report.models == ("claude-emulated", "claude-emulated-small")
    await bench.server.close()
    assert (await backend.probe(timeout_s=2)).models == report.models


async def test_a_key_that_is_refused_is_not_repeated(bench: Bench) -> None:
    """It is neither in the error, nor in what a probe says, nor in what the adapter says of itself."""
    bench.server.key = "another"
    backend = bench.backend()
    with pytest.raises(AuthFailed) as caught:
        await bench.ask(asking(), backend)
    report = await backend.probe(timeout_s=2)
    assert not report.healthy
    for words in (str(caught.value), repr(caught.value), report.reason, repr(backend)):
        assert SECRET not in words
