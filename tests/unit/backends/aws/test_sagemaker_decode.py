"""A container's stream inside an event stream: whatever the container sends, however it is cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.aws.sagemaker.decode import PayloadDecoder
from backends.aws.sagemaker.dialects import DIALECTS
from backends.contract import Chunk, FinishReason
from backends.errors import BackendError, BadRequest, Overloaded, ProtocolViolation, TimedOut, UpstreamFault
from backends.failures import classify
from simulation.wires import event_stream
from tests.contract.answers import Answer

EVENTS = (
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"content": "H"}}]},
    {"choices": [{"index": 0, "delta": {"content": "é €"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
)
LINES = [json.dumps(event, ensure_ascii=False).encode() for event in EVENTS]
SSE = b"".join(b"data: " + line + b"\n\n" for line in LINES) + b"data: [DONE]\n\n"
DOCUMENT = json.dumps(
    {"choices": [{"message": {"content": "Hé €"}, "finish_reason": "stop"}], "usage": EVENTS[-1]["usage"]}, indent=1
).encode()


def read_failure(body: bytes) -> BackendError:
    return classify.from_event(body, rules=DIALECTS["vllm"].failures)


def part(data: bytes) -> bytes:
    return event_stream.event("PayloadPart", data, content_type="application/octet-stream")


def decode(*parts: bytes, after: bytes = b"") -> list[Chunk]:
    decoder = PayloadDecoder(DIALECTS["vllm"], read_failure=read_failure)
    chunks = [chunk for one in parts for chunk in decoder.feed(part(one))]
    chunks += decoder.feed(after)
    return chunks if decoder.done else chunks + decoder.close()


def test_a_long_document_in_small_parts_is_put_together_once() -> None:
    """A document laid out for people has many lines; how they come costs their length, and not its square."""
    body = json.dumps(
        {"choices": [{"message": {"content": "x\n"}, "finish_reason": "stop", "y": [1] * 300_000}]}, indent=1
    )
    payload = body.encode()
    found = Answer(decode(*(payload[start : start + 40] for start in range(0, len(payload), 40))))
    assert (found.text, found.finish) == ("x\n", [FinishReason.STOP])


@pytest.mark.parametrize(
    "payload", [SSE, b"\n".join(LINES), b"\n".join(LINES) + b"\n", DOCUMENT, SSE.replace(b"\n", b"\r\n")]
)
@given(cuts=st.lists(st.integers(0, 500), max_size=8))
def test_any_cut_of_any_form_gives_the_same_answer(payload: bytes, cuts: list[int]) -> None:
    """Parts end inside characters, lines and names of fields."""
    places = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    found = Answer(decode(*(payload[start:end] for start, end in itertools.pairwise(places))))
    assert (found.text, found.finish) == ("Hé €", [FinishReason.STOP])
    assert (found.usage.input, found.usage.output, found.usage.estimated) == (3, 2, False)


@given(payload=st.binary(max_size=200))
def test_junk_is_a_failure(payload: bytes) -> None:
    """A container may send anything, and no crash comes of it."""
    with pytest.raises(BackendError):
        decode(payload)


@pytest.mark.parametrize(
    ("generation", "reason", "tokens", "estimated"),
    [
        ([{"generated_text": "Hello you"}], FinishReason.STOP, 2, True),
        (
            {"generated_text": "Hello", "details": {"finish_reason": "length", "generated_tokens": 7}},
            FinishReason.LENGTH,
            7,
            True,
        ),
        ([{"generated_text": "", "details": {"finish_reason": "eos_token"}}], FinishReason.STOP, 1, True),
    ],
)
def test_a_generation_is_an_answer(generation: object, reason: FinishReason, tokens: int, *, estimated: bool) -> None:
    """What Hugging Face's first servers answer, as a list or alone."""
    found = Answer(decode(json.dumps(generation).encode()))
    assert found.finish == [reason]
    assert (found.usage.output, found.usage.estimated) == (tokens, estimated)


@pytest.mark.parametrize("payload", [b"", b"[]", SSE[:40], LINES[0] + b"\n" + LINES[1] + b"\n"])
def test_an_answer_without_its_end_is_none(payload: bytes) -> None:
    """The service's stream may end well when the container's did not."""
    with pytest.raises(ProtocolViolation):
        decode(payload)


@pytest.mark.parametrize(
    ("name", "told", "kind"),
    [
        ("ModelStreamError", {"Message": "late", "ErrorCode": "ModelInvocationTimeExceeded"}, TimedOut),
        ("ModelStreamError", {"Message": "cut", "ErrorCode": "StreamBroken"}, UpstreamFault),
        ("InternalStreamFailure", {"Message": "no"}, UpstreamFault),
        ("ModelError", {"Message": "no", "OriginalStatusCode": 503, "OriginalMessage": "queue full"}, Overloaded),
    ],
)
def test_an_exception_of_the_service_is_a_failure_of_its_kind(
    name: str, told: dict[str, object], kind: type[BackendError]
) -> None:
    """After parts that were good as well."""
    with pytest.raises(kind):
        decode(SSE[:200], after=event_stream.exception(name, json.dumps(told).encode()))


def test_an_error_of_the_container_is_a_failure_too() -> None:
    """As an event of its stream, a line, or its whole answer."""
    error = json.dumps({"error": {"message": "top_p is too large", "code": 400}}).encode()
    for payload in (b"data: " + error + b"\n\n", error + b"\n" + LINES[0], error):
        with pytest.raises(BadRequest):
            decode(payload)
