"""Streams of every habit, from the same simple parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, TokenLogprob, ToolCallDelta, UpstreamTimings, Usage
from backends.errors import BackendError, Overloaded, ProtocolViolation, RateLimited, UpstreamFault
from tests.unit.backends.openai.streams import DONE, decode, decoder, delta, event, last_usage, usage


def test_a_burst_is_one_chunk() -> None:
    """All events of one read come out together."""
    counts = usage(prompt_tokens=3, completion_tokens=2)
    assert decode(delta(content="a") + delta(content="b") + delta("stop") + counts + DONE) == [
        Chunk(text="ab", events=2, finish_reason=FinishReason.STOP, usage=Usage(input=3, output=2))
    ]


def test_a_chunk_keeps_its_order() -> None:
    """Parts that one chunk cannot hold in their order become several chunks."""
    call = [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}}]
    read = delta(reasoning="r1") + delta(content="t1") + delta(reasoning="r2") + delta(tool_calls=call)
    chunks = decode(read + delta(content="t2") + delta("tool_calls"), DONE)
    assert [(c.reasoning, c.text, len(c.tool_calls), c.events) for c in chunks] == [
        ("r1", "t1", 0, 2),
        ("r2", "", 1, 2),
        ("", "t2", 0, 1),
        ("", "", 0, 0),
    ]
    assert chunks[2].finish_reason is FinishReason.TOOL_CALLS


def test_nothing_to_say_is_no_chunk() -> None:
    """Comments, the role and half an event wake nobody."""
    one = decoder()
    half = delta(content="x")
    assert one.feed(b": keep-alive\n\n") == []
    assert one.feed(delta(role="assistant", content="")) == []
    assert one.feed(event({"choices": [], "prompt_filter_results": []})) == []
    assert one.feed(b"data: \n\n") == []
    assert one.feed(half[:9]) == []
    assert one.feed(half[9:]) == [Chunk(text="x", events=1)]


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("eos", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("model_length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("something_new", FinishReason.STOP),
    ],
)
def test_finish_reasons_have_one_vocabulary(wire: str, reason: FinishReason) -> None:
    """Every vendor's word becomes one of ours."""
    assert [c.finish_reason for c in decode(delta(wire, content="x"), DONE) if c.finish_reason] == [reason]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(delta(content="x") + DONE, FinishReason.STOP, id="only the marker"),
        pytest.param(delta("stop", content="x"), FinishReason.STOP, id="only the reason"),
        pytest.param(delta("stop", content="x").rstrip(), FinishReason.STOP, id="no blank line at the end"),
        pytest.param(delta("stop", content="x") + b"data:  [DONE] \n\n", FinishReason.STOP, id="marker with spaces"),
        pytest.param(delta("stop") + delta("length"), FinishReason.STOP, id="said twice"),
        pytest.param(
            delta(tool_calls=[{"index": 0, "id": "i", "function": {"name": "f"}}]) + DONE,
            FinishReason.TOOL_CALLS,
            id="only the marker after a call",
        ),
    ],
)
def test_an_end_is_proven_by_marker_or_reason(stream: bytes, reason: FinishReason) -> None:
    """Either will do, and the reason comes out exactly once."""
    assert [c.finish_reason for c in decode(stream) if c.finish_reason] == [reason]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(delta(content="x"), id="no end"),
        pytest.param(delta(content="x") + b'data: {"choices":[{"delta"', id="half an event"),
        pytest.param(DONE, id="nothing but the marker"),
        pytest.param(b"data: <html>\n\n", id="no JSON"),
        pytest.param(b'data: {"choices":"x"}\n\n', id="another shape"),
        pytest.param(b"data: \xff\xfe\n\n", id="no UTF-8"),
        pytest.param(b"data: " + b"x" * (9 << 20), id="endless event"),
    ],
)
def test_anything_else_is_a_violation(stream: bytes) -> None:
    """An answer without its proof, or bytes that are no answer, are never a success."""
    with pytest.raises(ProtocolViolation):
        decode(stream)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (event({"error": {"message": "slow", "code": 429}}) + DONE, RateLimited),
        (event({"object": "error", "message": "boom", "code": 500}), UpstreamFault),
        (event({"error": "text"}), UpstreamFault),
        (event({"message": "boom", "code": "x"}), UpstreamFault),
        (event({"x_groq": {"error": "over capacity"}}), Overloaded),
        (b"event: error\ndata: boom\n\n", UpstreamFault),
        (b'event: error\ndata: {"a":1}\n\n', UpstreamFault),
        (delta("error"), UpstreamFault),
        (delta("abort"), UpstreamFault),
    ],
)
def test_an_error_inside_the_stream_is_raised(stream: bytes, kind: type[BackendError]) -> None:
    """A marker after an error proves nothing, and a 200 in front of it neither."""
    with pytest.raises(kind):
        decode(delta(role="assistant") + stream)


