"""A request to Ollama's own endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests import openai
from simulation.recordings.requests.asked import Asked, Beyond, Turn


def read(body: Mapping[str, Any]) -> Asked:
    options = body.get("options") or {}
    limit = options.get("num_predict")
    stop = options.get("stop")
    asked = Asked(
        max_tokens=limit if isinstance(limit, int) and limit > 0 else None,
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
    )
    if "messages" not in body:
        if body.get("images") or body.get("system"):
            raise Beyond("a prompt with images or a system text")
        asked.prompt = body["prompt"]
        return asked
    for message in body["messages"]:
        turn = Turn(role=message["role"], text=message.get("content") or "")
        turn.images = [_image(image) for image in message.get("images") or ()]
        if message["role"] == "tool":
            name = message.get("tool_call_id") or message.get("tool_name") or ""
            turn = Turn(role="tool", results=[(name, message["content"])])
        for call in message.get("tool_calls") or ():
            function = call["function"]
            turn.calls.append((call.get("id") or function["name"], function["name"], function.get("arguments") or {}))
        asked.turns.append(turn)
    asked.tools = openai.read({"messages": [], "tools": body.get("tools")}).tools
    return asked


def _image(data: str) -> str:
    return data if data.startswith(("http", "data:")) else f"data:image/png;base64,{data}"
