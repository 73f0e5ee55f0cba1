"""A prediction: the model's own inputs, of which a prompt is the one that all language models have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests.asked import Asked, Turn


def read(body: Mapping[str, Any]) -> Asked:
    given = body["input"]
    asked = Asked(max_tokens=given.get("max_tokens") or given.get("max_new_tokens"))
    system = given.get("system_prompt")
    if system:
        asked.turns.append(Turn(role="system", text=system))
    asked.turns.append(Turn(role="user", text=given["prompt"]))
    return asked
