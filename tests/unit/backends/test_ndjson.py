"""The NDJSON decoder: any split of the bytes gives the same lines, and none grows without bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.http.ndjson import LineTooLong, NdjsonDecoder

values = st.recursive(
    st.none() | st.integers() | st.text(max_size=12), lambda inner: st.dictionaries(st.text(max_size=4), inner)
)
fuzz = pytest.mark.judge("ndjson", "fuzz")

line_end = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"])


def decode(*reads: bytes) -> list[bytes]:
    decoder = NdjsonDecoder()
    lines = [line for read in reads for line in decoder.feed(read)]
    return lines + decoder.close()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@fuzz
@given(
    st.lists(st.tuples(values, line_end), max_size=8),
    st.sampled_from([b"", b"\r\n"]),
    st.lists(st.integers(0, 999), max_size=12),
)
def test_any_split_gives_the_objects_that_were_written(
    objects: list[tuple[object, bytes]], tail: bytes, places: list[int]
) -> None:
    """Cuts inside characters, CRLFs and numbers change nothing, nor does a missing last line end."""
    stream = b"".join(json.dumps(value, ensure_ascii=False).encode() + end for value, end in objects)
    stream = stream.rstrip(b"\r\n") + tail
    lines = decode(*cut(stream, places))
    assert [json.loads(line) for line in lines] == [value for value, _ in objects]


@fuzz
@given(st.binary(max_size=80), st.lists(st.integers(0, 99), max_size=20))
def test_any_split_of_any_bytes_gives_the_same_lines(stream: bytes, places: list[int]) -> None:
    """Also of bytes that are no JSON at all."""
    assert decode(*cut(stream, places)) == decode(stream)


def test_byte_by_byte_is_the_same_as_at_once() -> None:
    """The smallest reads there are: also through a character of four bytes."""
    stream = '{"a":"😀"}\r\n\r\n{"b":2}'.encode()
    assert decode(*(bytes([byte]) for byte in stream)) == decode(stream) == ['{"a":"😀"}'.encode(), b'{"b":2}']


@pytest.mark.parametrize("reads", [[b"x" * 9], [b"x" * 5] * 2, [b"a\n" + b"x" * 9 + b"\nb"], [b"xxxxx", b"xxxx\n"]])
def test_a_line_over_the_cap_is_refused_whole_or_in_pieces(reads: list[bytes]) -> None:
    """Memory is bounded by the cap."""
    decoder = NdjsonDecoder(limit=8)
    with pytest.raises(LineTooLong, match="8 bytes"):
        list(map(decoder.feed, reads))


def test_many_lines_in_one_read_may_be_longer_than_the_cap_together() -> None:
    """The cap is of a line, not of a read."""
    assert NdjsonDecoder(limit=8).feed(b"12345678\n" * 100) == [b"12345678"] * 100
