"""A request to the Messages endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests.asked import Asked, Beyond, Turn, text_of


def read(body: Mapping[str, Any]) -> Asked:
    asked = Asked(
        max_tokens=body.get("max_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=tuple(body.get("stop_sequences") or ()),
    )
    system = text_of(body.get("system"))
    if system:
        asked.turns.append(Turn(role="system", text=system))
    asked.turns += [_turn(message) for message in body["messages"]]
    for tool in body.get("tools") or ():
        if tool.get("type", "custom") != "custom" or tool.get("defer_loading"):
            raise Beyond(f"a tool of the kind {tool.get('type')!r}, which runs at the vendor")
        asked.tools[tool["name"]] = tool["input_schema"]
    return asked


def _turn(message: Mapping[str, Any]) -> Turn:
    turn = Turn(role="assistant" if message["role"] == "assistant" else "user")
    content = message["content"]
    blocks: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for block in blocks:
        match block["type"]:
            case "text":
                turn.text += block["text"]
            case "image":
                turn.images.append(_image(block["source"]))
            case "tool_use":
                turn.calls.append((block["id"], block["name"], block["input"]))
            case "tool_result":
                turn.results.append((block["tool_use_id"], text_of(block.get("content"))))
            case "thinking" | "redacted_thinking":
                pass  # its signature is of another account
            case other:
                raise Beyond(f"a block of the kind {other!r}")
    return turn


def _image(source: Mapping[str, Any]) -> str:
    if source["type"] == "url":
        return str(source["url"])
    if source["type"] == "base64":
        return f"data:{source['media_type']};base64,{source['data']}"
    raise Beyond(f"an image from a {source['type']!r}")
