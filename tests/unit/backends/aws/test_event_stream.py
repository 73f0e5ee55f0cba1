"""The event-stream decoder over frames that are built by hand: any cut gives the same, and nothing harms it."""

from __future__ import annotations

import contextlib
import itertools
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.aws.event_stream import MAX_FRAME_BYTES, EventStreamDecoder, Message
from backends.errors import ProtocolViolation
from simulation.wires import event_stream

NAMES = st.text("abcXYZ-:", min_size=1, max_size=12)
FRAMES = st.one_of(
    st.builds(event_stream.event, NAMES, st.binary(max_size=80)),
    st.builds(event_stream.exception, NAMES, st.binary(max_size=20)),
    st.builds(event_stream.error, NAMES, st.text("ab é€", max_size=12)),
)
fuzz = pytest.mark.judge("event_stream", "fuzz")
STREAMS = st.lists(FRAMES, max_size=6).map(b"".join)


def decode(*reads: bytes) -> list[Message]:
    decoder = EventStreamDecoder()
    return [message for read in reads for message in decoder.feed(read)]


def test_the_three_kinds_of_messages() -> None:
    """An event, a modelled exception and a plain error are told apart, each with its name."""
    frames = event_stream.event("a", b"1") + event_stream.exception("b", b"2") + event_stream.error("c", "three")
    assert decode(frames) == [
        Message("event", "a", b"1"),
        Message("exception", "b", b"2"),
        Message("error", "c", b"", "three"),
    ]


@fuzz
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 600), max_size=8))
def test_any_cut_gives_the_same_messages(stream: bytes, cuts: list[int]) -> None:
    """Reads end anywhere, also inside a length."""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reads = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert decode(*reads) == decode(stream) == decode(*(bytes([byte]) for byte in stream))


@fuzz
@given(stream=STREAMS, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_seen(stream: bytes, at: int, bit: int) -> None:
    """The checksums hold every byte: what comes before the spoilt frame is the only thing that passes."""
    if not stream:
        return
    at %= len(stream)
    spoilt = stream[:at] + bytes([stream[at] ^ 1 << bit]) + stream[at + 1 :]
    decoder = EventStreamDecoder()
    good = decode(stream)
    seen: list[Message] = []
    with contextlib.suppress(ProtocolViolation):
        for byte in spoilt:
            seen += decoder.feed(bytes([byte]))
    assert seen == good[: len(seen)]
    assert len(seen) < len(good)


@fuzz
@given(junk=st.binary(max_size=200))
@example(b"<html>hello</html>")
@example(bytes(16))
def test_junk_is_refused_or_waited_on_in_bounds(junk: bytes) -> None:
    """Bytes that are no frame never crash the decoder, and twelve are enough to know that they are none."""
    decoder = EventStreamDecoder()
    try:
        messages = decoder.feed(junk)
    except ProtocolViolation:
        return
    assert len(junk) < 12 or messages


def _framed(total: int, headers: int, rest: bytes) -> bytes:
    """A frame whose prelude says what it likes, under a checksum that is right."""
    prelude = struct.pack("!II", total, headers)
    return prelude + struct.pack("!I", zlib.crc32(prelude)) + rest


@pytest.mark.parametrize(
    ("total", "headers"),
    [
        (0, 0),
        (12, 0),
        (15, 0),
        (16, 1),
        (100, 90),
        (MAX_FRAME_BYTES + 1, 0),
        (2**32 - 1, 2**32 - 1),
        (200_000, 150_000),
    ],
)
def test_lengths_that_cannot_be_are_refused_at_once(total: int, headers: int) -> None:
    """A length is believed by no checksum alone: nothing is waited for that no frame has."""
    with pytest.raises(ProtocolViolation):
        EventStreamDecoder().feed(_framed(total, headers, b""))


@fuzz
@given(header=st.binary(min_size=1, max_size=40))
def test_headers_of_any_bytes_do_no_harm(header: bytes) -> None:
    """Headers that are cut, of unknown types or twice the same, are refused or read, under checksums that are right."""
    frame = _framed(16 + len(header), len(header), header)
    frame += struct.pack("!I", zlib.crc32(frame))
    with contextlib.suppress(ProtocolViolation):
        assert len(EventStreamDecoder().feed(frame)) == 1


def test_a_large_frame_in_small_reads_is_put_together_once() -> None:
    """A frame of a megabyte that comes in pieces is one message, and is held once only while it comes."""
    payload = bytes(1_000_000)
    frame = event_stream.event("big", payload)
    reads = [frame[at : at + 1_000] for at in range(0, len(frame), 1_000)]
    assert decode(*reads) == [Message("event", "big", payload)]
