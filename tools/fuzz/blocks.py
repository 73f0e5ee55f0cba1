"""Streams as lists of blocks, so that they can be changed without becoming noise.

A random byte in the middle of a stream mostly makes it no JSON, or no frame, and nothing behind the first check is ever
reached. So a stream is taken apart by its framing, one block's JSON is changed or the blocks are, and it is put
together again, checksums included.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_PRELUDE = 12
_CHECKSUM = 4
_MOST_BLOCKS = 200
_ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**53,
    2**70,
    1e308,
    "",
    "x",
    "5",
    "\x00é😀",
    "error",
    "data: [DONE]\n\n",
    [],
    {},
    [None],
    [[]],
    {"": ""},
    {"error": {"message": "m", "code": 429}},
)


@dataclass(frozen=True, slots=True)
class Block:
    """What frames a payload, and the payload."""

    head: bytes
    payload: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream comes apart, and together."""

    split: Callable[[bytes], list[Block]]
    join: Callable[[list[Block]], bytes]


def mutate(stream: bytes, framing: Framing, chance: random.Random) -> bytes:
    """The stream with one change; the same for the same chance."""
    blocks = framing.split(stream)[:_MOST_BLOCKS]
    if not blocks:
        return stream + chance.randbytes(chance.randint(1, 16))
    at = chance.randrange(len(blocks))
    match chance.randrange(10):
        case 0:
            del blocks[at]
        case 1:
            blocks.insert(chance.randrange(len(blocks) + 1), blocks[at])
        case 2:
            other = chance.randrange(len(blocks))
            blocks[at], blocks[other] = blocks[other], blocks[at]
        case 3:
            cut = blocks[at].payload[: chance.randint(0, len(blocks[at].payload))]
            blocks[at] = Block(blocks[at].head, cut, blocks[at].tail)
        case 4:
            head = _flipped(blocks[at].head, chance)
            blocks[at] = Block(head, blocks[at].payload, blocks[at].tail)
        case _:
            blocks[at] = Block(blocks[at].head, _mutate_json(blocks[at].payload, chance), blocks[at].tail)
    return framing.join(blocks)


def _mutate_json(payload: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return _flipped(payload, chance)
    places = list(_places(value))
    if not places:
        return json.dumps(chance.choice(_ODD)).encode()
    holder, key = chance.choice(places)
    match chance.randrange(6):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]]
        case 2:
            _, other = chance.choice(places)
            if isinstance(holder, dict) and isinstance(other, str):
                holder[other] = holder[key]
        case 3:
            source, other = chance.choice(places)
            holder[key] = json.loads(json.dumps(source[other]))
        case _:
            holder[key] = chance.choice(_ODD)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document that holds something, as its holder and the key in it."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _flipped(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return chance.randbytes(3)
    at = chance.randrange(len(data))
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def _split_events(stream: bytes) -> list[Block]:
    blocks = []
    for event in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        head, mark, payload = event.partition(b"data:")
        blocks.append(Block(head + mark, payload, b"\n\n"))
    return blocks[:-1] if blocks[-1] == Block(b"", b"", b"\n\n") else blocks


def _split_lines(stream: bytes) -> list[Block]:
    return [Block(b"", line, b"\n") for line in stream.split(b"\n") if line]


def _split_frames(stream: bytes) -> list[Block]:
    """Frames as far as their lengths can be believed; the head of a block is its frame's headers."""
    blocks: list[Block] = []
    while len(stream) >= _PRELUDE + _CHECKSUM:
        total, headers = struct.unpack_from("!II", stream)
        if not _PRELUDE + _CHECKSUM + headers <= total <= len(stream):
            break
        body = stream[_PRELUDE : total - _CHECKSUM]
        blocks.append(Block(body[:headers], body[headers:], b""))
        stream = stream[total:]
    return blocks


def frame(headers: bytes, payload: bytes) -> bytes:
    """One frame of AWS, with checksums that are right whatever is in it."""
    prelude = struct.pack("!II", _PRELUDE + len(headers) + len(payload) + _CHECKSUM, len(headers))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack("!I", zlib.crc32(body))


def _join(blocks: list[Block]) -> bytes:
    return b"".join(block.head + block.payload + block.tail for block in blocks)


SSE = Framing(_split_events, _join)
NDJSON = Framing(_split_lines, _join)
EVENT_STREAM = Framing(_split_frames, lambda blocks: b"".join(frame(b.head, b.payload) for b in blocks))
