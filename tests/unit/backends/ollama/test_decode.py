"""Ollama's answers as chunks: text, thoughts, calls, the end and what it says."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, ToolCallDelta, UpstreamTimings, Usage
from backends.errors import BackendError, ContextTooLong, ProtocolViolation, UpstreamFault
from backends.ollama.decode import OllamaDecoder

END = (
    b'{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":9000000000,'
    b'"load_duration":500000000,"prompt_eval_count":26,"prompt_eval_duration":250000000,"eval_count":2,'
    b'"eval_duration":2000000000}\n'
)
HELLO = '{"message":{"content":"Hé"},"done":false}\n{"message":{"content":"llo 😀"},"done":false}\n'.encode()


def fail(body: bytes) -> BackendError:
    return UpstreamFault(body.decode("utf-8", "replace"))


def decode(*reads: bytes, num_ctx: int | None = None) -> list[Chunk]:
    decoder = OllamaDecoder(read_failure=fail, num_ctx=num_ctx)
    return [chunk for read in reads for chunk in decoder.feed(read)] + decoder.close()


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_a_stream_is_read_to_its_last_line() -> None:
    """Text, the reason of the end, counts and times in seconds."""
    *_, last = chunks = decode(HELLO, END)
    assert text(chunks) == "Héllo 😀"
    assert sum(chunk.events for chunk in chunks) == 2
    assert last.finish_reason is FinishReason.STOP
    assert last.usage == Usage(input=26, output=2)
    assert last.timings == UpstreamTimings(queue_s=0.5, prefill_s=0.25, decode_s=2.0)


@given(st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_the_bytes_says_the_same(places: list[int]) -> None:
    """Cuts inside a character or a number change nothing."""
    stream = HELLO + END
    ends = sorted({place % len(stream) for place in places} | {len(stream)})
    chunks = decode(*(stream[start:end] for start, end in zip([0, *ends], ends, strict=False)))
    assert text(chunks) == "Héllo 😀"
    assert [chunk.usage for chunk in chunks if chunk.usage] == [Usage(input=26, output=2)]


def test_thoughts_are_reasoning() -> None:
    """They come before the text, in one chunk with it."""
    (chunk,) = decode(b'{"message":{"thinking":"hm"}}\n{"message":{"content":"A"}}\n' + END)
    assert (chunk.reasoning, chunk.text, chunk.events) == ("hm", "A", 2)


def test_a_call_comes_whole_and_makes_the_end_one_of_tool_calls() -> None:
    """The reason stays `stop` on the wire; arguments become text as they were written."""
    (chunk,) = decode(
        b'{"message":{"tool_calls":[{"id":"call_1","function":{"index":0,"name":"add","arguments":{"b":2.50,"a":1}}}]}}\n'
        b'{"message":{"tool_calls":[{"function":{"name":"now","arguments":null}},{"function":{"name":"x","arguments":"{}"}}]}}\n'
        + END
    )
    first, second, third = chunk.tool_calls
    assert first == ToolCallDelta(index=0, id="call_1", name="add", arguments='{"b":2.50,"a":1}')
    assert (second.index, second.name, second.arguments, third.index, third.arguments) == (1, "now", "{}", 2, "{}")
    assert re.fullmatch(r"[A-Za-z0-9]{9}", second.id or "")
    assert chunk.finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        (b',"done_reason":"length"', FinishReason.LENGTH),
        (b',"done_reason":"stop"', FinishReason.STOP),
        (b',"done_reason":"something new"', FinishReason.STOP),
        (b"", FinishReason.STOP),
    ],
)
def test_reasons_of_the_end(reason: bytes, finish: FinishReason) -> None:
    """Old versions give none; one that nobody has seen still says that the answer is complete."""
    *_, last = decode(b'{"message":{"content":"x"}}\n{"done":true%b,"eval_count":1}' % reason)
    assert last.finish_reason is finish


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_a_model_that_was_only_moved_is_no_answer(reason: str) -> None:
    """The server says done without having generated anything."""
    with pytest.raises(UpstreamFault, match=reason):
        decode(b'{"response":"","done":true,"done_reason":"%b"}\n' % reason.encode())


def test_a_prompt_that_was_not_counted_makes_the_usage_an_estimate() -> None:
    """Some versions leave out the count of a prompt that was in the cache."""
    (chunk,) = decode(b'{"message":{"content":"x"}}\n{"done":true,"eval_count":5}\n')
    assert chunk.usage == Usage(input=0, output=5, estimated=True)


def test_output_that_was_not_counted_is_estimated_by_its_events() -> None:
    """A server sends a token a line."""
    (chunk,) = decode(HELLO, b'{"done":true,"prompt_eval_count":3}')[-1:]
    assert chunk.usage == Usage(input=3, output=2, estimated=True)


def test_a_prompt_that_fills_its_window_was_cut() -> None:
    """Servers that ignore `truncate: false` are caught by their own count."""
    with pytest.raises(ContextTooLong, match="26 tokens"):
        decode(HELLO, END, num_ctx=26)
    assert text(decode(HELLO, END, num_ctx=27)) == "Héllo 😀"


def test_an_error_line_under_200_is_a_failure() -> None:
    """Whatever came before it."""
    with pytest.raises(UpstreamFault, match="out of memory"):
        decode(HELLO + b'{"error":"out of memory"}\n')


@pytest.mark.parametrize(
    "stream", [b"", HELLO, HELLO[:-1], b"<html>\n", b"{}\n", b'{"message":{"tool_calls":[{"function":{}}]}}\n']
)
def test_what_does_not_end_or_is_no_line_of_the_wire_is_broken(stream: bytes) -> None:
    """A bare end of the connection proves nothing."""
    with pytest.raises(ProtocolViolation):
        decode(stream)


def test_a_line_without_end_is_refused_at_the_cap() -> None:
    """Memory is bounded."""
    with pytest.raises(ProtocolViolation, match="more than"):
        decode(*[b"x" * (1024 * 1024)] * 9)


def test_nothing_after_the_end_counts() -> None:
    """The answer was complete."""
    assert text(decode(HELLO + END + HELLO)) == "Héllo 😀"


def test_log_probabilities_are_passed_on() -> None:
    """With the alternatives where they were asked for."""
    entry = b'{"token":"x","logprob":-0.5,"bytes":[120],"top_logprobs":[{"token":"y","logprob":-1.5}]}'
    (chunk,) = decode(b'{"message":{"content":"x"},"logprobs":[%b]}\n' % entry + END)
    (logprob,) = chunk.logprobs
    assert (logprob.token, logprob.logprob, logprob.top[0].token) == ("x", -0.5, "y")


def test_completions_have_their_text_beside_the_message() -> None:
    """/api/generate, thoughts included."""
    (chunk,) = decode(b'{"response":"a","thinking":"t"}\n{"response":"","done":true,"eval_count":1}\n')
    assert (chunk.text, chunk.reasoning) == ("a", "t")


def test_an_answer_in_one_document_is_read_whole() -> None:
    """Its output is estimated by its length where it is not counted."""
    whole = b'{"message":{"content":"twelve chars"},"done":true,"prompt_eval_count":1}'
    (chunk,) = OllamaDecoder(read_failure=fail).whole(whole)
    assert (chunk.text, chunk.usage) == ("twelve chars", Usage(input=1, output=3, estimated=True))


def test_lines_sent_as_json_are_read_too() -> None:
    """Some versions send a stream under that content type."""
    assert text(OllamaDecoder(read_failure=fail).whole(HELLO + END)) == "Héllo 😀"


members = st.sampled_from(
    ["message", "content", "thinking", "tool_calls", "function", "name", "arguments", "done", "error"]
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(members, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.binary(max_size=20) | st.builds(json.dumps, documents).map(str.encode), max_size=4))
def test_no_bytes_break_the_decoder_itself(lines: list[bytes]) -> None:
    """They are an answer, or no answer."""
    with contextlib.suppress(BackendError):
        decode(b"\n".join(lines))
    with contextlib.suppress(BackendError):
        OllamaDecoder(read_failure=fail).whole(b"\n".join(lines))
