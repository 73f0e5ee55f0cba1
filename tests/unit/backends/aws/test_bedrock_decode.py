"""Converse streams as they are decoded: blocks, signatures, calls, counts, and what cuts do to them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.aws.bedrock.decode import ConverseDecoder
from backends.aws.bedrock.dialects import DIALECTS
from backends.contract import Chunk, FinishReason, ReasoningBlock, Usage
from backends.errors import BackendError, ProtocolViolation, RateLimited, TimedOut, UpstreamFault
from backends.failures import classify
from simulation.wires import event_stream
from tests.contract.answers import Answer

Event = tuple[str, dict[str, Any]]
STOP: Event = ("messageStop", {"stopReason": "end_turn"})
COUNTS: Event = ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {}})


def read_failure(body: bytes) -> BackendError:
    return classify.from_event(body, rules=DIALECTS["bedrock"].failures)


def delta(index: int, **fields: Any) -> Event:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": fields, "p": "abcdef"}


def call(index: int, name: str, **more: Any) -> Event:
    start = {"toolUse": {"toolUseId": f"id-{name}", "name": name, **more}}
    return "contentBlockStart", {"contentBlockIndex": index, "start": start}


def end(index: int) -> Event:
    return "contentBlockStop", {"contentBlockIndex": index}


def frames(*events: Event) -> bytes:
    return b"".join(event_stream.event(name, json.dumps(value).encode()) for name, value in events)


def decode(reads: Iterator[bytes] | list[bytes]) -> list[Chunk]:
    decoder = ConverseDecoder(read_failure=read_failure)
    chunks = [chunk for read in reads for chunk in decoder.feed(read)]
    return chunks if decoder.done else chunks + decoder.close()


def answer(*events: Event) -> Answer:
    return Answer(decode([frames(*events)]))


WHOLE = frames(
    ("messageStart", {"role": "assistant"}),
    delta(0, reasoningContent={"text": "I th"}),
    delta(0, reasoningContent={"text": "ink"}),
    delta(0, reasoningContent={"signature": "c2ln"}),
    end(0),
    delta(1, text="H"),
    delta(1, text="é €"),
    end(1),
    call(2, "look"),
    delta(2, toolUse={"input": '{"a"'}),
    delta(2, toolUse={"input": ":1}"}),
    end(2),
    call(3, "stop"),
    end(3),
    ("messageStop", {"stopReason": "tool_use"}),
    COUNTS,
)


@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=10))
def test_any_cut_gives_the_same_answer(cuts: list[int]) -> None:
    """Reasoning with its signature, text, two calls, the end and the counts, however the bytes arrive."""
    places = [0, *sorted(cuts), len(WHOLE)]
    found = Answer(decode([WHOLE[start:stop] for start, stop in itertools.pairwise(places)]))
    assert (found.reasoning, found.text) == ("I think", "Hé €")
    assert found.signed == (ReasoningBlock(text="I think", signature="c2ln"),)
    assert [(made.id, made.name, made.arguments) for made in found.calls] == [
        ("id-look", "look", '{"a":1}'),
        ("id-stop", "stop", "{}"),
    ]
    assert found.finish == [FinishReason.TOOL_CALLS]
    assert found.usage == Usage(input=3, output=2)


@given(at=st.integers(0, len(WHOLE) - 1), length=st.integers(0, 40), junk=st.binary(max_size=40))
def test_spoilt_bytes_never_pass_for_an_answer(at: int, length: int, junk: bytes) -> None:
    """Whatever is cut out or put in, the answer is the same or a failure: nothing crashes, nothing hangs."""
    spoilt = WHOLE[:at] + junk + WHOLE[at + length :]
    try:
        found = Answer(decode([spoilt]))
    except BackendError:
        return
    assert found.text == "Hé €"


def test_redacted_reasoning_keeps_what_goes_back() -> None:
    """Of a block that the vendor hides only its own proof is there."""
    found = answer(delta(0, reasoningContent={"redactedContent": "aGlkZGVu"}), end(0), delta(1, text="x"), STOP, COUNTS)
    assert found.signed == (ReasoningBlock(signature="aGlkZGVu", redacted=True),)
    assert found.reasoning == ""


def test_reasoning_without_a_signature_is_not_signed() -> None:
    """Models that sign nothing have text only."""
    found = answer(delta(0, reasoningContent={"text": "hm"}), end(0), delta(1, text="x"), STOP, COUNTS)
    assert (found.reasoning, found.signed) == ("hm", ())


def test_what_is_written_to_and_read_from_the_cache_is_input() -> None:
    """The service counts them apart; here they are parts of the whole."""
    usage = {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 100}
    found = answer(delta(0, text="x"), STOP, ("metadata", {"usage": usage}))
    assert found.usage == Usage(input=111, cached_input=10, cache_write_input=100, output=2)


def test_a_call_that_was_cut_is_not_completed() -> None:
    """Of a call that ran into the limit nobody knows the arguments."""
    found = answer(call(0, "look"), end(0), ("messageStop", {"stopReason": "max_tokens"}), COUNTS)
    assert found.calls[0].arguments == ""
    assert found.finish == [FinishReason.LENGTH]


def test_tools_that_run_at_the_service_are_not_the_callers() -> None:
    """Their calls and results are not passed on."""
    events = (call(0, "search", type="server_tool_use"), delta(0, toolUse={"input": "{}"}), end(0))
    found = answer(*events, delta(1, text="found"), STOP, COUNTS)
    assert (found.calls, found.text) == ((), "found")


def test_what_is_new_is_not_read() -> None:
    """Events and deltas that nobody has seen yet change nothing."""
    found = answer(
        ("initial-response", {}),
        ("contentBlockPause", {"start": 7}),
        delta(0, citation={"title": "t"}),
        delta(0, text="x"),
        ("messageStop", {"stopReason": "something_new"}),
        COUNTS,
    )
    assert (found.text, found.finish) == ("x", [FinishReason.STOP])


@pytest.mark.parametrize(
    ("name", "payload", "kind"),
    [
        ("throttlingException", {"message": "Too many tokens, please wait"}, RateLimited),
        ("modelStreamErrorException", {"message": "no", "originalStatusCode": 500}, UpstreamFault),
        (
            "modelStreamErrorException",
            {"message": "no", "originalStatusCode": 429, "originalMessage": "busy"},
            RateLimited,
        ),
        ("modelTimeoutException", {"message": "late"}, TimedOut),
        ("somethingNewException", {}, UpstreamFault),
    ],
)
def test_an_exception_is_a_failure_of_its_kind(name: str, payload: dict[str, Any], kind: type[BackendError]) -> None:
    """The name says which; what it wraps says it better."""
    with pytest.raises(kind):
        decode([event_stream.exception(name, json.dumps(payload).encode())])


def test_an_exception_that_is_no_json_is_one_all_the_same() -> None:
    """Its bytes become the message."""
    with pytest.raises(UpstreamFault, match="oh no"):
        decode([event_stream.exception("internalServerException", b"oh no")])


@pytest.mark.parametrize("events", [[], [delta(0, text="x")], [delta(0, text="x"), COUNTS]])
def test_a_body_without_messagestop_is_no_answer(events: list[Event]) -> None:
    """Counts alone prove nothing."""
    with pytest.raises(ProtocolViolation):
        decode([frames(*events)])


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"delta":7}', b'{"delta":{"text":7}}'])
def test_an_event_of_another_form_is_no_event(payload: bytes) -> None:
    """A frame may be whole and its payload not of this wire."""
    with pytest.raises(ProtocolViolation):
        decode([event_stream.event("contentBlockDelta", payload)])


def test_a_whole_answer_is_read_as_a_stream_would_be() -> None:
    """One JSON document: reasoning, text with its sources, calls, end and counts."""
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"text": "Hi"},
        {"citationsContent": {"content": [{"text": " there"}], "citations": []}},
        {"toolUse": {"toolUseId": "1", "name": "look", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "2", "name": "stop", "input": {}}},
    ]
    document = {"output": {"message": {"content": content}}, "stopReason": "tool_use", "usage": COUNTS[1]["usage"]}
    found = Answer(ConverseDecoder(read_failure=read_failure).whole(json.dumps(document).encode()))
    assert (found.reasoning, found.text) == ("hm", "Hi there")
    assert found.signed == (ReasoningBlock(text="hm", signature="c2ln"),)
    assert [made.arguments for made in found.calls] == ['{"a": 1}', "{}"]
    assert found.usage == Usage(input=3, output=2)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"Output":{"__type":"x"}}', b'{"output":{}}'])
def test_another_document_is_no_answer(body: bytes) -> None:
    """What is no answer of Converse is told from one."""
    with pytest.raises(ProtocolViolation):
        ConverseDecoder(read_failure=read_failure).whole(body)
