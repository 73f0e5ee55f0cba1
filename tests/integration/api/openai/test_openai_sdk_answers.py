"""The official SDK gets answers from the HTTP face as it does from OpenAI."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from backends.contract import (
    Chunk,
    FinishReason,
    ReasoningBlock,
    TokenLogprob,
    ToolCallDelta,
)
from router.dispatch.events import Rerouted
from router.dispatch.scripted import ScriptedDirector, Step, finished, routed, sample_candidate
from router.domain.fleet import Capability, PrivacyLevel
from router.domain.request import Objective, Slo, StreamBreakAction

MODEL = "llama-3.1-8b"
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
STOP = Chunk(finish_reason=FinishReason.STOP)
HELLO = (routed(), Chunk(text="Hel", events=1), Chunk(text="lo", events=1), STOP, finished())
LOGPROBS = (
    TokenLogprob(token="Hi", logprob=-0.1, bytes=(72, 105), top=(TokenLogprob(token="Ho", logprob=-2.5),)),
    TokenLogprob(token="!", logprob=-0.2),
)


async def test_a_chat_answer_has_text_usage_and_the_model_that_answered(
    client: AsyncOpenAI, director: ScriptedDirector
) -> None:
    """A request that is not streamed gives the joined text, the finish reason, and usage with its details."""
    director.script = HELLO

    answer = await client.chat.completions.create(model="fast-chat", messages=ASK, max_tokens=5, temperature=0.5)

    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.created == 1_800_000_000
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello", "stop")
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 3, 10)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 1
    request, profile = director.served[0]
    assert (request.model, request.sampling.max_output_tokens, request.sampling.temperature) == ("fast-chat", 5, 0.5)
    assert answer.id == f"chatcmpl-{profile.request_id}"


async def test_the_answer_says_where_it_came_from_and_what_it_cost(
    client: AsyncOpenAI, director: ScriptedDirector
) -> None:
    """The `router` object and the headers name backend, hardware (emulated or not) and cost."""
    director.script = HELLO

    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ASK, extra_headers={"x-request-id": "abc-1"}
    )
    extra = raw.parse().model_extra

    assert extra is not None
    report = extra["router"]
    assert (report["backend"], report["hardware"], report["emulated"]) == (
        "h100-a",
        "NVIDIA H100 SXM (emulated)",
        True,
    )
    assert (report["cost_usd"], report["ttft_s"], report["tpot_s"]) == (0.00011, 0.06, 0.012)
    assert report["attempts"] == [{"backend": "h100-a", "result": "OK", "duration_s": 0.5}]
    assert "decision" not in report
    assert raw.headers["x-request-id"] == "abc-1"
    assert raw.headers["x-router-backend"] == "h100-a"
    assert raw.headers["x-router-hardware"] == "NVIDIA H100 SXM (emulated)"
    assert director.served[0][1].request_id == "abc-1"


async def test_explain_adds_the_whole_decision(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """With explain, the answer holds each candidate's numbers; on a stream the first event does."""
    director.script = HELLO
    wish = {"router": {"explain": True}}

    answer = await client.chat.completions.create(model=MODEL, messages=ASK, extra_body=wish)
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True, extra_body=wish)
    events = [event async for event in stream]

    assert answer.model_extra is not None
    assert events[0].model_extra is not None
    decisions = (answer.model_extra["router"]["decision"], events[0].model_extra["router"]["decision"])
    for decision in decisions:
        assert decision["candidates"][0]["backend"] == "h100-a"
        assert decision["candidates"][0]["terms_usd"] == {"cost": 0.000125, "latency": 0.000175}


