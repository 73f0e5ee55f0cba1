"""What a Messages server sends, as far as it is read; all else is skipped without being built."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.counts import Number


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Number | None = None


class WireUsage(msgspec.Struct, gc=False):
    """Counts so far. `input_tokens` leaves out what was read from the cache or written to it."""

    input_tokens: Number | None = None
    cache_creation_input_tokens: Number | None = None
    cache_read_input_tokens: Number | None = None
    output_tokens: Number | None = None
    output_tokens_details: OutputDetails | None = None


class Block(msgspec.Struct, gc=False):
    """The beginning of a block of an answer, or the whole of it. `input` is empty where pieces of it follow."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, msgspec.Raw] | str | None = None


class Delta(msgspec.Struct, gc=False):
    """A piece of a block, or how the message ended."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Start(msgspec.Struct, gc=False):
    usage: WireUsage | None = None


class Event(msgspec.Struct, gc=False):
    """One event of a stream. Of an error only that it is one; its body is read again by `failures`."""

    type: str = ""
    index: int = 0
    message: Start | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: WireUsage | None = None
    error: Any = None


class Whole(msgspec.Struct):
    """An answer as one document; `content` is read block by block, since some kinds of block are not read at all."""

    type: str = ""
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: WireUsage | None = None
    error: Any = None


class Typed(msgspec.Struct, gc=False):
    type: str = ""


class TypedParts(msgspec.Struct, gc=False):
    """An event whose parts may be of an unknown kind."""

    content_block: Typed | None = None
    delta: Typed | None = None


decode_event = msgspec.json.Decoder(Event).decode
decode_types = msgspec.json.Decoder(TypedParts).decode
decode_typed = msgspec.json.Decoder(Typed).decode
decode_whole = msgspec.json.Decoder(Whole).decode
decode_block = msgspec.json.Decoder(Block).decode
