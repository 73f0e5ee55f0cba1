"""The events of an emulated answer as OpenAI sends them, before a vendor's own habits are put on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulation.answer import CHARS_PER_TOKEN, Answer
from simulation.wire import Request

THOUGHT = ("Emulated ", "thoughts: ", "nobody ", "thinks.")
CREATED = 1_790_000_000
FINGERPRINT = "fp_emulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer, and what is counted of it.

    Attributes:
        thinks: it has thoughts before it, which are counted as reasoning.
        include_usage: the caller asked for usage at the end of a stream.
    """

    id: str
    model: str
    request: Request
    answer: Answer
    thinks: bool
    call_ids: tuple[str, ...]
    include_usage: bool

    @property
    def reasoning(self) -> int:
        return len(THOUGHT) if self.thinks else 0

    @property
    def prompt(self) -> int:
        return self.request.prompt_tokens

    @property
    def cached(self) -> int:
        return self.prompt // 2

    @property
    def output(self) -> int:
        """Reasoning included, as OpenAI counts."""
        return self.answer.tokens + self.reasoning

    def envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.output,
            "total_tokens": self.prompt + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


def chunk(told: Told, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**told.envelope("chat.completion.chunk"), "choices": [choice]}


def events(told: Told, *, thought_field: str) -> list[dict[str, Any]]:
    """Role, thoughts, tokens or a tool call, and the finish reason; no usage yet."""
    out = [chunk(told, {"role": "assistant", "content": ""})]
    if told.thinks:
        out += [chunk(told, {thought_field: piece}) for piece in THOUGHT]
    for index, tool in enumerate(told.answer.tools):
        opening = {"index": index, "id": told.call_ids[index], "type": "function"}
        out.append(chunk(told, {"tool_calls": [opening | {"function": {"name": tool.name, "arguments": ""}}]}))
        out += [
            chunk(told, {"tool_calls": [{"index": index, "function": {"arguments": tool.arguments[at : at + 8]}}]})
            for at in range(0, len(tool.arguments), 8)
        ]
    if not told.answer.tools:
        pieces = range(0, len(told.answer.text), CHARS_PER_TOKEN)
        out += [chunk(told, {"content": told.answer.text[at : at + CHARS_PER_TOKEN]}) for at in pieces]
    return [*out, chunk(told, {}, told.answer.finish_reason)]


def usage_chunk(told: Told, usage: dict[str, Any]) -> dict[str, Any]:
    return {**told.envelope("chat.completion.chunk"), "choices": [], "usage": usage}


def body(told: Told, *, thought_field: str, usage: dict[str, Any]) -> dict[str, Any]:
    """The whole answer as one object."""
    answer = told.answer
    message: dict[str, Any] = {"role": "assistant", "content": None if answer.tools else answer.text}
    if told.thinks:
        message[thought_field] = "".join(THOUGHT)
    if answer.tools:
        message["tool_calls"] = [
            {"id": told.call_ids[n], "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
            for n, tool in enumerate(answer.tools)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return {**told.envelope("chat.completion"), "choices": [choice], "usage": usage}


def delta_of(event: dict[str, Any]) -> dict[str, Any]:
    """The delta of an event, empty where there is none."""
    choices = event.get("choices") or [{}]
    found: dict[str, Any] = choices[0].get("delta") or {}
    return found


def is_output(event: dict[str, Any]) -> bool:
    """Whether the model said something in it."""
    return any(value for name, value in delta_of(event).items() if name != "role")
