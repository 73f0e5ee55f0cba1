"""What Converse sends, as far as it is read. Padding (`p`) and traces are skipped without being built."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.counts import Number


class ToolUse(msgspec.Struct, gc=False, rename="camel"):
    """In a start it has id and name, in a delta a piece of `input`, in a whole answer all of them.

    A `type` says that the tool runs at the service and the call is none of the caller's.
    """

    tool_use_id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    type: str | None = None


class ReasoningText(msgspec.Struct, gc=False):
    text: str = ""
    signature: str | None = None


class Reasoning(msgspec.Struct, gc=False, rename="camel"):
    """`text`, `signature` in a delta, `reasoning_text` in a whole answer; `redacted_content` is base64 in both."""

    text: str | None = None
    signature: str | None = None
    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class Content(msgspec.Struct, gc=False, rename="camel"):
    """A block of a whole answer, or the start or a delta of one. Citations repeat text with where it is from."""

    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: Reasoning | None = None
    citations_content: CitedContent | None = None


class CitedText(msgspec.Struct):
    text: str = ""


class CitedContent(msgspec.Struct):
    content: list[CitedText] | None = None


class Message(msgspec.Struct):
    content: list[Content] | None = None


class Output(msgspec.Struct):
    message: Message | None = None


class TokenUsage(msgspec.Struct, gc=False, rename="camel"):
    """Tokens of the cache are not part of `input_tokens`."""

    input_tokens: Number | None = None
    output_tokens: Number | None = None
    cache_read_input_tokens: Number | None = None
    cache_write_input_tokens: Number | None = None


class Event(msgspec.Struct, gc=False, rename="camel"):
    """Any event of a stream, or a whole answer: no two of them use a name in two ways."""

    content_block_index: int = 0
    start: Content | None = None
    delta: Content | None = None
    output: Output | None = None
    stop_reason: str | None = None
    usage: TokenUsage | None = None
    additional_model_response_fields: Any = None


decode_event = msgspec.json.Decoder(Event).decode
