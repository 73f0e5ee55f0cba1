"""Frames of AWS's binary event stream, built by hand: the decoders that read them are not asked how they are made.

    [total length u32][length of the headers u32][CRC32 of these 8 bytes][headers][payload][CRC32 of all before it]

All numbers are big-endian. A header is [length u8][name][7: a string][length u16][value].
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

_STRING = 7


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame."""
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = struct.pack("!II", 12 + len(head) + len(payload) + 4, len(head))
    rest = struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return prelude + rest + struct.pack("!I", zlib.crc32(prelude + rest))


def event(name: str, payload: bytes, *, content_type: str = "application/json") -> bytes:
    return frame({":event-type": name, ":content-type": content_type, ":message-type": "event"}, payload)


def exception(name: str, payload: bytes) -> bytes:
    """A failure that the service's model names."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, payload)


def error(code: str, message: str) -> bytes:
    """A failure that no model names; it has no payload."""
    return frame({":error-code": code, ":error-message": message, ":message-type": "error"}, b"")


def spoilt(data: bytes) -> bytes:
    """The frame with one byte of its payload changed, and the checksums as they were."""
    at = len(data) - 6
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack("!B", len(name)) + name + struct.pack("!BH", _STRING, len(value)) + value
