"""A request to Converse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests.asked import Asked, Beyond, Turn


def read(body: Mapping[str, Any]) -> Asked:
    settings = body.get("inferenceConfig") or {}
    asked = Asked(
        max_tokens=settings.get("maxTokens"),
        temperature=settings.get("temperature"),
        top_p=settings.get("topP"),
        stop=tuple(settings.get("stopSequences") or ()),
    )
    system = "".join(block.get("text") or "" for block in body.get("system") or ())
    if system:
        asked.turns.append(Turn(role="system", text=system))
    asked.turns += [_turn(message) for message in body["messages"]]
    for tool in (body.get("toolConfig") or {}).get("tools") or ():
        if "cachePoint" in tool:
            continue
        if "toolSpec" not in tool:
            raise Beyond(f"a tool of the kind {', '.join(tool)!r}")
        asked.tools[tool["toolSpec"]["name"]] = tool["toolSpec"]["inputSchema"]["json"]
    return asked


def _turn(message: Mapping[str, Any]) -> Turn:
    turn = Turn(role="assistant" if message["role"] == "assistant" else "user")
    for block in message["content"]:
        match next(iter(block), ""):
            case "text":
                turn.text += block["text"]
            case "toolUse":
                used = block["toolUse"]
                turn.calls.append((used["toolUseId"], used["name"], used.get("input") or {}))
            case "toolResult":
                result = block["toolResult"]
                turn.results.append((result["toolUseId"], "".join(map(_result, result["content"]))))
            case "image":
                image = block["image"]
                if "bytes" not in image["source"]:
                    raise Beyond("an image in a store")
                turn.images.append(f"data:image/{image['format']};base64,{image['source']['bytes']}")
            case "cachePoint" | "reasoningContent":
                pass
            case other:
                raise Beyond(f"a block of the kind {other!r}")
    return turn


def _result(part: Mapping[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    if "json" in part:
        return json.dumps(part["json"])
    raise Beyond(f"a tool's result of the kind {', '.join(part)!r}")
