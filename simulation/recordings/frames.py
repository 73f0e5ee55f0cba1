"""The frames of each wire, written and read in the plainest way, sharing no code with the adapters.

The readers say what a recording holds, so a mistake in an adapter's decoder cannot hide in them. The writers put
decoded events back into frames where a recorder kept no bytes.
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class BadFrame(ValueError):
    """Bytes that are not of the wire."""


def write_sse(payloads: Iterable[str], *, named: bool = False, newline: str = "\n") -> bytes:
    """`named`: each event is called by its own `type`."""
    lines = []
    for payload in payloads:
        if named:
            lines.append(f"event: {json.loads(payload)['type']}{newline}")
        lines.append(f"data: {payload}{newline}{newline}")
    return "".join(lines).encode()


@dataclass(frozen=True, slots=True)
class SseEvent:
    name: str
    data: str


def read_sse(body: bytes) -> list[SseEvent]:
    """The events of a stream. A last one without its blank line counts if it is whole: a recording may be cut in it."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    events: list[SseEvent] = []
    name = ""
    data: list[str] = []
    for line in text.split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(SseEvent(name, "\n".join(data)))
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
    if data and (is_json("\n".join(data)) or data[-1].strip() == "[DONE]"):
        events.append(SseEvent(name, "\n".join(data)))
    return events


def is_json(text: str | bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def write_aws(events: Iterable[tuple[str, bytes]]) -> bytes:
    """An AWS event stream of (event type, payload)."""
    frames = []
    for kind, payload in events:
        headers = b"".join(
            bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
            for name, value in (
                (b":event-type", kind.encode()),
                (b":content-type", b"application/json"),
                (b":message-type", b"event"),
            )
        )
        prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        frame = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
        frames.append(frame + struct.pack(">I", binascii.crc32(frame)))
    return b"".join(frames)


@dataclass(frozen=True, slots=True)
class AwsEvent:
    """`kind` is the type of the event or of the exception; `failed` tells them apart."""

    kind: str
    payload: bytes
    failed: bool


_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of header values; 6 and 7 say their own


def read_aws(body: bytes) -> tuple[list[AwsEvent], bool]:
    """The events of a stream, and whether it ends with a whole frame.

    Raises:
        BadFrame: a checksum does not fit.
    """
    events: list[AwsEvent] = []
    at = 0
    while at + 16 <= len(body):
        total, headers_size, crc = struct.unpack_from(">III", body, at)
        if binascii.crc32(body[at : at + 8]) != crc or total < 16 + headers_size:
            raise BadFrame(f"the frame at byte {at} has a wrong checksum")
        if at + total > len(body):
            break
        if binascii.crc32(body[at : at + total - 4]) != struct.unpack_from(">I", body, at + total - 4)[0]:
            raise BadFrame(f"the message at byte {at} has a wrong checksum")
        headers = _aws_headers(body[at + 12 : at + 12 + headers_size])
        kind = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code", "")
        failed = headers.get(":message-type", "event") != "event"
        events.append(AwsEvent(kind, body[at + 12 + headers_size : at + total - 4], failed))
        at += total
    return events, at == len(body)


def _aws_headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        size = block[at]
        name = block[at + 1 : at + 1 + size].decode()
        at += 1 + size
        kind = block[at]
        at += 1
        if kind in (6, 7):
            (size,) = struct.unpack_from(">H", block, at)
            found[name] = block[at + 2 : at + 2 + size].decode("utf-8", "replace")
            at += 2 + size
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise BadFrame(f"a header of the unknown type {kind}")
    return found


def read_lines(body: bytes) -> list[Any]:
    """The documents of newline-delimited JSON; a last line that was cut is left out."""
    lines = [line for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
    documents = []
    for number, line in enumerate(lines):
        try:
            documents.append(json.loads(line))
        except ValueError as error:
            if number + 1 < len(lines):
                raise BadFrame(f"line {number + 1} is not JSON") from error
    return documents


def write_lines(documents: Iterable[Any]) -> bytes:
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents).encode()
