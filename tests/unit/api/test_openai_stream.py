"""The bytes of a stream: what the SDK does not look at, and what must hold for every answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, ReasoningBlock, ToolCallDelta
from router.api.wire.openai_request import Decoded, decode_chat, decode_completion
from router.api.wire.openai_response import WholeAnswer
from router.api.wire.openai_stream import StreamEncoder
from router.dispatch.events import Rerouted, ServeEvent
from router.dispatch.scripted import finished, routed, sample_candidate
from router.domain.request import StreamBreakAction
from router.errors import RouterError, StreamBroken

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
USAGE = {"stream_options": {"include_usage": True}}


def _decoded(**fields: Any) -> Decoded:
    return decode_chat(msgspec.json.encode(CHAT | fields), (), request_id="r", now=0.0)


def _stream(decoded: Decoded, *events: ServeEvent) -> list[bytes]:
    encoder = StreamEncoder(decoded, created=7)
    return [data for event in events if (data := encoder.encode(event))]


def _events(data: bytes) -> list[Any]:
    """Every JSON event of a stream, which must end with the marker."""
    *events, done, rest = data.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events if not event.startswith(b":")]


def _rerouted(resume: StreamBreakAction) -> Rerouted:
    candidate = sample_candidate(backend="lpu-1", model="other")
    return Rerouted(from_backend="a", candidate=candidate, reason="STREAM_BROKEN", detail="reset\n\nby", resume=resume)


def test_one_chunk_is_one_event() -> None:
    """However many tokens arrived together, they leave as one event; the first brings the role with it."""
    sent = _stream(_decoded(), routed(), Chunk(text="a b c", events=3), Chunk(text=" d", events=1), finished())

    assert [data.count(b"data: ") for data in sent] == [2, 1, 2]


def test_nothing_leaves_before_the_first_piece() -> None:
    """A decision, an early failover and an empty chunk add nothing: an error can still have a status."""
    assert not _stream(_decoded(**USAGE), routed(), Chunk(events=0), _rerouted(StreamBreakAction.ERROR))


def test_the_finish_reason_waits_for_the_outcome() -> None:
    """The finish reason alone adds nothing, so a stream that breaks after it does not look complete."""
    encoder = StreamEncoder(_decoded(), created=7)
    encoder.encode(routed())

    assert b"stop" not in encoder.encode(Chunk(text="a", finish_reason=FinishReason.STOP, events=1))
    assert not encoder.finished
    assert b'"finish_reason":"stop"' in encoder.encode(finished())
    assert encoder.finished


def test_every_event_has_a_null_usage_when_it_was_asked_for() -> None:
    """As with OpenAI: with include_usage all events but the last have a null, without it none has the field."""
    events = (routed(), Chunk(text="a", events=1), Chunk(reasoning="b", events=1), finished())

    asked = _events(b"".join(_stream(_decoded(**USAGE), *events)))
    unasked = _events(b"".join(_stream(_decoded(), *events)))

    assert [event["usage"] for event in asked[:-1]] == [None] * 4
    assert asked[-1]["usage"]["total_tokens"] == 10
    assert all("usage" not in event for event in unasked)


def test_a_takeover_is_a_comment_and_names_the_new_model_from_then_on() -> None:
    """After CONTINUE there is one comment line, and the next events have the model of the backend that goes on."""
    data = b"".join(
        _stream(
            _decoded(),
            routed(),
            Chunk(text="a", events=1),
            _rerouted(StreamBreakAction.CONTINUE),
            Chunk(text="b", events=1),
            finished(candidate=sample_candidate(backend="lpu-1", model="other")),
        )
    )

    assert b"\n\n: rerouted from a to lpu-1: STREAM_BROKEN reset by\n\n" in data
    assert [event["model"] for event in _events(data)] == ["llama-3.1-8b", "llama-3.1-8b", "other", "other"]


def test_a_restart_is_refused_once_text_was_sent() -> None:
    """Before the first piece a restart changes nothing; after it, what was sent cannot be taken back."""
    encoder = StreamEncoder(_decoded(), created=7)
    encoder.encode(routed())
    assert encoder.encode(_rerouted(StreamBreakAction.RESTART)) == b""
    encoder.encode(Chunk(text="a", events=1))

    with pytest.raises(StreamBroken):
        encoder.encode(_rerouted(StreamBreakAction.RESTART))


def test_an_answer_without_an_outcome_has_no_body() -> None:
    """What was gathered is not given out as an answer when no outcome came."""
    whole = WholeAnswer(_decoded(stream=False))
    whole.take(routed())
    whole.take(Chunk(text="a", events=1))

    with pytest.raises(RouterError):
        whole.body(created=7)


def test_the_offsets_of_completion_logprobs_go_on_over_chunks() -> None:
    """In /v1/completions each token's offset counts from the start of the text, not of the event."""
    body = b'{"model":"m","prompt":"x","logprobs":0,"stream":true}'
    decoded = decode_completion(body, (), request_id="r", now=0.0)
    encoder = StreamEncoder(decoded, created=7)
    encoder.encode(routed())
    chunks = (_logged("He"), _logged("llo"))

    offsets = [msgspec.json.decode(encoder.encode(chunk)[6:])["choices"][0]["logprobs"] for chunk in chunks]

    assert [logprobs["text_offset"] for logprobs in offsets] == [[0], [2]]


