"""How cells are written to a file: frames that are recognised one by one.

    frame: "U1", length of the payload (4 bytes), CRC-32 of the payload (4 bytes), payload; little endian
    payload: MessagePack of [[hour, incarnation, tenant, model, backend, number of FIELDS...]...]

A frame holds what its cells have come to, not what was added. So frames may be lost, repeated or read in any order: the
latest copy of a cell is right by itself. A torn or damaged frame is skipped, and reading goes on at the next.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

import msgspec

MAGIC = b"U1"
MAX_PAYLOAD = 1 << 20
_HEAD = struct.Struct("<2sII")
# A cell's key and its numbers in one row.
Row = tuple[int, str, str, str, str, int, int, int, int, int, int, int, int, int]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Row]).decode


def pack(rows: Sequence[Sequence[int | str]]) -> bytes:
    """One frame.

    Raises:
        ValueError: a name is not text that can be written.
        OverflowError: a number has more than 64 bits.
    """
    payload = _encode(rows)
    return _HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def unpack(data: bytes) -> Iterator[list[Row]]:
    """The rows of every whole frame."""
    at = 0
    while (at := data.find(MAGIC, at)) >= 0 and at + _HEAD.size <= len(data):
        _, length, crc = _HEAD.unpack_from(data, at)
        begin = at + _HEAD.size
        payload = data[begin : begin + length] if length <= MAX_PAYLOAD else b""
        rows = _rows(payload) if len(payload) == length and zlib.crc32(payload) == crc else None
        if rows is None:
            at += len(MAGIC)
            continue
        yield rows
        at = begin + length


def _rows(payload: bytes) -> list[Row] | None:
    try:
        return _decode(payload)
    except msgspec.MsgspecError:
        return None
