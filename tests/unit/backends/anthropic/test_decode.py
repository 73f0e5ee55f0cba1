"""The Messages stream: what it says, however its bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.anthropic.decode import MessagesDecoder
from backends.anthropic.profiles import PROFILES
from backends.contract import Chunk, FinishReason, ReasoningBlock, Usage
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    TimedOut,
    UpstreamFault,
)
from backends.failures.classify import from_event

START = {"type": "message_start", "message": {"usage": {"input_tokens": 10, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def read_failure(body: bytes) -> BackendError:
    return from_event(body, rules=PROFILES["anthropic"].failures)


def decoder() -> MessagesDecoder:
    return MessagesDecoder(read_failure=read_failure)


def wire(*events: dict[str, Any]) -> bytes:
    """Events as they are sent, padded as the vendor pads them."""
    return b"".join(
        b"event: %b\ndata: %b }\n\n" % (event["type"].encode(), msgspec.json.encode(event)[:-1]) for event in events
    )


def begun(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int = 0, **delta: Any) -> dict[str, Any]:
    kind = next(iter(delta))
    name = {"partial_json": "input_json_delta", "signature": "signature_delta", "citation": "citations_delta"}
    return {"type": "content_block_delta", "index": index, "delta": {"type": name.get(kind, f"{kind}_delta"), **delta}}


def ended(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def over(reason: str | None = "end_turn", sequence: str | None = None, **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5, **usage}}


def text(*pieces: str) -> list[dict[str, Any]]:
    return [begun({"type": "text", "text": ""}), *(piece(text=part) for part in pieces), ended()]


FULL = wire(
    START,
    begun({"type": "thinking", "thinking": "", "signature": ""}),
    {"type": "ping"},
    piece(thinking="So "),
    piece(thinking="it is."),
    piece(signature="sig=="),
    ended(),
    begun({"type": "redacted_thinking", "data": "opaque"}, 1),
    ended(1),
    begun({"type": "text", "text": ""}, 2),
    piece(2, text="Grüße"),
    piece(2, citation={"type": "web_search_result_location", "url": "https://example.com"}),
    ended(2),
    begun({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, 3),
    piece(3, partial_json='{"query": "x"}'),
    ended(3),
    begun({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}, 4),
    ended(4),
    begun({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, 5),
    piece(5, partial_json=""),
    piece(5, partial_json='{"a"'),
    piece(5, partial_json=": 1}"),
    ended(5),
    begun({"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}, 6),
    ended(6),
    over("tool_use", input_tokens=10, cache_creation_input_tokens=3, cache_read_input_tokens=4, output_tokens=50),
    STOP,
)


def said(chunks: list[Chunk]) -> dict[str, Any]:
    """All of an answer, chunks put together."""
    calls: dict[int, list[Any]] = {}
    for delta in (delta for chunk in chunks for delta in chunk.tool_calls):
        call = calls.setdefault(delta.index, [delta.id, delta.name, ""])
        call[2] += delta.arguments
    return {
        "text": "".join(chunk.text for chunk in chunks),
        "reasoning": "".join(chunk.reasoning for chunk in chunks),
        "signed": [block for chunk in chunks for block in chunk.signed],
        "calls": calls,
        "finish": [chunk.finish_reason for chunk in chunks if chunk.finish_reason],
        "usage": [chunk.usage for chunk in chunks if chunk.usage][-1:],
        "events": sum(chunk.events for chunk in chunks),
    }


def run(data: bytes, cuts: tuple[int, ...] = ()) -> list[Chunk]:
    reader = decoder()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    chunks: list[Chunk] = []
    for start, end in pairwise(edges):
        if not reader.done:
            chunks += reader.feed(data[start:end])
    return [*chunks, *reader.close()]


def test_everything_in_one_answer() -> None:
    """Each kind of block arrives as what it is; what runs at the vendor and what is unknown is let pass."""
    assert said(run(FULL)) == {
        "text": "Grüße",
        "reasoning": "So it is.",
        "signed": [
            ReasoningBlock(text="So it is.", signature="sig=="),
            ReasoningBlock(signature="opaque", redacted=True),
        ],
        "calls": {0: ["toolu_1", "f", '{"a": 1}'], 1: ["toolu_2", "g", "{}"]},
        "finish": [FinishReason.TOOL_CALLS],
        "usage": [Usage(input=17, cached_input=4, cache_write_input=3, output=50)],
        "events": 7,
    }


@given(st.lists(st.integers(0, len(FULL)), max_size=30))
def test_any_cut_of_the_bytes_says_the_same(cuts: list[int]) -> None:
    """Where a read ends changes nothing."""
    assert said(run(FULL, tuple(cuts))) == said(run(FULL))


@given(st.integers(0, len(FULL) - 1))
def test_less_than_all_of_it_is_broken(length: int) -> None:
    """Only message_stop proves the end, and no chunk has a finish reason before it."""
    data = FULL[:length]
    if b'"message_stop" }' in data:
        return
    reader = decoder()
    chunks = reader.feed(data)
    assert not any(chunk.finish_reason for chunk in chunks)
    with pytest.raises(ProtocolViolation):
        reader.close()


@given(st.binary(max_size=200), st.sampled_from([b"", b"event: message_delta\ndata: ", b"data: {", b"event: error\n"]))
def test_nonsense_is_a_violation_or_nothing(noise: bytes, before: bytes) -> None:
    """No bytes make it fail in any other way."""
    reader = decoder()
    try:
        reader.feed(before + noise + b"\n\n")
        reader.close()
    except BackendError:
        return
    raise AssertionError("noise is no answer")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("something_new", FinishReason.STOP),
        (None, FinishReason.STOP),
    ],
)
def test_reasons_to_stop(reason: str | None, finish: FinishReason) -> None:
    """Every word of the vendor has one of ours; a new one still ends the answer."""
    assert said(run(wire(START, *text("x"), over(reason), STOP)))["finish"] == [finish]


def test_the_stop_sequence_is_told() -> None:
    """Which of them ended the answer comes with its end."""
    assert run(wire(START, *text("x"), over("stop_sequence", "END"), STOP))[-1].stop_sequence == "END"


def test_a_call_that_was_cut_stays_cut() -> None:
    """Nobody knows what the arguments would have been, not even that there were none."""
    call = begun({"type": "tool_use", "id": "t", "name": "f", "input": {}})
    assert said(run(wire(START, call, ended(), over("max_tokens"), STOP)))["calls"] == {0: ["t", "f", ""]}


def test_input_is_counted_before_the_end() -> None:
    """The first output brings the count of the input along; a count alone is no delivery."""
    reader = decoder()
    assert reader.feed(wire(START)) == []
    (chunk,) = reader.feed(wire(*text("x")))
    assert chunk.usage == Usage(input=10, output=1)


def test_the_last_count_wins() -> None:
    """Counts are cumulative: never added, and a field that is left out keeps its value."""
    last = over(output_tokens=9, output_tokens_details={"thinking_tokens": 2})
    data = wire(START, *text("x"), over(None, output_tokens=3), last, STOP)
    assert said(run(data))["usage"] == [Usage(input=10, output=9, reasoning=2)]


def test_an_answer_nobody_counted_is_estimated() -> None:
    """A server that leaves usage out, or counts no output, is counted by its events."""
    uncounted = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    for usage in (uncounted, over(output_tokens=0)):
        data = wire({"type": "message_start"}, *text("a", "b"), usage, STOP)
        assert said(run(data))["usage"] == [Usage(output=2, estimated=True)]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", Overloaded),
        ("api_error", UpstreamFault),
        ("rate_limit_error", RateLimited),
        ("invalid_request_error", BadRequest),
        ("authentication_error", AuthFailed),
        ("billing_error", QuotaExhausted),
        ("timeout_error", TimedOut),
        ("internal_error", UpstreamFault),
    ],
)
def test_an_error_inside_the_stream(kind: str, error: type[BackendError]) -> None:
    """It is raised as what it is, and what came with it in one read is not delivered."""
    event = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "r"}
    with pytest.raises(BackendError) as caught:
        decoder().feed(wire(START, *text("x"), event))
    assert type(caught.value) is error


def test_an_error_that_is_no_json() -> None:
    """Its name says enough."""
    with pytest.raises(UpstreamFault):
        decoder().feed(b"event: error\ndata: upstream went away\n\n")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "something_new", "message": "text", "delta": 3},
        {"type": "content_block_start", "index": 9, "content_block": {"type": "new_block", "input": "text", "id": 3}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "new_delta", "text": ["x"]}},
        {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_stop", "index": 77},
    ],
)
def test_what_is_new_is_let_pass(event: dict[str, Any]) -> None:
    """Events, blocks and deltas of a kind nobody knows may have any form."""
    answer = said(run(wire(START, event, *text("x"), over(), STOP)))
    assert (answer["text"], answer["calls"]) == ("x", {})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 3}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "input": {}}},
        {"type": "message_delta", "delta": {"stop_reason": 7}},
    ],
)
def test_what_is_known_has_its_form(event: dict[str, Any]) -> None:
    """An event of a known kind in another form is no event of this wire."""
    with pytest.raises(ProtocolViolation):
        decoder().feed(wire(START, event))


def test_blocks_that_do_not_end_are_bounded() -> None:
    """A stream that only opens blocks is no answer."""
    with pytest.raises(ProtocolViolation, match="do not end"):
        decoder().feed(wire(*(begun({"type": "text", "text": ""}, index) for index in range(65))))


def test_an_end_without_an_answer() -> None:
    """A stream that says nothing but its end is broken."""
    with pytest.raises(ProtocolViolation):
        decoder().feed(wire(STOP))


def test_engines_that_say_more_in_fewer_events() -> None:
    """Text and arguments may be in the block itself, its id may be missing, a marker of another wire may follow."""
    data = wire(
        begun({"type": "text", "text": "x"}),
        begun({"type": "tool_use", "name": "f", "input": {"a": [1]}}, 1),
        over("tool_use"),
        STOP,
    )
    answer = said(run(b"data: [DONE]\n\n" + data))
    ((call_id, name, arguments),) = answer["calls"].values()
    assert (answer["text"], name, arguments) == ("x", "f", '{"a":[1]}')
    assert len(call_id) == 9


def test_an_answer_as_one_document() -> None:
    """A JSON message says the same as a stream."""
    message = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "server_tool_use", "id": 1, "name": "web_search", "input": []},
            {"type": "text", "text": "x", "citations": None},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 4},
    }
    answer = said(decoder().whole(msgspec.json.encode(message)))
    assert (answer["text"], answer["reasoning"]) == ("x", "hm")
    assert answer["signed"] == [ReasoningBlock(text="hm", signature="s")]
    assert answer["calls"] == {0: ["t", "f", '{"a":1}'], 1: ["u", "g", "{}"]}
    assert answer["finish"] == [FinishReason.TOOL_CALLS]
    assert answer["usage"] == [Usage(input=5, cached_input=3, output=4)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", ProtocolViolation),
        (b'{"type":"message"}', ProtocolViolation),
        (b'{"content":[3]}', ProtocolViolation),
        (b'{"content":[]}', ProtocolViolation),
        (b'{"content":[{"type":"text","text":3}]}', ProtocolViolation),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', Overloaded),
    ],
)
def test_a_document_that_is_no_answer(body: bytes, error: type[BackendError]) -> None:
    """An error in it is raised as what it is, everything else as a violation."""
    with pytest.raises(BackendError) as caught:
        decoder().whole(body)
    assert type(caught.value) is error


def test_an_uncounted_document_is_estimated() -> None:
    """By the length of its text."""
    (chunk,) = decoder().whole(b'{"content":[{"type":"text","text":"abcdefgh"}],"stop_reason":"end_turn"}')
    assert chunk.usage == Usage(output=2, estimated=True)