def _logged(text: str) -> Chunk:
    return msgspec.convert(
        {"text": text, "events": 1, "logprobs": [{"token": text, "logprob": -0.5}]}, Chunk, from_attributes=False
    )


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
CALL = st.builds(
    ToolCallDelta,
    index=st.integers(0, 2),
    id=st.none() | st.just("id"),
    name=st.none() | st.just("f"),
    arguments=TEXT,
    signature=st.none() | st.just("sig"),
)
BLOCK = st.builds(ReasoningBlock, text=TEXT, signature=TEXT) | st.builds(
    ReasoningBlock, signature=TEXT, redacted=st.just(value=True)
)
CHUNK = st.builds(
    Chunk,
    text=TEXT,
    reasoning=TEXT,
    tool_calls=st.lists(CALL, max_size=2).map(tuple),
    signed=st.lists(BLOCK, max_size=2).map(tuple),
)


@given(chunks=st.lists(CHUNK, max_size=6), usage=st.booleans())
def test_a_stream_says_what_a_whole_answer_says(chunks: list[Chunk], usage: bool) -> None:  # noqa: FBT001  # drawn
    """Whatever the chunks hold, quotes and line ends included, the pieces of the stream add up to the whole answer."""
    events: list[ServeEvent] = [routed(), *chunks, finished()]
    whole = WholeAnswer(_decoded(stream=False))
    for event in events:
        whole.take(event)
    message = msgspec.json.decode(whole.body(created=7))["choices"][0]["message"]

    streamed = _events(b"".join(_stream(_decoded(**(USAGE if usage else {})), *events)))

    deltas = [choice["delta"] for event in streamed for choice in event["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert "".join(delta.get("content", "") for delta in deltas) == (message["content"] or "")
    assert "".join(d.get("reasoning_content", "") for d in deltas) == message.get("reasoning_content", "")
    indices = sorted({call["index"] for call in calls})
    assert ["".join(c["function"]["arguments"] for c in calls if c["index"] == index) for index in indices] == [
        call["function"]["arguments"] for call in message.get("tool_calls", ())
    ]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
    assert details == message.get("reasoning_details", [])
    signed = {call["index"] for call in calls if "extra_content" in call}
    assert [index in signed for index in indices] == ["extra_content" in call for call in message.get("tool_calls", ())]


def test_a_completion_has_no_place_for_reasoning() -> None:
    """What /v1/completions cannot say adds no event to its stream."""
    decoded = decode_completion(b'{"model":"m","prompt":"x","stream":true}', (), request_id="r", now=0.0)
    encoder = StreamEncoder(decoded, created=7)
    encoder.encode(routed())

    assert encoder.encode(Chunk(reasoning="hm", events=1)) == b""
    assert encoder.encode(Chunk(signed=(ReasoningBlock(text="hm", signature="s"),))) == b""
    assert b'"text":"a"' in encoder.encode(Chunk(text="a", events=1))


def test_an_answer_s_reasoning_goes_back_as_it_came() -> None:
    """The message of an answer, sent back, holds the same blocks and signatures that the vendor gave."""
    blocks = (ReasoningBlock(text="hm", signature="s1"), ReasoningBlock(signature="data", redacted=True))
    call = ToolCallDelta(index=0, id="c1", name="f", arguments="{}", signature="s2")
    whole = WholeAnswer(_decoded(stream=False))
    for event in (routed(), Chunk(reasoning="hm", tool_calls=(call,), signed=blocks, events=2), finished()):
        whole.take(event)
    message = msgspec.json.decode(whole.body(created=7))["choices"][0]["message"]

    back = _decoded(messages=[*CHAT["messages"], message]).request.messages[1]

    assert back.reasoning == blocks
    assert [call.signature for call in back.tool_calls] == ["s2"]
