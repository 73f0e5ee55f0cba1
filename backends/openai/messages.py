"""The turns of a conversation in the words of one OpenAI-like dialect."""

from __future__ import annotations

import re
from typing import Any

from backends.call_ids import fitting_call_id
from backends.contract import ImagePart, Message
from backends.errors import Unsupported
from backends.openai.profile import Profile
from backends.openai.reasoning import call_fields, reasoning_fields
from backends.raw_json import object_of

_NINE_ALPHANUMERICS = re.compile(r"[A-Za-z0-9]{9}")


def unsupported(profile: Profile, param: str, why: str = "") -> Unsupported:
    return Unsupported(f"{profile.name} does not take {param}{': ' if why else ''}{why}", param=param)


def encode_messages(messages: tuple[Message, ...], profile: Profile) -> list[dict[str, Any]]:
    """Raises Unsupported for a part of a message that the dialect has no word for."""
    wire = [_message(message, profile) for message in messages]
    if profile.prefill == "prefix" and is_prefilled(messages):
        wire[-1]["prefix"] = True
    return wire


def is_prefilled(messages: tuple[Message, ...]) -> bool:
    """A trailing assistant message is the beginning of the answer, where the server can be told so."""
    return bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls


def _message(message: Message, profile: Profile) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": _content(message, profile)}
    if message.name is not None:
        if not profile.message_names:
            raise unsupported(profile, "messages[].name")
        wire["name"] = message.name
    if message.tool_call_id is not None:
        wire["tool_call_id"] = _tool_call_id(message.tool_call_id, profile)
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": _tool_call_id(call.id, profile),
                "type": "function",
                "function": {"name": call.name, "arguments": object_of(call.arguments)},
                **call_fields(call, profile, is_first=index == 0),
            }
            for index, call in enumerate(message.tool_calls)
        ]
    return wire | reasoning_fields(message.reasoning, profile)


def _content(message: Message, profile: Profile) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            if "vision" not in profile.capabilities:
                raise unsupported(profile, "messages[].content", "no images")
            image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
            parts.append({"type": "image_url", "image_url": image})
        else:
            parts.append({"type": "text", "text": part.text})
    # Old chat templates take a string only.
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def _tool_call_id(call_id: str, profile: Profile) -> str:
    """The id itself, or for a wire with its own form an id that the same id always becomes."""
    return fitting_call_id(call_id, _NINE_ALPHANUMERICS) if profile.short_tool_ids else call_id