def test_sglang_aborts_what_does_not_fit_its_queue() -> None:
    """Its abort before the first token is load; after a token it is a fault."""
    with pytest.raises(Overloaded):
        decode(delta("abort"), profile="sglang")
    with pytest.raises(UpstreamFault):
        decode(delta(content="x"), delta("abort"), profile="sglang")


def test_what_is_cut_after_the_reason_changes_nothing() -> None:
    """Half a usage event after the finish reason leaves a complete answer, whose usage is an estimate."""
    chunks = decode(delta(content="a") + delta("stop") + usage(prompt_tokens=3)[:-9])
    assert chunks[0].finish_reason is FinishReason.STOP
    assert last_usage(chunks) == Usage(output=1, estimated=True)


def test_the_last_usage_wins_field_by_field() -> None:
    """Counts are replaced, never added, and a later event that lacks a field keeps the earlier one."""
    first = usage(prompt_tokens=9, completion_tokens=1, prompt_tokens_details={"cached_tokens": 4})
    chunks = decode(delta(content="a"), first, delta("stop"), usage(prompt_tokens=9, completion_tokens=5), DONE)
    assert last_usage(chunks) == Usage(input=9, cached_input=4, output=5)


TEN = {"prompt_tokens": 10, "completion_tokens": 7}
FOUR = {"completion_tokens_details": {"reasoning_tokens": 4}}
THREE = {"prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2}}


@pytest.mark.parametrize(
    ("profile", "wire", "counted"),
    [
        ("openai", TEN | THREE | FOUR, Usage(input=10, cached_input=3, cache_write_input=2, output=7, reasoning=4)),
        ("together", {**TEN, "cached_tokens": 3}, Usage(input=10, cached_input=3, output=7)),
        ("deepseek", {**TEN, "prompt_cache_hit_tokens": 3}, Usage(input=10, cached_input=3, output=7)),
        ("sglang", {**TEN, "reasoning_tokens": 4}, Usage(input=10, output=7, reasoning=4)),
        ("vllm", {**TEN, "prompt_tokens": 10.0, "prompt_tokens_details": None}, Usage(input=10, output=7)),
        (
            "vllm",
            TEN | {"prompt_tokens_details": {"created_cache_tokens": 2}},
            Usage(input=10, cache_write_input=2, output=7),
        ),
        ("xai", {**TEN, **FOUR, "total_tokens": 21}, Usage(input=10, output=11, reasoning=4)),
        ("xai", {**TEN, **FOUR, "total_tokens": 17}, Usage(input=10, output=7, reasoning=4)),
    ],
)
def test_usage_is_counted_by_the_vendors_rule(profile: str, wire: dict[str, Any], counted: Usage) -> None:
    """Cached and reasoning tokens are found where this vendor puts them."""
    assert last_usage(decode(delta("stop", content="x"), usage(**wire), DONE, profile=profile)) == counted


def test_groqs_two_usages_are_one() -> None:
    """The same counts in `x_groq` and beside it are not billed twice."""
    counts = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "queue_time": 0.5,
        "prompt_time": 0.1,
        "completion_time": 0.2,
    }
    both = event({"choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": counts}, "usage": counts})
    chunks = decode(delta(content="x"), both, usage(**counts), DONE, profile="groq")
    assert last_usage(chunks) == Usage(input=10, output=7)
    assert chunks[1].timings == UpstreamTimings(queue_s=0.5, prefill_s=0.1, decode_s=0.2)


def test_engine_times_become_seconds() -> None:
    """llama.cpp's milliseconds and Cerebras' seconds mean the same."""
    llama = event({"choices": [], "timings": {"prompt_ms": 5.0, "predicted_ms": 30.0}})
    assert decode(delta("stop", content="x") + llama)[0].timings == UpstreamTimings(prefill_s=0.005, decode_s=0.03)
    cerebras = event({"choices": [], "time_info": {"queue_time": 1, "prompt_time": 2, "completion_time": 3}})
    found = decode(delta("stop", content="x") + cerebras)[0].timings
    assert found == UpstreamTimings(queue_s=1, prefill_s=2, decode_s=3)


