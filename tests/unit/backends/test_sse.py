"""The SSE decoder against a slow reference that follows the specification line by line."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.http.sse import Event, EventTooLarge, SseDecoder

fuzz = pytest.mark.judge("sse", "fuzz")


def reference(stream: bytes) -> list[Event]:
    """The format as the specification words it, for a whole stream at once."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\n|\r", stream)
    events: list[Event] = []
    name = b""
    data: list[bytes] = []
    for line in [*lines, b""]:
        if line == b"":
            if data:
                events.append((name, b"\n".join(data)))
            name, data = b"", []
        elif line.startswith(b":"):
            continue
        else:
            field, value = line.split(b":", 1) if b":" in line else (line, b"")
            if value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data.append(value)
            if field == b"event":
                name = value
    return events


def decode(*reads: bytes) -> list[Event]:
    decoder = SseDecoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return events + decoder.close()


line_end = st.sampled_from([b"\n", b"\r\n", b"\r"])
text = st.text(alphabet='aé€😀 :{}"', max_size=8).map(str.encode)
line = st.one_of(
    st.just(b""),
    st.builds(lambda v: b"data: " + v, text),
    st.builds(lambda v: b"data:" + v, text),
    st.builds(lambda v: b"event: " + v, text),
    st.builds(lambda v: b":" + v, text),
    st.builds(lambda v: b"id: " + v, text),
    st.sampled_from([b"data", b"event", b"retry: 5", b"data: [DONE] ", b"\xef\xbb\xbfdata: x"]),
    text,
)
streams = st.lists(st.builds(lambda a, b: a + b, line, line_end), max_size=20).map(b"".join)
streams = st.builds(lambda bom, body, tail: bom + body + tail, st.sampled_from([b"", b"\xef\xbb\xbf"]), streams, line)
anything = st.one_of(streams, st.binary(max_size=60), st.text("\r\n:adt ", max_size=60).map(str.encode))


@fuzz
@given(anything)
def test_one_feed_agrees_with_the_reference(stream: bytes) -> None:
    """Fed at once, any stream gives the events that the specification gives."""
    assert decode(stream) == reference(stream)


@fuzz
@given(anything, st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    """Where the network cuts the bytes changes nothing, inside a CRLF, a character or a BOM included."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(*reads) == reference(stream)


@fuzz
@given(anything)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    """The worst split, one byte per read, gives the same events."""
    assert decode(*(bytes([b]) for b in stream)) == reference(stream)


@fuzz
@given(anything)
def test_an_empty_read_changes_nothing(stream: bytes) -> None:
    """Empty reads between two real ones are harmless."""
    half = len(stream) // 2
    assert decode(b"", stream[:half], b"", stream[half:], b"") == reference(stream)


def test_an_event_comes_out_with_the_read_that_ends_it() -> None:
    """A token is not held back until the next one."""
    decoder = SseDecoder()
    assert decoder.feed(b'data: {"a":1}\n') == []
    assert decoder.feed(b'\ndata: {"b"') == [(b"", b'{"a":1}')]
    assert decoder.feed(b":2}\r\n\r") == [(b"", b'{"b":2}')]
    assert decoder.feed(b"\n") == []
    assert decoder.close() == []


def test_a_last_event_without_a_blank_line_counts() -> None:
    """Servers that close right after the last line lose nothing."""
    assert decode(b"data: a\n\ndata: [DONE]") == [(b"", b"a"), (b"", b"[DONE]")]


def test_an_event_over_the_cap_is_refused() -> None:
    """Memory for one event is bounded, in one read or in many."""
    with pytest.raises(EventTooLarge):
        SseDecoder(limit=100).feed(b"data: " + b"x" * 200)
    decoder = SseDecoder(limit=100)
    for _ in range(11):
        assert decoder.feed(b"data: xx\n") == []
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: xx\n")


def test_an_event_of_several_megabytes_in_small_reads_passes() -> None:
    """A large tool call under the cap arrives whole, in linear time."""
    payload = b"x" * 4_000_000
    stream = b"data: " + payload + b"\n\n"
    reads = [stream[i : i + 4096] for i in range(0, len(stream), 4096)]
    assert decode(*reads) == [(b"", payload)]


def test_ids_of_the_first_and_the_last_event_are_known() -> None:
    """For who asks a server to go on where it stopped; half an event has no id yet."""
    decoder = SseDecoder()
    decoder.feed(b": hi\n\nid: 1:0\ndata: a\n\nid: 1:1\nevent: x\ndata: b\n\nid: 1:2\ndata: c")
    assert (decoder.first_id, decoder.last_id) == (b"1:0", b"1:1")


def test_text_in_events_keeps_its_spaces_and_lines() -> None:
    """One space after the colon is the format's, all others are the text's; empty lines of data are line ends."""
    assert decode(b"event: output\ndata:   a \ndata: \ndata: b\n\nevent: output\ndata: \ndata: \n\n") == [
        (b"output", b"  a \n\nb"),
        (b"output", b"\n"),
    ]
