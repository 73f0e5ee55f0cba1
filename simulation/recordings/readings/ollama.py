"""An answer of Ollama's own /api/chat or /api/generate."""

from __future__ import annotations

import json
from typing import Any

from simulation.recordings.errors import expected
from simulation.recordings.frames import read_lines
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Call, Said, Tokens, value_of


def read(interaction: Interaction) -> Said:
    said = Said()
    for line in read_lines(interaction.body):
        if line.get("error"):
            said.failure = expected(200, {}, json.dumps(line).encode(), wire="ollama")
            break
        message = line.get("message") or {}
        said.text += message.get("content") or line.get("response") or ""
        said.reasoning += message.get("thinking") or line.get("thinking") or ""
        for call in message.get("tool_calls") or ():
            function = call["function"]
            said.calls.append(Call(call.get("id") or "", function["name"], value_of(function.get("arguments"))))
        if line.get("done_reason") in ("load", "unload"):  # a model was moved, nothing was generated
            said.failure = frozenset({"UPSTREAM_FAULT"})
        if line.get("done"):
            said.complete = True
            said.finish = "length" if line.get("done_reason") == "length" else "stop"
            said.usage = _tokens(line)
            if said.usage is not None and not said.usage.output and (said.text or said.reasoning or said.calls):
                said.usage = None  # a count that denies the output is none
    if said.finish == "stop" and said.calls:
        said.finish = "tool_calls"
    return said


def _tokens(line: dict[str, Any]) -> Tokens | None:
    """The count of the prompt is left out when it was cached; what was generated is counted all the same."""
    if line.get("eval_count") is None:
        return None
    prompt = line.get("prompt_eval_count")
    return Tokens(input=prompt or 0, output=line["eval_count"], partial=prompt is None)
