"""Streams of Google's, from simple parts, cut anywhere."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, ReasoningBlock, ToolCallDelta, Usage
from backends.errors import AuthFailed, BackendError, Overloaded, ProtocolViolation, Unsupported, UpstreamFault
from backends.failures.classify import from_event
from backends.gemini.decode import GeminiDecoder
from backends.gemini.dialects import FAILURES

COUNTS = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
OVERLOADED = (
    b'{\r\n  "error": {\r\n    "code": 503,\r\n    "message": "busy",\r\n    "status": "UNAVAILABLE"\r\n  }\r\n}\r\n'
)


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\r\n\r\n"


def said(*parts: dict[str, Any], finish: str | int = "", usage: dict[str, int] | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, **more}
    if finish != "":
        candidate["finishReason"] = finish
    return event({"candidates": [candidate], **({"usageMetadata": usage} if usage else {})})


def call(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **more}}


def decoder() -> GeminiDecoder:
    return GeminiDecoder(read_failure=lambda body: from_event(body, rules=FAILURES))


def decode(*reads: bytes) -> list[Chunk]:
    one = decoder()
    return [chunk for data in reads for chunk in one.feed(data)] + one.close()


def calls_of(chunks: Sequence[Chunk]) -> list[ToolCallDelta]:
    return [delta for chunk in chunks for delta in chunk.tool_calls]


def summary(chunks: Sequence[Chunk]) -> tuple[object, ...]:
    """What an answer says, however it was cut into chunks."""
    return (
        "".join(chunk.text for chunk in chunks),
        "".join(chunk.reasoning for chunk in chunks),
        [(delta.index, delta.name, delta.arguments, delta.signature) for delta in calls_of(chunks)],
        [block for chunk in chunks for block in chunk.signed],
        sum(chunk.events for chunk in chunks),
        chunks[-1].finish_reason,
        chunks[-1].usage,
    )


STREAM = (
    said({"text": "hm", "thought": True})
    + said({"text": "Zürich 🏔", "thoughtSignature": "c2ln"}, usage={"promptTokenCount": 9, "totalTokenCount": 9})
    + said(call(args={"city": "Zürich"}, id="abc"), {**call("g"), "thoughtSignature": "dHdv"})
    + said({"text": ""}, finish="STOP", usage=COUNTS)
)


def test_an_answer_of_everything() -> None:
    """Thought, text, signatures, calls; the last counts hold and a call makes the reason."""
    assert summary(decode(STREAM)) == (
        "Zürich 🏔",
        "hm",
        [(0, "f", '{"city":"Zürich"}', None), (1, "g", "{}", "dHdv")],
        [ReasoningBlock(text="hm", signature="gemini:c2ln")],
        3,
        FinishReason.TOOL_CALLS,
        Usage(input=7, output=3),
    )


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_answer(cuts: list[int]) -> None:
    """Reads end in the middle of characters, line ends and events."""
    places = [0, *sorted(cuts), len(STREAM)]
    reads = [STREAM[start:end] for start, end in itertools.pairwise(places)]
    assert summary(decode(*reads)) == summary(decode(STREAM))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    """Nothing but our own errors leaves the decoder."""
    with contextlib.suppress(BackendError):
        decode(data)
    with contextlib.suppress(BackendError):
        decode(b"data: " + data)
    with contextlib.suppress(BackendError):
        decoder().whole(data)


def test_calls_without_an_id_get_one() -> None:
    """Each its own; with one, the vendor's holds."""
    first, second, third = calls_of(decode(said(call(), call(), call(id="theirs"), finish="STOP")))
    assert first.id
    assert second.id
    assert first.id != second.id
    assert third.id == "theirs"


@pytest.mark.parametrize("arguments", [{}, {"args": {}}, {"args": None}])
def test_no_arguments_are_the_empty_object(arguments: dict[str, Any]) -> None:
    """However the service leaves them out."""
    (delta,) = calls_of(decode(said(call(**arguments), finish="STOP")))
    assert delta.arguments == "{}"


def test_arguments_are_passed_on_as_they_were_written() -> None:
    """But for the blanks between them."""
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{\n  "a": 1.50,\n  "b": " "}}}]},'
    (delta,) = calls_of(decoder().whole(body + b'"finishReason":"STOP"}]}'))
    assert delta.arguments == '{"a":1.50,"b":" "}'


def test_a_reason_in_every_event_ends_nothing() -> None:
    """Older models give one with each; the answer goes on to the end of the body."""
    chunks = decode(said({"text": "a"}, finish="STOP"), said({"text": "b"}, finish="STOP", usage=COUNTS))
    assert [chunk.text for chunk in chunks] == ["a", "b", ""]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, FinishReason.STOP]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", FinishReason.STOP),
        (1, FinishReason.STOP),
        ("A_NEW_WORD", FinishReason.STOP),
        (99, FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        (2, FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("MODEL_ARMOR", FinishReason.CONTENT_FILTER),
        (10, FinishReason.CONTENT_FILTER),
    ],
)
def test_finish_reasons(word: str | int, reason: FinishReason) -> None:
    """By name or by number; a word nobody knows still ends the answer."""
    assert decode(said({"text": "a"}, finish=word))[-1].finish_reason is reason


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("MALFORMED_FUNCTION_CALL", UpstreamFault),
        ("OTHER", UpstreamFault),
        (5, UpstreamFault),
        ("MISSING_THOUGHT_SIGNATURE", Unsupported),
        ("PUP_LIMITED_DISABLED", AuthFailed),
    ],
)
def test_finish_reasons_that_are_failures(word: str | int, kind: type[BackendError]) -> None:
    """There is no answer, and the service's own words say why."""
    with pytest.raises(kind, match="because"):
        decode(said(finish=word, finishMessage="because"))


