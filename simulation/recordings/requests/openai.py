"""A request to a chat or completions endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests.asked import Asked, Beyond, Role, Turn, text_of

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def read(body: Mapping[str, Any]) -> Asked:
    asked = Asked(
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
    )
    stop = body.get("stop")
    asked.stop = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "messages" not in body:
        prompt = body["prompt"]
        prompt = prompt[0] if isinstance(prompt, list) else prompt
        if not isinstance(prompt, str):
            raise Beyond("a prompt of token ids")
        asked.prompt = prompt
        return asked
    asked.turns = [_turn(message) for message in body["messages"]]
    for tool in body.get("tools") or ():
        if tool.get("type", "function") != "function":
            raise Beyond(f"a tool of the kind {tool['type']!r}")
        asked.tools[tool["function"]["name"]] = tool["function"].get("parameters")
    return asked


def _turn(message: Mapping[str, Any]) -> Turn:
    role = _ROLES.get(message["role"])
    if role is None or message.get("function_call") or message.get("audio"):
        raise Beyond(f"a message of the role {message['role']!r}")
    content = message.get("content")
    if role == "tool":
        return Turn(role=role, results=[(message.get("tool_call_id") or "", text_of(content))])
    turn = Turn(role=role)
    for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
        if part["type"] == "image_url":
            image = part["image_url"]
            turn.images.append(image if isinstance(image, str) else image["url"])
        elif part["type"] == "text":
            turn.text += part["text"]
        elif part["type"] not in ("refusal", "thinking"):
            raise Beyond(f"a part of the kind {part['type']!r}")
    for call in message.get("tool_calls") or ():
        given = call["function"].get("arguments") or "{}"
        try:
            arguments = json.loads(given) if isinstance(given, str) else given
        except ValueError as error:
            raise Beyond("a call whose arguments are not JSON") from error
        turn.calls.append((call.get("id") or "", call["function"]["name"], arguments))
    return turn
