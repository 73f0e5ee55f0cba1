"""An answer of Converse or ConverseStream."""

from __future__ import annotations

import json
from typing import Any

from simulation.recordings.errors import expected
from simulation.recordings.frames import read_aws
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Call, Said, Tokens, arguments_of, value_of

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_FAILED = frozenset({"malformed_model_output", "malformed_tool_use"})


def read(interaction: Interaction) -> Said:
    said = Said()
    if interaction.is_document:
        answer = json.loads(interaction.body)
        for block in answer["output"]["message"]["content"]:
            _whole_block(block, said)
        _stop(answer["stopReason"], said)
        said.usage = _tokens(answer.get("usage"))
        said.complete = True
        return said
    calls: dict[int, list[str]] = {}  # by the block they are in, which another may follow in the same place
    made: list[list[str]] = []
    events, _ = read_aws(interaction.body)
    for event in events:
        data = json.loads(event.payload or b"{}")
        if event.failed:
            head = {"x-amzn-errortype": event.kind}
            said.failure = expected(_STATUSES.get(event.kind, 500), head, event.payload, wire="bedrock")
            break
        match event.kind:
            case "contentBlockStart":
                used = (data.get("start") or {}).get("toolUse")
                if used and used.get("type") != "server_tool_use":
                    made.append([used["toolUseId"], used["name"], ""])
                    calls[data["contentBlockIndex"]] = made[-1]
            case "contentBlockDelta":
                _delta(data, said, calls)
            case "messageStop":
                _stop(data["stopReason"], said)
                said.complete = True
            case "metadata":
                said.usage = _tokens(data.get("usage"))
    was_cut = said.finish == "length"
    said.calls += [Call(i, n, arguments_of(text, was_cut=was_cut)) for i, n, text in made]
    return said


_STATUSES = {
    "throttlingException": 429,
    "validationException": 400,
    "serviceUnavailableException": 503,
    "internalServerException": 500,
    "modelStreamErrorException": 424,
}


def _whole_block(block: dict[str, Any], said: Said) -> None:
    if "text" in block:
        said.text += block["text"]
    elif "toolUse" in block and block["toolUse"].get("type") != "server_tool_use":
        used = block["toolUse"]
        said.calls.append(Call(used["toolUseId"], used["name"], value_of(used.get("input"))))
    elif "citationsContent" in block:
        said.text += "".join(piece.get("text") or "" for piece in block["citationsContent"].get("content") or ())
    elif "reasoningContent" in block:
        said.reasoning += (block["reasoningContent"].get("reasoningText") or {}).get("text") or ""


def _delta(data: dict[str, Any], said: Said, calls: dict[int, list[str]]) -> None:
    delta = data["delta"]
    said.text += delta.get("text") or ""
    said.reasoning += (delta.get("reasoningContent") or {}).get("text") or ""
    if "toolUse" in delta and data["contentBlockIndex"] in calls:
        calls[data["contentBlockIndex"]][2] += delta["toolUse"].get("input") or ""


def _stop(reason: str, said: Said) -> None:
    if reason in _FAILED:
        said.failure = frozenset({"UPSTREAM_FAULT"})
    else:
        said.finish = _FINISH.get(reason, "stop")


def _tokens(usage: dict[str, Any] | None) -> Tokens | None:
    if not usage or usage.get("outputTokens") is None:
        return None
    cached = usage.get("cacheReadInputTokens") or 0
    written = usage.get("cacheWriteInputTokens") or 0
    total = (usage.get("inputTokens") or 0) + cached + written
    return Tokens(input=total, cached=cached, written=written, output=usage["outputTokens"])
