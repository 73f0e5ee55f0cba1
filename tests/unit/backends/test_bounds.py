"""What a decoder keeps of one answer is bounded, whatever a server sends and for however long."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from backends.chunk_builder import MAX_ANSWER_CHARS
from backends.errors import ProtocolViolation
from backends.http.exchange import Decoder
from backends.openai.tools import MAX_CALLS, MAX_UNNAMED_CHARS
from simulation.wires import event_stream
from tools.fuzz.families import FAMILIES

MEGABYTES = "x" * (4 * 1024 * 1024)
ENOUGH = MAX_ANSWER_CHARS // len(MEGABYTES) + 1


def sse(value: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def converse(delta: Any) -> bytes:
    return event_stream.event("contentBlockDelta", json.dumps({"contentBlockIndex": 0, "delta": delta}).encode())


def chat(**delta: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta}]})


LONG = {
    "openai_chat": chat(content=MEGABYTES),
    "anthropic": sse({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": MEGABYTES}}),
    "gemini": sse({"candidates": [{"content": {"parts": [{"text": MEGABYTES, "thought": True}]}}]}),
    "ollama": json.dumps({"message": {"content": MEGABYTES}}).encode() + b"\n",
    "bedrock": converse({"reasoningContent": {"signature": MEGABYTES}}),
    "replicate": b"event: output\ndata: " + MEGABYTES.encode() + b"\n\n",
}


def feed(decoder: Decoder, read: bytes, times: int) -> None:
    for _ in range(times):
        decoder.feed(read)


@pytest.mark.parametrize("name", LONG)
def test_an_answer_without_an_end_is_ended(name: str) -> None:
    """One that is larger than any model writes is no answer, in every family."""
    decoder = FAMILIES[name](random.Random(0))
    with pytest.raises(ProtocolViolation, match="more than"):
        feed(decoder, LONG[name], ENOUGH + 1)


def test_calls_without_an_end_are_ended() -> None:
    """Calls are counted, and so are arguments that nobody has asked for by a name yet."""
    calls = b"".join(chat(tool_calls=[{"index": at, "function": {"name": "f"}}]) for at in range(MAX_CALLS + 1))
    with pytest.raises(ProtocolViolation, match="tool calls"):
        FAMILIES["openai_chat"](random.Random(0)).feed(calls)
    piece = "y" * 1024
    with pytest.raises(ProtocolViolation, match="without a name"):
        feed(
            FAMILIES["openai_chat"](random.Random(0)),
            chat(tool_calls=[{"index": 0, "function": {"arguments": piece}}]),
            MAX_UNNAMED_CHARS // len(piece) + 1,
        )


def test_every_family_is_here() -> None:
    """SageMaker's answer is read by the decoder of the chat wire."""
    assert FAMILIES.keys() - LONG.keys() == {"sagemaker"}