@pytest.mark.parametrize("tail", [b"", DONE, usage(prompt_tokens=4, completion_tokens=0) + DONE])
def test_usage_that_never_came_is_estimated_and_says_so(tail: bytes) -> None:
    """The output is the number of events that carried some; a count that denies them is not believed."""
    counted = last_usage(decode(delta(content="a"), delta(content="b"), delta("stop"), tail))
    assert counted.estimated
    assert counted.output == 2


def test_reasoning_has_two_names_and_mistral_a_list() -> None:
    """`reasoning`, `reasoning_content` and thinking parts are all reasoning."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "c"}]}, {"type": "text", "text": "t"}]
    chunks = decode(delta(reasoning="a") + delta(reasoning_content="b") + delta("stop", content=parts), DONE)
    assert (chunks[0].reasoning, chunks[0].text, chunks[0].events) == ("abc", "t", 3)


def test_a_refusal_is_text() -> None:
    """What a model says instead of an answer reaches the caller."""
    assert decode(delta("stop", refusal="I cannot"))[0].text == "I cannot"


def test_the_old_function_call_is_a_tool_call() -> None:
    """The form before tools is still in use."""
    read = delta(function_call={"name": "f", "arguments": '{"x"'}) + delta(function_call={"arguments": ":1}"})
    chunk = decode(read + delta("function_call"))[0]
    assert [call.arguments for call in chunk.tool_calls] == ['{"x"', ":1}"]
    assert chunk.tool_calls[0].name == "f"


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("stop_reason", "END", "END"),
        ("matched_stop", "END", "END"),
        ("stop_reason", 2, None),
        ("matched_stop", [2], None),
    ],
)
def test_the_stop_string_is_reported(field: str, value: Any, found: str | None) -> None:
    """A string that stopped the answer is named; the number of a stop token is not a string."""
    last = event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop", field: value}]})
    assert decode(last)[0].stop_sequence == found


def test_logprobs_of_both_endpoints() -> None:
    """Entries and parallel lists become the same values; a first token without one is left out."""
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.5}]}
    chat = event({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [entry]}, "finish_reason": "stop"}]})
    top = (TokenLogprob(token="b", logprob=-1.5),)
    assert decode(chat)[0].logprobs == (TokenLogprob(token="a", logprob=-0.5, bytes=(97,), top=top),)
    lists = {"tokens": ["x", "a"], "token_logprobs": [None, -0.5], "top_logprobs": [None, {"b": -1.5}]}
    plain = event({"choices": [{"text": "xa", "logprobs": lists, "finish_reason": "stop"}]})
    assert decode(plain)[0].logprobs == (TokenLogprob(token="a", logprob=-0.5, top=top),)


def test_text_beside_a_delta_is_not_said_twice() -> None:
    """Together repeats the delta as `text`; the completions endpoint has nothing but `text`."""
    both = event({"choices": [{"text": "a", "delta": {"content": "a"}}]})
    only = event({"choices": [{"text": "b", "finish_reason": "stop"}]})
    assert decode(both + only)[0].text == "ab"


def test_a_whole_answer_is_one_chunk() -> None:
    """A server that does not stream is understood; its length stands in for a usage that it leaves out."""
    call = {"id": "i", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    message = {"role": "assistant", "content": "four", "reasoning_content": "hm", "tool_calls": [call]}
    answer = {"object": "chat.completion", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    (chunk,) = decoder().whole(msgspec.json.encode(answer))
    assert (chunk.text, chunk.reasoning, chunk.finish_reason) == ("four", "hm", FinishReason.TOOL_CALLS)
    assert chunk.tool_calls == (ToolCallDelta(index=0, id="i", name="f", arguments='{"x":1}'),)
    long = {"choices": [{"message": {"content": "x" * 400}}]}
    (chunk,) = decoder().whole(msgspec.json.encode(long))
    assert (chunk.finish_reason, chunk.usage) == (FinishReason.STOP, Usage(output=100, estimated=True))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"ok":true}', b"nonsense"])
def test_other_json_is_a_violation(body: bytes) -> None:
    """A document without an answer is none."""
    with pytest.raises(ProtocolViolation):
        decoder().whole(body)


def test_an_error_as_a_document_is_raised() -> None:
    """Some servers say 200 and mean an error."""
    with pytest.raises(RateLimited):
        decoder().whole(b'{"error":{"message":"slow","code":429}}')


def said(chunks: Sequence[Chunk]) -> tuple[str, str, str, int, object, object]:
    return (
        "".join(c.reasoning for c in chunks),
        "".join(c.text for c in chunks),
        "".join(call.arguments for c in chunks for call in c.tool_calls),
        sum(c.events for c in chunks),
        [c.finish_reason for c in chunks if c.finish_reason],
        last_usage(chunks),
    )


PARTS = st.one_of(
    st.builds(lambda text: delta(content=text), st.text(max_size=4)),
    st.builds(lambda text: delta(reasoning=text), st.text(max_size=4)),
    st.builds(
        lambda text: delta(tool_calls=[{"index": 0, "id": "i", "function": {"name": "f", "arguments": text}}]),
        st.text(max_size=4),
    ),
    st.just(b": ping\n\n"),
    st.builds(lambda n: usage(prompt_tokens=3, completion_tokens=n), st.integers(1, 9)),
)


@given(st.lists(PARTS, max_size=12), st.lists(st.integers(0, 2000), max_size=12))
def test_any_cut_says_the_same(parts: list[bytes], cuts: list[int]) -> None:
    """Text, reasoning, calls, end and usage do not depend on how the network cuts the bytes."""
    stream = b"".join(parts) + delta("stop") + DONE
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert said(decode(*reads)) == said(decode(stream))


@pytest.mark.parametrize(
    ("wire", "counted"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 12}, Usage(input=3, output=9, reasoning=5)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(input=3, output=4)),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(input=3, output=4)),
    ],
)
def test_reasoning_may_be_in_the_total_alone(wire: dict[str, Any], counted: Usage) -> None:
    """Gemini's second face says it nowhere else."""
    assert (
        last_usage(decode(delta(content="a") + delta("stop") + usage(**wire) + DONE, profile="gemini_openai"))
        == counted
    )