async def test_a_streamed_answer_arrives_in_pieces(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """A stream begins with the role, has one event for each chunk, then the finish reason; no usage unasked."""
    director.script = HELLO

    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    events = [event async for event in stream]

    assert [event.choices[0].delta.role for event in events] == ["assistant", None, None, None]
    assert [event.choices[0].delta.content for event in events] == ["", "Hel", "lo", None]
    assert [event.choices[0].finish_reason for event in events] == [None, None, None, "stop"]
    assert {event.id for event in events} == {f"chatcmpl-{director.served[0][1].request_id}"}
    assert {event.model for event in events} == {MODEL}
    assert all(event.usage is None for event in events)


async def test_the_usage_of_a_stream_comes_last_when_asked_for(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """With include_usage one more event has the usage and no choice."""
    director.script = HELLO

    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in stream]

    assert [event.usage is None for event in events] == [True, True, True, True, False]
    assert events[-1].choices == []
    assert events[-1].usage is not None
    assert events[-1].usage.total_tokens == 10


async def test_reasoning_arrives_apart_from_the_text(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """Reasoning is `reasoning_content`, streamed and not, and never part of the text."""
    director.script = (routed(), Chunk(reasoning="hm", events=1), Chunk(text="Yes", events=1), STOP, finished())

    answer = await client.chat.completions.create(model=MODEL, messages=ASK, reasoning_effort="low")
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    deltas = [event.choices[0].delta async for event in stream]

    assert answer.choices[0].message.content == "Yes"
    assert (answer.choices[0].message.model_extra or {})["reasoning_content"] == "hm"
    assert [(d.model_extra or {}).get("reasoning_content") for d in deltas] == [None, "hm", None, None]
    assert director.served[0][0].sampling.reasoning_effort == "low"


async def test_signed_reasoning_goes_back_as_it_came(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """What the SDK parsed of an answer, streamed and joined or whole, and sends back, has every signature of it."""
    blocks = (ReasoningBlock(text="hm", signature="s1"), ReasoningBlock(signature="data", redacted=True))
    call = ToolCallDelta(index=0, id="call00001", name="f", arguments="{}", signature="s3")
    director.script = (
        routed(),
        Chunk(reasoning="hm", events=1),
        Chunk(signed=blocks[:1]),
        Chunk(signed=blocks[1:], events=1),
        Chunk(tool_calls=(call,), events=1),
        Chunk(finish_reason=FinishReason.TOOL_CALLS),
        finished(),
    )

    answer = await client.chat.completions.create(model=MODEL, messages=ASK)
    async with client.chat.completions.stream(model=MODEL, messages=ASK) as stream:
        joined = await stream.get_final_completion()
    for message in (answer.choices[0].message, joined.choices[0].message):
        former = message.model_dump(exclude_none=True)
        tool: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": "call00001", "content": "ok"}
        await client.chat.completions.create(model=MODEL, messages=[*ASK, former, tool])  # type: ignore[list-item]  # as SDK users do
        back = director.served[-1][0].messages[1]
        assert back.reasoning == blocks
        assert [made.signature for made in back.tool_calls] == ["s3"]


async def test_a_raw_prompt_is_completed(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """/v1/completions answers with text, usage and log probabilities in the form of that endpoint."""
    director.script = (routed(), Chunk(text="Hi!", logprobs=LOGPROBS, events=2), STOP, finished())

    answer = await client.completions.create(model=MODEL, prompt="Say", logprobs=1, stop=["\n"])

    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Hi!", "stop")
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset) == (["Hi", "!"], [-0.1, -0.2], [0, 2])
    assert logprobs.top_logprobs == [{"Ho": -2.5}, {}]
    request, profile = director.served[0]
    assert (request.prompt, request.messages) == ("Say", ())
    assert (request.sampling.max_output_tokens, request.sampling.stop) == (16, ("\n",))
    assert profile.needs == {Capability.TEXT_COMPLETION, Capability.LOGPROBS}


async def test_a_completion_streams(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """/v1/completions streams text, then the finish reason, then the usage that was asked for."""
    director.script = HELLO

    stream = await client.completions.create(
        model=MODEL, prompt="Say", stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in stream]

    assert [event.choices[0].text for event in events[:-1]] == ["Hel", "lo", ""]
    assert [event.choices[0].finish_reason for event in events[:-1]] == [None, None, "stop"]
    assert events[-1].choices == []
    assert events[-1].usage is not None


async def test_models_are_listed_and_found(client: AsyncOpenAI) -> None:
    """Models, aliases and classes are listed, and each is found by its name, slashes included."""
    listed = [model async for model in client.models.list()]
    found = await client.models.retrieve("org/fast-chat")

    assert [model.id for model in listed] == ["llama-3.1-8b", "org/fast-chat"]
    assert found.id == "org/fast-chat"
    assert (found.model_extra or {})["router"] == {
        "kind": "alias",
        "members": ["llama-3.1-8b"],
        "context_tokens": 131_072,
        "backends": ["lpu-1"],
    }


async def test_routing_wishes_travel_in_the_body_and_in_headers(
    client: AsyncOpenAI, director: ScriptedDirector
) -> None:
    """Headers and extra_body both reach the profile, and the body wins where both speak."""
    director.script = HELLO

    await client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        user="ann",
        prompt_cache_key="chat-7",
        extra_headers={
            "x-router-privacy": "on_device",
            "x-router-regions": "eu-*, us-1",
            "x-router-slo-ttft-s": "0.5",
            "x-router-slo-tpot-s": "0.05",
            "x-router-timeout-s": "30",
        },
        extra_body={"router": {"privacy": "own_hardware", "objective": "cost", "slo": {"ttft_s": 0.2}}},
    )

    request, profile = director.served[0]
    assert request.end_user == "ann"
    assert profile.session_key == "chat-7"
    assert profile.objective is Objective.COST
    assert profile.placement.privacy is PrivacyLevel.OWN_HARDWARE
    assert profile.placement.regions == ("eu-*", "us-1")
    assert profile.slo == Slo(ttft_s=0.2, tpot_s=0.05)
    assert profile.deadline_s == pytest.approx(1_030.0)


async def test_another_backend_can_take_over(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """CONTINUE shows no seam on a stream; RESTART voids what was gathered for an answer that is not streamed."""
    other = sample_candidate(backend="lpu-1")

    def script(resume: StreamBreakAction) -> tuple[Step, ...]:
        rerouted = Rerouted(
            from_backend="h100-a", candidate=other, reason="STREAM_BROKEN", detail="reset\nby peer", resume=resume
        )
        before, after = Chunk(text="He", events=1), Chunk(text="llo", events=1)
        return (routed(), before, rerouted, after, STOP, finished(candidate=other))

    director.script = script(StreamBreakAction.CONTINUE)
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True)
    text = [event.choices[0].delta.content async for event in stream]
    director.script = script(StreamBreakAction.RESTART)
    answer = await client.chat.completions.create(
        model=MODEL, messages=ASK, extra_body={"router": {"on_stream_break": "restart"}}
    )

    assert text == ["", "He", "llo", None]
    assert answer.choices[0].message.content == "llo"
    assert (answer.model_extra or {})["router"]["backend"] == "lpu-1"


async def test_what_has_no_effect_is_named(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """Accepted fields without effect are listed in the answer and, cut to a bearable length, in a header."""
    director.script = HELLO

    former: list[ChatCompletionMessageParam] = [{"role": "assistant", "content": "a"}] * 100
    for turn in former:
        turn["reasoning_details"] = [{"type": "reasoning.summary", "summary": "s"}]  # type: ignore[typeddict-unknown-key]  # as OpenRouter's answers have it
    long = await client.chat.completions.with_raw_response.create(model=MODEL, messages=[*former, *ASK])
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ASK, store=True, metadata={"a": "b"}, service_tier="auto", n=1
    )

    assert raw.headers["x-router-ignored"] == "metadata,store"
    assert len(long.headers["x-router-ignored"]) == 1_003
    assert len((long.parse().model_extra or {})["router"]["ignored"]) == 100
    assert (raw.parse().model_extra or {})["router"]["ignored"] == ["metadata", "store"]


async def test_an_extension_field_reaches_the_backend(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """top_k, min_p and repetition_penalty, which many engines share, travel in extra_body."""
    director.script = HELLO

    await client.chat.completions.create(
        model=MODEL, messages=ASK, extra_body={"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1}
    )

    sampling = director.served[0][0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (40, 0.1, 1.1)
