"""What an Ollama server sends, as far as it is read: lines of /api/chat and of /api/generate in one type."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.counts import Number
from backends.openai.wire import LogprobEntry


class Function(msgspec.Struct):
    """`arguments` is an object; it is passed on as it was written."""

    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"null")


class Call(msgspec.Struct):
    function: Function
    id: str | None = None


class Said(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Line(msgspec.Struct):
    """One line. Text is in `message`, or beside it in `response` and `thinking`; times are in nanoseconds.

    Of `error` only its presence is looked at; its line is read again by `failures`.
    """

    message: Said | None = None
    response: str | None = None
    thinking: str | None = None
    logprobs: list[LogprobEntry] | None = None
    done: bool = False
    done_reason: str | None = None
    error: Any = None
    load_duration: Number | None = None
    prompt_eval_count: Number | None = None
    prompt_eval_duration: Number | None = None
    eval_count: Number | None = None
    eval_duration: Number | None = None


decode_line = msgspec.json.Decoder(Line).decode
