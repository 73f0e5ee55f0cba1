"""The binary event stream of AWS: reads in, messages out.

botocore parses and checks the frames. What is added here is that memory is bounded, that a frame which arrives in a
thousand pieces costs its length once, and that whatever is wrong with the bytes is a `ProtocolViolation`: a length that
lies is seen at its own checksum, before anything is waited for.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from botocore.eventstream import EventStreamBuffer, ParserError

from backends.errors import ProtocolViolation

MAX_FRAME_BYTES = 16 * 1024 * 1024
_PRELUDE_BYTES = 12
_FRAME_OVERHEAD_BYTES = 16  # prelude and checksum
_MALFORMED = (ParserError, struct.error, UnicodeDecodeError, KeyError, IndexError)


class Message(NamedTuple):
    """One message. `kind` is "event", "exception" (a modelled failure) or "error" (one without a model)."""

    kind: str
    name: str
    payload: bytes
    text: str = ""


class EventStreamDecoder:
    """The messages of one body; the same for any cut of its bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._frame_bytes = 0  # of the frame whose prelude was checked; 0 between frames
        self._parser = EventStreamBuffer()

    @property
    def is_between_frames(self) -> bool:
        return not self._bytes

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now.

        Raises:
            ProtocolViolation: bytes that are no event stream, or a frame larger than any that is sent.
        """
        self._bytes += data
        messages: list[Message] = []
        try:
            while self._has_frame():
                self._parser.add_data(bytes(self._bytes[_PRELUDE_BYTES : self._frame_bytes]))
                del self._bytes[: self._frame_bytes]
                self._frame_bytes = 0
                message = next(self._parser)
                messages.append(_message(message.headers, message.payload))
        except _MALFORMED as error:
            raise ProtocolViolation(f"bytes that are no AWS event stream: {error}") from error
        return messages

    def _has_frame(self) -> bool:
        if not self._frame_bytes:
            if len(self._bytes) < _PRELUDE_BYTES:
                return False
            prelude = bytes(self._bytes[:_PRELUDE_BYTES])
            self._parser.add_data(prelude)
            next(self._parser, None)  # checks the prelude's own checksum
            total, headers = struct.unpack_from("!II", prelude)
            if not _FRAME_OVERHEAD_BYTES + headers <= total <= MAX_FRAME_BYTES:
                raise ProtocolViolation(f"a frame of {total} bytes with {headers} bytes of headers")
            self._frame_bytes = total
        return len(self._bytes) >= self._frame_bytes


def _message(headers: dict[str, object], payload: bytes) -> Message:
    kind = str(headers.get(":message-type", "event"))
    name = headers.get(f":{kind}-type", headers.get(":error-code", ""))
    return Message(kind, str(name), payload, str(headers.get(":error-message", "")))
