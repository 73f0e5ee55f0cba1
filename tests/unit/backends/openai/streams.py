"""Parts of streams of the chat wire, and what its decoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from backends.contract import Chunk, Usage
from backends.failures.classify import from_event
from backends.openai.decode import ChatDecoder
from backends.openai.profiles import PROFILES

DONE = b"data: [DONE]\n\n"


def event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def usage(**fields: Any) -> bytes:
    return event({"choices": [], "usage": fields})


def decoder(profile: str = "generic") -> ChatDecoder:
    dialect = PROFILES[profile]
    return ChatDecoder(dialect, read_failure=lambda body: from_event(body, rules=dialect.failures))


def decode(*reads: bytes, profile: str = "generic") -> list[Chunk]:
    one = decoder(profile)
    chunks = [chunk for read in reads for chunk in one.feed(read)]
    return chunks + one.close()


def last_usage(chunks: Sequence[Chunk]) -> Usage:
    return next(chunk.usage for chunk in reversed(chunks) if chunk.usage is not None)
