"""Tools in the words of the Messages wire."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.anthropic.profile import Profile
from backends.anthropic.refusal import unsupported
from backends.contract import GenerateRequest, Tool, ToolChoice

_NO_PARAMETERS = {"type": "object", "properties": {}}


def add_tools(body: dict[str, Any], request: GenerateRequest, profile: Profile) -> None:
    """Adds `tools` and `tool_choice`."""
    choice = request.tool_choice
    if request.tools:
        if choice is not None and choice.mode == "none" and not profile.obeys_choice:
            return  # what it does not know it cannot call
        body["tools"] = [_tool(tool) for tool in request.tools]
        if choice is not None:
            body["tool_choice"] = _choice(choice, profile)
    elif choice is not None and choice.mode in ("required", "function"):
        raise unsupported(profile, "tool_choice", "a forced call without tools")
    elif profile.obeys_choice:
        _declare_called(body)


def _tool(tool: Tool) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": tool.name, "input_schema": _schema(tool)}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.strict:
        wire["strict"] = True
    return wire


def _schema(tool: Tool) -> Any:
    """Its parameters, which must say that they are an object even where there are none."""
    schema = msgspec.json.decode(tool.parameters) if tool.parameters is not None else None
    return {"type": "object", **schema} if isinstance(schema, dict) and schema else dict(_NO_PARAMETERS)


def _choice(choice: ToolChoice, profile: Profile) -> dict[str, Any]:
    wire: dict[str, Any]
    if choice.mode in ("required", "function") and not profile.obeys_choice:
        raise unsupported(profile, "tool_choice", "a forced call")
    match choice.mode:
        case "function":
            wire = {"type": "tool", "name": choice.name}
        case "required":
            wire = {"type": "any"}
        case mode:
            wire = {"type": mode}
    if choice.parallel is False and choice.mode != "none":
        wire["disable_parallel_tool_use"] = True
    return wire


def _declare_called(body: dict[str, Any]) -> None:
    """Names the tools of earlier turns, since calls of tools that nobody declares are refused; none may be called."""
    blocks = (block for turn in body["messages"] for block in turn["content"])
    names = dict.fromkeys(block["name"] for block in blocks if block["type"] == "tool_use")
    if names:
        body["tools"] = [{"name": name, "input_schema": dict(_NO_PARAMETERS)} for name in names]
        body["tool_choice"] = {"type": "none"}
