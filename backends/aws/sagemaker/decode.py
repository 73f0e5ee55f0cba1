"""A container's stream inside an event stream of AWS, decoded without I/O.

A part is cut anywhere, also inside a character, so what is inside is put together as bytes. Most containers send server
sent events; some send one JSON document per line, one document, or the list that Hugging Face's first servers answer.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from backends.aws.event_stream import EventStreamDecoder
from backends.aws.failures import stream_failure
from backends.contract import Chunk, FinishReason, Usage
from backends.errors import ProtocolViolation
from backends.http.answer import MAX_JSON_BODY_BYTES
from backends.http.exchange import FailureReader
from backends.openai.decode import ChatDecoder
from backends.openai.profile import Profile

# "json" is lines or a document: the first line tells.
Form = Literal["unknown", "json", "events", "lines", "document"]

_CHARS_PER_TOKEN = 4
_JSON_BEGINS = (b"{", b"[")


class _Details(msgspec.Struct):
    finish_reason: str | None = None
    generated_tokens: int | None = None


class _Generation(msgspec.Struct):
    """What Hugging Face's servers answer with, in a list or alone."""

    generated_text: str
    details: _Details | None = None


class _Line(msgspec.Struct):
    """As much of a line as says that it is an event of the chat wire."""

    choices: Any = None
    error: Any = None


_read_generation = msgspec.json.Decoder(list[_Generation] | _Generation).decode
_read_line = msgspec.json.Decoder(_Line).decode


class PayloadDecoder:
    """One answer. After `done` nothing more needs to be read; `ended` says that its end is proven."""

    def __init__(self, profile: Profile, *, read_failure: FailureReader) -> None:
        self._read_failure = read_failure
        self._frames = EventStreamDecoder()
        self._inner = ChatDecoder(profile, read_failure=read_failure)
        self._form: Form = "unknown"
        self._is_whole = False
        self._kept = bytearray()  # of a document, or of a line that is not complete

    @property
    def done(self) -> bool:
        return self._is_whole or self._inner.done

    @property
    def ended(self) -> bool:
        return self._is_whole or self._inner.ended

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes.

        Raises:
            BackendError: an exception inside either stream, or bytes that are none.
        """
        parts: list[bytes] = []
        for message in self._frames.feed(data):
            if message.kind != "event":
                raise stream_failure(message, self._read_failure)
            if message.name == "PayloadPart":
                parts.append(message.payload)
        payload = b"".join(parts)
        if self._form == "events":
            return self._inner.feed(payload)
        return self._take(payload)

    def close(self) -> list[Chunk]:
        """The body has ended.

        Raises:
            ProtocolViolation: before the answer did.
        """
        if not self._kept:
            return self._inner.close()
        rest = bytes(self._kept)
        self._kept.clear()
        if self._form == "lines":
            return [*self._inner.feed(_as_event(rest)), *self._inner.close()]
        return self.whole(rest)

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer that came as one JSON document, whatever it is in."""
        try:
            found = _read_generation(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._inner.whole(body)
        generations = found if isinstance(found, list) else [found]
        if not generations:
            raise ProtocolViolation("a JSON list without an answer")
        self._is_whole = True
        return [_chunk(generations[0])]

    def _take(self, payload: bytes) -> list[Chunk]:
        self._kept += payload
        if len(self._kept) > MAX_JSON_BODY_BYTES:
            raise ProtocolViolation(f"a JSON answer of more than {MAX_JSON_BODY_BYTES} bytes")
        if self._form == "unknown" and (begins := bytes(self._kept[:64]).lstrip()[:1]):
            self._form = "json" if begins in _JSON_BEGINS else "events"
            if self._form == "events":
                payload = bytes(self._kept)
                self._kept.clear()
                return self._inner.feed(payload)
        return self._take_lines(payload)

    def _take_lines(self, payload: bytes) -> list[Chunk]:
        """The events of complete lines; a document may have lines too, but its first is no event."""
        if self._form == "document" or b"\n" not in payload:
            return []
        *lines, rest = bytes(self._kept).split(b"\n")
        if self._form == "json" and (first := next((line for line in lines if line.strip()), b"")):
            self._form = "lines" if _is_event(first) else "document"
        if self._form in ("json", "document"):
            return []
        self._kept[:] = rest
        return self._inner.feed(b"".join(_as_event(line) for line in lines if line.strip()))


def _is_event(line: bytes) -> bool:
    try:
        read = _read_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return read.choices is not None or read.error is not None


def _as_event(line: bytes) -> bytes:
    return b"data: %b\n\n" % line.strip()


def _chunk(generation: _Generation) -> Chunk:
    details = generation.details or _Details()
    tokens = details.generated_tokens
    return Chunk(
        text=generation.generated_text,
        events=1,
        finish_reason=FinishReason.LENGTH if details.finish_reason == "length" else FinishReason.STOP,
        usage=Usage(
            output=max(1, len(generation.generated_text) // _CHARS_PER_TOKEN) if tokens is None else tokens,
            estimated=True,  # of the input nothing is said
        ),
    )
