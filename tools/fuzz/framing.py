"""What must hold of the three decoders of framing, for any bytes at all.

Where the bytes are cut changes nothing; what is wrong with them is said by the decoder's own error and no other; and no
more is held back than the cap, however much comes. The caps are small here, so that they are met.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from backends.aws.event_stream import EventStreamDecoder
from backends.errors import ProtocolViolation
from backends.http.ndjson import LineTooLong, NdjsonDecoder
from backends.http.sse import EventTooLarge, SseDecoder

_PRELUDE_BYTES = 12
_BYTE_BY_BYTE = 1024


class _Splitter(Protocol):
    def feed(self, data: bytes) -> list[Any]: ...


def pieces(stream: bytes, chance: random.Random) -> Iterator[bytes]:
    """The stream in pieces, some of them empty; one of eight byte by byte, unless that would take long."""
    if chance.randrange(8) == 0 and len(stream) <= _BYTE_BY_BYTE:
        yield from (bytes([byte]) for byte in stream)
        return
    places = sorted(chance.randint(0, len(stream)) for _ in range(chance.randint(0, 12)))
    for start, end in itertools.pairwise((0, *places, len(stream))):
        yield stream[start:end]


def check_sse(data: bytes) -> None:
    """Server-sent events."""
    _check_lines(data, SseDecoder, EventTooLarge)


def check_ndjson(data: bytes) -> None:
    """Newline-delimited JSON."""
    _check_lines(data, NdjsonDecoder, LineTooLong)


def check_event_stream(data: bytes) -> None:
    """The event stream of AWS."""
    stream = data[1:]
    whole = _run(EventStreamDecoder(), [stream], ProtocolViolation)
    cut = _run(EventStreamDecoder(), pieces(stream, random.Random(data[:1])), ProtocolViolation)
    assert cut[0][: len(whole[0])] == whole[0] or whole[1], "messages depend on where the bytes are cut"  # noqa: S101 - a check
    assert cut[1] == whole[1], "whether the bytes are refused depends on where they are cut"  # noqa: S101 - a check


def _check_lines(data: bytes, make: Callable[..., SseDecoder | NdjsonDecoder], too_large: type[Exception]) -> None:
    stream, chance = data[1:], random.Random(data[:1])
    limit = 16 << chance.randrange(12)
    at_once = _run(make(limit=1 << 30), [stream], too_large)
    in_pieces = _run(make(limit=1 << 30), pieces(stream, chance), too_large)
    assert at_once == in_pieces, "what is decoded depends on where the bytes are cut"  # noqa: S101 - a check
    bounded = make(limit=limit)
    given = _run(bounded, (piece for _ in range(4) for piece in pieces(stream, chance)), too_large)
    assert given[1] or bounded._held_bytes <= limit, "more is held than the cap"  # noqa: S101, SLF001 - what is held is what is checked


def _run(decoder: _Splitter, reads: Any, refusal: type[Exception]) -> tuple[list[Any], bool]:
    """What came out, and whether the bytes were refused."""
    found: list[Any] = []
    try:
        for read in reads:
            found += decoder.feed(read)
            _bounded(decoder, read)
        if isinstance(decoder, SseDecoder | NdjsonDecoder):
            found += decoder.close()
    except refusal:
        return found, True
    return found, False


def _bounded(decoder: _Splitter, read: bytes) -> None:
    if isinstance(decoder, EventStreamDecoder):
        held, expected = len(decoder._bytes), decoder._frame_bytes  # noqa: SLF001 - what is held is what is checked
        assert held < max(expected, _PRELUDE_BYTES) or held <= len(read), "more is held than the frame"  # noqa: S101 - a check
