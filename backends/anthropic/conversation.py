"""A conversation in blocks: what the system says apart from it, roles that alternate, results before new questions.

The vendor refuses blocks of text that are blank, answers that are continued after a blank, and ids of another form than
its own; other vendors' conversations have all of them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from backends.anthropic.profile import Profile
from backends.anthropic.refusal import unsupported
from backends.call_ids import fitting_call_id
from backends.contract import ImagePart, Message, ToolCall
from backends.data_urls import inline
from backends.raw_json import object_of
from backends.signatures import own

_CALL_ID = re.compile(r"[A-Za-z0-9_-]+")
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_decode_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Block = dict[str, Any]


def conversation(messages: tuple[Message, ...], profile: Profile) -> tuple[list[Block], list[Block]]:
    """The blocks of the system prompt, and the turns.

    Raises:
        Unsupported: a part that this wire has no block for.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        if message.name is not None:
            raise unsupported(profile, "messages[].name")
        blocks = _blocks(message, profile)
        if message.role == "system":
            if any(block["type"] != "text" for block in blocks):
                raise unsupported(profile, "messages[].content", "an image in a system message")
            system += blocks
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        # The results of calls must come first in the turn that answers them.
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not turns:
        raise unsupported(profile, "messages", "a conversation in which nobody has said anything")
    _trim_prefill(turns[-1])
    return system, turns


def _blocks(message: Message, profile: Profile) -> list[Block]:
    match message.role:
        case "assistant":
            calls = [_tool_use(call, profile) for call in message.tool_calls]
            return [*_thoughts(message, profile), *_content(message, profile), *calls]
        case "tool":
            result: Block = {"type": "tool_result", "tool_use_id": _call_id(message.tool_call_id or "")}
            content = _content(message, profile)
            if content:
                result["content"] = content
            return [result]
        case _:
            return _content(message, profile)


def _thoughts(message: Message, profile: Profile) -> list[Block]:
    """What the model thought, as it was signed. What nobody signed was another vendor's, and is left out."""
    blocks: list[Block] = []
    for block in message.reasoning:
        signature = own("anthropic", block.signature, unmarked=True)
        if block.redacted:
            if signature:
                blocks.append({"type": "redacted_thinking", "data": signature})
        elif signature or (profile.is_lenient and block.text):
            blocks.append({"type": "thinking", "thinking": block.text, "signature": signature or ""})
    return blocks


def _content(message: Message, profile: Profile) -> list[Block]:
    if isinstance(message.content, str):
        return _text(message.content)
    blocks: list[Block] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            blocks.append(_image(part, profile))
        else:
            blocks += _text(part.text)
    return blocks


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _image(part: ImagePart, profile: Profile) -> Block:
    if "vision" not in profile.capabilities:
        raise unsupported(profile, "messages[].content", "no images")
    if part.detail == "low":  # it always looks as closely as it can
        raise unsupported(profile, "messages[].content", "an image in low detail")
    try:
        found = inline(part.url)
    except ValueError as error:
        raise unsupported(profile, "messages[].content", str(error)) from error
    if found is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    if found.media_type not in _IMAGE_TYPES:
        raise unsupported(profile, "messages[].content", f"an image of type {found.media_type}")
    return {"type": "image", "source": {"type": "base64", "media_type": found.media_type, "data": found.base64}}


def _tool_use(call: ToolCall, profile: Profile) -> Block:
    arguments = object_of(call.arguments)
    try:
        _decode_arguments(arguments)
    except msgspec.DecodeError as error:
        raise unsupported(profile, "messages[].tool_calls", f"arguments that are no JSON object ({error})") from error
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": msgspec.Raw(arguments.encode())}


def _call_id(call_id: str) -> str:
    return fitting_call_id(call_id, _CALL_ID)


def _trim_prefill(last: Block) -> None:
    """An answer that is to be continued may not end in a blank."""
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
