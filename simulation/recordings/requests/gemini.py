"""A request to generateContent; clients write its names in camel case or with underscores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from simulation.recordings.requests.asked import Asked, Beyond, Turn


def read(body: Mapping[str, Any]) -> Asked:
    settings = _get(body, "generationConfig") or {}
    asked = Asked(
        max_tokens=_get(settings, "maxOutputTokens"),
        temperature=settings.get("temperature"),
        top_p=_get(settings, "topP"),
        stop=tuple(_get(settings, "stopSequences") or ()),
    )
    system = _get(body, "systemInstruction")
    if system:
        asked.turns.append(Turn(role="system", text=_turn(system).text))
    contents = body["contents"]
    asked.turns += [_turn(content) for content in ([contents] if isinstance(contents, Mapping) else contents)]
    if _get(body, "cachedContent"):
        raise Beyond("a cache that was made before")
    tools = body.get("tools") or ()
    for tool in [tools] if isinstance(tools, Mapping) else tools:
        declared = _get(tool, "functionDeclarations")
        if declared is None:
            raise Beyond(f"a tool of the kind {', '.join(tool)!r}, which runs at the vendor")
        for function in declared:
            schema = _get(function, "parameters", "parametersJsonSchema")
            asked.tools[function["name"]] = _lower(schema)
    return asked


def _turn(content: Mapping[str, Any]) -> Turn:
    turn = Turn(role="assistant" if content.get("role") == "model" else "user")
    for part in content["parts"]:
        if _get(part, "functionCall"):
            call = _get(part, "functionCall")
            turn.calls.append((call.get("id") or call["name"], call["name"], call.get("args") or {}))
        elif _get(part, "functionResponse"):
            answer = _get(part, "functionResponse")
            if answer.get("parts"):
                raise Beyond("a tool's result with media in it")
            turn.results.append((answer.get("id") or answer["name"], _result(answer.get("response"))))
        elif _get(part, "inlineData"):
            data = _get(part, "inlineData")
            kind = _get(data, "mimeType")
            if not kind.startswith("image/"):
                raise Beyond(f"data of the type {kind!r}")
            turn.images.append(f"data:{kind};base64,{data['data']}")
        elif part.get("thought"):
            continue
        elif "text" in part:
            turn.text += part["text"]
        elif set(part) - {"thoughtSignature", "thought_signature"}:
            raise Beyond(f"a part of the kind {', '.join(sorted(part))!r}")
    return turn


def _result(response: Any) -> str:
    """Results are objects here: what stands for plain text is unwrapped, whatever the client called it."""
    if isinstance(response, Mapping) and len(response) == 1:
        (value,) = response.values()
        return value if isinstance(value, str) else json.dumps(value)
    return json.dumps(response)


def _get(value: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        spelt = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        for spelling in (name, spelt):
            if value.get(spelling) is not None:
                return value[spelling]
    return None


def _lower(schema: Any) -> Any:
    """Types of schemas are written in capitals or as in JSON schema, and mean the same."""
    if isinstance(schema, Mapping):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in schema.items()
        }
    return [_lower(item) for item in schema] if isinstance(schema, list) else schema
