"""What the emulated Messages endpoint says: named events in the vendor's order and padding, or one message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from simulation.answer import CHARS_PER_TOKEN, Answer, count_tokens
from simulation.wire import encode
from simulation.wires.anthropic_checks import signature_of
from simulation.wires.anthropic_request import Request
from simulation.wires.serving import Piece

THOUGHT = "Emulated thinking: no model has run. "
# The vendor has such strings for tests of clients, too.
REDACTED_TRIGGER = "EMULATED_TRIGGER_REDACTED_THINKING"
REFUSAL_TRIGGER = "EMULATED_TRIGGER_REFUSAL"
_STOP_REASON = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_PIECES = re.compile(r".{1,6}", re.DOTALL)


class AnswerWriter:
    """Formats one answer. Text goes out one event per token."""

    def __init__(self, request: Request, answer: Answer, *, serial: int, cache_read: int, cache_write: int) -> None:
        self._request = request
        self._answer = answer
        self._id = f"msg_emulated{serial:016x}"
        self._call_id = f"toolu_emulated{serial:012x}"
        self._padding = count(serial)
        self._cache_read = cache_read
        self._cache_write = cache_write
        self._is_refused = REFUSAL_TRIGGER in request.said

    def pieces(self) -> list[Piece]:
        """The whole stream."""
        start = {**self._message([], None, None), "usage": self._usage(1, at_start=True)}
        parts = [self._event("message_start", message=start)]
        for index, (block, said) in enumerate(self._blocks()):
            parts += self._streamed(index, block, said)
            if index == 0:
                parts.insert(2, Piece(b'event: ping\ndata: {"type": "ping"}\n\n'))
        stop, sequence = self._stop()
        delta = {"stop_reason": stop, "stop_sequence": sequence, "stop_details": self._stop_details()}
        parts.append(self._event("message_delta", delta=delta, usage=self._usage(self._output_tokens())))
        parts.append(self._event("message_stop"))
        return parts

    def body(self) -> bytes:
        """The answer as one message."""
        message = self._message(list(self._said_at_once()), *self._stop())
        usage = self._usage(self._output_tokens(), at_start=True)
        return encode({**message, "stop_details": self._stop_details(), "usage": usage})

    def _blocks(self) -> list[tuple[dict[str, Any], str]]:
        """The blocks as they begin, each with what is said in it."""
        if self._is_refused:
            return []
        blocks: list[tuple[dict[str, Any], str]] = []
        if self._request.thinks:
            if REDACTED_TRIGGER in self._request.said:
                blocks.append(({"type": "redacted_thinking", "data": signature_of("redacted")}, ""))
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            blocks.append((empty, THOUGHT if self._request.shows_thinking else ""))
        if not self._answer.tools:
            blocks.append(({"type": "text", "text": "", "citations": None}, self._answer.text))
        for number, tool in enumerate(self._answer.tools):
            call = {"id": f"{self._call_id}{number}", "name": tool.name, "input": {}, "caller": {"type": "direct"}}
            blocks.append(({"type": "tool_use", **call}, tool.arguments))
        return blocks

    def _said_at_once(self) -> Iterator[dict[str, Any]]:
        for block, said in self._blocks():
            match block["type"]:
                case "text":
                    yield {**block, "text": said}
                case "thinking":
                    yield {**block, "thinking": said, "signature": signature_of(THOUGHT)}
                case "tool_use":
                    yield {**block, "input": _read(said)}
                case _:
                    yield block

    def _streamed(self, index: int, block: dict[str, Any], said: str) -> Iterator[Piece]:
        yield self._event("content_block_start", index=index, content_block=block)
        match block["type"]:
            case "text":
                pieces = [said[at : at + CHARS_PER_TOKEN] for at in range(0, len(said), CHARS_PER_TOKEN)]
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
            case "thinking":
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _PIECES.findall(said)]
                deltas.append({"type": "signature_delta", "signature": signature_of(THOUGHT)})
            case "tool_use":
                pieces = ["", *_PIECES.findall(said)]
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
            case _:
                deltas = []
        for delta in deltas:
            is_output = any(delta.get(key) for key in ("text", "thinking", "partial_json"))
            yield self._event("content_block_delta", is_output=is_output, index=index, delta=delta)
        yield self._event("content_block_stop", index=index)

    def _event(self, name: str, *, is_output: bool = False, **fields: Any) -> Piece:
        padding = b" " * (next(self._padding) * 7 % 15)
        data = encode({"type": name, **fields})[:-1] + padding + b"}"
        return Piece(b"event: %b\ndata: %b\n\n" % (name.encode(), data), is_output)

    def _message(self, content: list[dict[str, Any]], stop: str | None, sequence: str | None) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": sequence,
        }

    def _stop(self) -> tuple[str, str | None]:
        if self._is_refused:
            return "refusal", None
        if self._answer.stop is not None:
            return "stop_sequence", self._answer.stop
        return _STOP_REASON[self._answer.finish_reason], None

    def _stop_details(self) -> dict[str, Any] | None:
        return {"type": "refusal", "category": None, "explanation": "emulated"} if self._is_refused else None

    def _output_tokens(self) -> int:
        if self._is_refused:
            return 1
        return self._answer.tokens + (count_tokens(len(THOUGHT)) if self._request.thinks else 0)

    def _usage(self, output: int, *, at_start: bool = False) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "input_tokens": self._request.prompt_tokens - self._cache_read - self._cache_write,
            "cache_creation_input_tokens": self._cache_write,
            "cache_read_input_tokens": self._cache_read,
            "output_tokens": output,
        }
        if at_start:
            written = {"ephemeral_5m_input_tokens": self._cache_write, "ephemeral_1h_input_tokens": 0}
            usage |= {"cache_creation": written, "service_tier": "standard"}
        if output > 1 and self._request.thinks:
            usage["output_tokens_details"] = {"thinking_tokens": count_tokens(len(THOUGHT))}
        return usage


def _read(arguments: str) -> Any:
    """The input of a call; one that was cut has none."""
    try:
        return json.loads(arguments)
    except ValueError:
        return {}
