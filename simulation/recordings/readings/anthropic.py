"""An answer of the Messages endpoint."""

from __future__ import annotations

import json
from typing import Any

from simulation.recordings.errors import expected
from simulation.recordings.frames import read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Call, Said, Tokens, arguments_of

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def read(interaction: Interaction) -> Said:
    said = Said()
    if interaction.is_document:
        message = json.loads(interaction.body)
        for block in message["content"]:
            _block(block, said)
            if block["type"] == "tool_use":
                said.calls.append(Call(block["id"], block["name"], block["input"]))
        _end(message, message.get("usage") or {}, said)
        said.complete = True
        return said
    counts: dict[str, Any] = {}
    calls: dict[int, list[str]] = {}
    for event in read_sse(interaction.body):
        data = json.loads(event.data)
        match data["type"]:
            case "message_start":
                counts.update(_given(data["message"].get("usage")))
            case "content_block_start":
                block = data["content_block"]
                _block(block, said)
                if block["type"] == "tool_use":
                    given = json.dumps(block["input"]) if block.get("input") else ""
                    calls[data["index"]] = [block["id"], block["name"], given]
            case "content_block_delta":
                delta = data["delta"]
                said.text += delta.get("text") or ""
                said.reasoning += delta.get("thinking") or ""
                if delta["type"] == "input_json_delta" and data["index"] in calls:
                    calls[data["index"]][2] += delta["partial_json"]
            case "message_delta":
                counts.update(_given(data.get("usage")))
                _end(data["delta"], {}, said)
            case "message_stop":
                said.complete = True
            case "error":
                said.failure = expected(200, {}, event.data.encode(), wire="anthropic")
    said.usage = _tokens(counts) if "output_tokens" in counts else None
    was_cut = said.finish == "length"
    said.calls = [Call(i, n, arguments_of(text, was_cut=was_cut)) for _, (i, n, text) in sorted(calls.items())]
    return said


def _block(block: dict[str, Any], said: Said) -> None:
    if block["type"] == "text":
        said.text += block.get("text") or ""
    elif block["type"] == "thinking":
        said.reasoning += block.get("thinking") or ""


def _end(message: dict[str, Any], usage: dict[str, Any], said: Said) -> None:
    reason = message.get("stop_reason")
    if reason:
        said.finish = FINISH.get(reason, "stop")
    if usage:
        said.usage = _tokens(usage)


def _given(usage: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (usage or {}).items() if value is not None}


def _tokens(usage: dict[str, Any]) -> Tokens:
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    details = usage.get("output_tokens_details") or {}
    return Tokens(
        input=(usage.get("input_tokens") or 0) + cached + written,
        cached=cached,
        written=written,
        output=usage.get("output_tokens") or 0,
        reasoning=details.get("thinking_tokens") or details.get("reasoning_tokens") or 0,
    )
