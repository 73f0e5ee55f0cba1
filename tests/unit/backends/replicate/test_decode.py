"""A prediction's stream as chunks, over one connection or several."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, FinishReason, UpstreamTimings, Usage
from backends.errors import BackendError, ProtocolViolation, UpstreamFault
from backends.replicate.decode import PredictionDecoder
from backends.replicate.wire import Prediction, decode_prediction

STREAM = (
    ": hi\n\nevent: output\nid: 1:0\ndata: \n\nevent: output\nid: 1:1\ndata: Sure, here'\n\n"
    "event: logs\nid: 1:2\ndata: warming\n\nevent: output\nid: 1:3\ndata: s é:\ndata: \ndata: Why\n\n"
    "event: output\nid: 1:4\ndata:  😀\n\nevent: done\nid: 1:5\ndata: {}\n\n:408: 408 Request Timeout\n\n"
).encode()
TEXT = "Sure, here's é:\n\nWhy 😀"


def fail(body: bytes) -> BackendError:
    return UpstreamFault(body.decode("utf-8", "replace"))


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def fed(*reads: bytes) -> tuple[PredictionDecoder, list[Chunk]]:
    decoder = PredictionDecoder(read_failure=fail)
    return decoder, [chunk for read in reads for chunk in decoder.feed(read)]


def prediction(**fields: object) -> Prediction:
    return decode_prediction(msgspec.json.encode(fields))


@given(st.lists(st.integers(0, len(STREAM) - 1), max_size=12))
def test_any_split_of_the_bytes_says_the_same(places: list[int]) -> None:
    """Spaces and line ends are the model's; logs are nobody's."""
    ends = sorted({*places, len(STREAM)})
    decoder, chunks = fed(*(STREAM[start:end] for start, end in zip([0, *ends], ends, strict=False)))
    assert text(chunks) == TEXT
    assert decoder.done
    assert sum(chunk.events for chunk in chunks) == 3


@given(st.integers(0, len(STREAM) - 1))
def test_a_stream_that_is_resumed_anywhere_says_the_same(place: int) -> None:
    """After the last whole event; half of one is forgotten."""
    decoder, chunks = fed(STREAM[:place])
    if not decoder.done:
        decoder.interrupted()
    if not decoder.done:
        assert decoder.can_resume
        rest = STREAM
        if decoder.last_id:
            after = b"id: %b\n" % decoder.last_id
            rest = rest[rest.index(b"\n\n", rest.index(after)) + 2 :]
        chunks += decoder.feed(rest)
    assert text(chunks) == TEXT
    assert decoder.done


def test_a_stream_that_begins_anew_is_broken() -> None:
    """What was said must not be said again."""
    decoder, _ = fed(STREAM[:100])
    decoder.interrupted()
    with pytest.raises(ProtocolViolation, match="began anew"):
        decoder.feed(STREAM)


def test_text_without_ids_cannot_be_resumed() -> None:
    """Nobody could tell where it stopped."""
    decoder, chunks = fed(b"event: output\ndata: a\n\n")
    assert text(chunks) == "a"
    assert not decoder.can_resume


def test_the_last_event_may_lack_its_blank_line() -> None:
    """It is the end all the same."""
    decoder, _ = fed(STREAM[: STREAM.index(b"{}") + 2])
    assert not decoder.done
    decoder.interrupted()
    assert decoder.done


def test_the_prediction_has_the_counts_and_the_times() -> None:
    """What passed before the model ran was time in the queue."""
    decoder, _ = fed(STREAM)
    metrics = {"input_token_count": 9, "output_token_count": 11, "predict_time": 2.0, "total_time": 5.0}
    (chunk,) = decoder.finish(
        prediction(status="succeeded", metrics=metrics | {"time_to_first_token": 0.5}), max_tokens=12
    )
    assert chunk.usage == Usage(input=9, output=11)
    assert chunk.timings == UpstreamTimings(queue_s=3.0, prefill_s=0.5, decode_s=1.5)
    assert chunk.finish_reason is FinishReason.STOP


def test_a_bound_that_was_reached_cut_the_answer() -> None:
    """By the prediction's own count only."""
    decoder, _ = fed(STREAM)
    metrics = {"input_token_count": 9, "output_token_count": 11}
    (chunk,) = decoder.finish(prediction(metrics=metrics), max_tokens=11)
    assert chunk.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("known", [None, Prediction(), prediction(metrics={"predict_time": 1.0})])
def test_without_counts_usage_is_an_estimate(known: Prediction | None) -> None:
    """Of the text that came; the input is not known."""
    decoder, _ = fed(STREAM)
    (chunk,) = decoder.finish(known, max_tokens=None)
    assert chunk.usage == Usage(input=0, output=len(TEXT) // 4, estimated=True)


@pytest.mark.parametrize(
    ("reason", "known", "words"),
    [
        ("canceled", None, "ended as 'canceled'"),
        ("error", prediction(status="failed", error="out of memory"), "out of memory"),
        ("something new", None, "ended as 'something new'"),
        ("", prediction(status="aborted"), "ended as 'aborted'"),
    ],
)
def test_a_prediction_that_did_not_succeed_is_a_failure(reason: str, known: Prediction | None, words: str) -> None:
    """Whichever of the two says so."""
    done = b'{"reason":"%b"}' % reason.encode() if reason else b"{}"
    decoder, _ = fed(b"event: done\nid: 1\ndata: " + done + b"\n\n")
    with pytest.raises(UpstreamFault, match=words):
        decoder.finish(known, max_tokens=None)


def test_an_error_event_is_a_failure() -> None:
    """With its data as the words."""
    with pytest.raises(UpstreamFault, match="interrupted"):
        fed(b"event: error\nid: 1\ndata: interrupted\n\n")


@pytest.mark.parametrize("event", [b"event: done\ndata: {{\n\n", b"event: output\ndata: \xff\n\n"])
def test_what_is_not_of_the_wire_is_broken(event: bytes) -> None:
    """An end that cannot be read proves nothing."""
    with pytest.raises(ProtocolViolation):
        fed(event)


def test_an_event_without_end_is_refused_at_the_cap() -> None:
    """Memory is bounded."""
    with pytest.raises(ProtocolViolation, match="more than"):
        fed(*[b"data: " + b"x" * (1024 * 1024)] * 9)


events = st.tuples(
    st.sampled_from([b"output", b"logs", b"done", b"error", b""]), st.binary(max_size=12), st.binary(max_size=4)
)


@given(st.lists(events, max_size=6), st.integers(0, 99))
def test_no_bytes_break_the_decoder_itself(said: list[tuple[bytes, bytes, bytes]], place: int) -> None:
    """They are an answer, or no answer; interrupted or not."""
    stream = b"".join(b"event: %b\nid: %b\ndata: %b\n\n" % (name, number, data) for name, data, number in said)
    with contextlib.suppress(BackendError):
        decoder, _ = fed(stream[:place])
        decoder.interrupted()
        decoder.feed(stream[place:])
        decoder.finish(None, max_tokens=None)