@pytest.mark.parametrize("reason", ["PROHIBITED_CONTENT", 4])
def test_a_blocked_prompt_is_filtered(reason: str | int) -> None:
    """No candidate, no text, but the prompt was counted."""
    body = event({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 7}})
    (chunk,) = decode(body)
    assert (chunk.finish_reason, chunk.usage) == (FinishReason.CONTENT_FILTER, Usage(input=7))


@pytest.mark.parametrize("feedback", [{}, {"blockReason": 0}, {"blockReason": "BLOCKED_REASON_UNSPECIFIED"}])
def test_feedback_without_a_reason_blocks_nothing(feedback: dict[str, Any]) -> None:
    """It comes with safety ratings alone, too."""
    assert decode(event({"promptFeedback": feedback}) + said(finish="STOP"))[-1].finish_reason is FinishReason.STOP


@pytest.mark.parametrize("end", [b"", said({"text": "b"}), said(finish="FINISH_REASON_UNSPECIFIED"), b": ping\r\n\r\n"])
def test_an_end_without_a_reason_is_none(end: bytes) -> None:
    """The end of the body proves nothing."""
    with pytest.raises(ProtocolViolation, match="ended before"):
        decode(said({"text": "a"}), end)


@pytest.mark.parametrize("text", [event(msgspec.json.decode(OVERLOADED)), OVERLOADED, b"\r\n" + OVERLOADED + b"\r\n"])
@given(size=st.integers(1, 64))
def test_an_error_inside_the_stream_is_seen(text: bytes, size: int) -> None:
    """As an event, or as it is, in reads of any size."""
    body = said({"text": "a"}) + text
    with pytest.raises(Overloaded, match="busy"):
        decode(*(body[at : at + size] for at in range(0, len(body), size)))


def test_what_was_kept_to_look_for_an_error_is_bounded() -> None:
    """A long answer is not held to its end, and its error is found all the same."""
    one = decoder()
    for _ in range(1000):
        one.feed(said({"text": "x" * 1000}))
    one.feed(OVERLOADED)
    with pytest.raises(Overloaded):
        one.close()


def test_parts_that_were_not_asked_for_are_passed_over() -> None:
    """Code that ran, media, and whatever comes next year."""
    parts: list[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        {"somethingNew": {"a": []}},
        {"text": "two"},
    ]
    chunks = decode(said(*parts, finish="STOP", groundingMetadata={"webSearchQueries": ["x"]}, usage=COUNTS))
    assert summary(chunks)[0] == "two"


def test_log_probabilities_are_read() -> None:
    """The chosen tokens, with the others of the same place."""
    chosen = {"token": "a", "logProbability": -0.5}
    result = {"chosenCandidates": [chosen, chosen], "topCandidates": [{"candidates": [chosen]}]}
    logprobs = [
        one for chunk in decode(said({"text": "aa"}, finish="STOP", logprobsResult=result)) for one in chunk.logprobs
    ]
    assert [(one.token, one.logprob, one.bytes, len(one.top)) for one in logprobs] == [
        ("a", -0.5, (97,), 1),
        ("a", -0.5, (97,), 0),
    ]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (COUNTS, Usage(input=7, output=3)),
        ({**COUNTS, "thoughtsTokenCount": 5, "totalTokenCount": 15}, Usage(input=7, output=8, reasoning=5)),
        ({**COUNTS, "cachedContentTokenCount": 4}, Usage(input=7, cached_input=4, output=3)),
        ({**COUNTS, "toolUsePromptTokenCount": 2}, Usage(input=9, output=3)),
        ({"promptTokenCount": 7, "totalTokenCount": 12}, Usage(input=7, output=5)),
        ({"promptTokenCount": 7, "totalTokenCount": 7}, Usage(input=7, output=2, estimated=True)),
        ({}, Usage(output=2, estimated=True)),
    ],
)
def test_usage(counts: dict[str, int], usage: Usage) -> None:
    """Thoughts beside the answer, tools beside the prompt; what is missing is estimated and says so."""
    assert decode(said({"text": "a"}), said({"text": "b"}, finish="STOP", usage=counts))[-1].usage == usage


def test_a_call_without_a_name_is_a_violation() -> None:
    """Nobody could answer it."""
    with pytest.raises(ProtocolViolation, match="name"):
        decode(said(call(""), finish="STOP"))


def test_an_event_that_is_too_large_is_a_violation() -> None:
    """Memory is bounded."""
    with pytest.raises(ProtocolViolation, match="more than"):
        decode(b"data: " + b"x" * 9_000_000)


@pytest.mark.parametrize("body", [b'{"candidates":[]}', b"[]", b"[1]", b"{", b'[{"candidates":[{}]}]'])
def test_a_document_that_is_no_answer(body: bytes) -> None:
    """It is a violation, and not an empty answer."""
    with pytest.raises(ProtocolViolation):
        decoder().whole(body)


@pytest.mark.parametrize("body", [OVERLOADED, b"[" + OVERLOADED + b"]"])
def test_a_document_that_is_an_error(body: bytes) -> None:
    """Under a status of 200, alone or in an array."""
    with pytest.raises(Overloaded):
        decoder().whole(body)