def test_llama_cpp_counts_beside_its_times() -> None:
    """A build that knows no usage still says what was read, what was in the cache and what was made."""
    times = {"cache_n": 18, "prompt_n": 1, "predicted_n": 7, "prompt_ms": 5.0, "predicted_ms": 32.0}
    end = event({"choices": [{"delta": {}, "finish_reason": "stop"}], "timings": times})
    chunks = decode(delta(content="a") + end + DONE, profile="llama_cpp")
    assert last_usage(chunks) == Usage(input=19, cached_input=18, output=7)
    assert chunks[-1].timings == UpstreamTimings(prefill_s=0.005, decode_s=0.032)


def test_events_of_a_servers_own_are_passed_over() -> None:
    """They have a name, and may hold anything."""
    assert decode(b"event: sglext_ids\ndata: [1, 2]\n\n" + delta("stop", content="a") + DONE)[0].text == "a"
    with pytest.raises(ProtocolViolation):
        decode(b"event: message\ndata: [1, 2]\n\n")


def test_logprobs_that_name_no_token_are_passed_over() -> None:
    """Together sends a bare number in a stream."""
    stream = event({"choices": [{"delta": {"content": "a"}, "logprobs": -0.5, "finish_reason": "stop"}]})
    chunks = decode(stream + DONE, profile="together")
    assert (chunks[0].text, chunks[0].logprobs) == ("a", ())


def test_a_shortage_in_the_middle_is_load() -> None:
    """DeepSeek's word for it is a finish reason."""
    with pytest.raises(Overloaded):
        decode(delta(content="a") + delta("insufficient_system_resource"), profile="deepseek")


def test_a_call_brings_its_signature() -> None:
    """With its first piece, or after it."""
    proof = {"google": {"thought_signature": "c2ln"}}
    call: dict[str, Any] = {"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}}
    (first, *_) = decode(delta("tool_calls", tool_calls=[{**call, "extra_content": proof}]) + DONE)
    assert first.tool_calls == (ToolCallDelta(index=0, id="i", name="f", arguments="{}", signature="c2ln"),)
    late = delta(tool_calls=[call]) + delta("tool_calls", tool_calls=[{"index": 0, "extra_content": proof}]) + DONE
    assert [piece.signature for piece in decode(late)[0].tool_calls] == [None, "c2ln"]


def test_a_trace_of_the_server_stays_here() -> None:
    """TabbyAPI's error has one, with its paths."""
    failed = event({"error": {"message": "Chat completion aborted.", "trace": "File /srv/secret.py"}})
    with pytest.raises(BackendError) as caught:
        decode(failed, profile="tabbyapi")
    assert "secret" not in str(caught.value)
