"""A conversation in Converse's blocks: the system apart, roles that alternate, results before new questions.

Blocks of blank text are refused by the service, and say nothing: they are left out.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from backends.aws.bedrock.models import ModelFamily
from backends.aws.bedrock.refusal import unsupported
from backends.call_ids import fitting_call_id
from backends.contract import ImagePart, Message, ToolCall
from backends.data_urls import inline
from backends.raw_json import object_of
from backends.signatures import own

Block = dict[str, Any]

# A result must have a content, and a block of text must have a text.
NO_OUTPUT = "(no output)"
_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_decode_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def conversation(messages: tuple[Message, ...], family: ModelFamily) -> tuple[list[Block], list[Block]]:
    """The blocks of the system prompt, and the turns.

    Raises:
        Unsupported: a part that this wire has no block for, or turns in an order that no model behind it takes.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        if message.name is not None and message.role != "tool":  # a result is known by its call's id
            raise unsupported("messages[].name")
        if message.role == "system":
            system += _system(message)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, family)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns or turns[0]["role"] != "user":
        raise unsupported("messages", "a conversation that no user has begun")
    for turn in turns:
        turn["content"].sort(key=lambda block: "toolResult" not in block)
    _end(turns[-1], family)
    return system, turns


def has_calls(turns: list[Block]) -> bool:
    return any("toolUse" in block or "toolResult" in block for turn in turns for block in turn["content"])


def _system(message: Message) -> list[Block]:
    blocks = _content(message)
    if any("text" not in block for block in blocks):
        raise unsupported("messages[].content", "an image in a system message")
    return blocks


def _blocks(message: Message, family: ModelFamily) -> list[Block]:
    if message.role == "assistant":
        thoughts = _thoughts(message) if family.signed_reasoning else []
        return [*thoughts, *_content(message), *(_tool_use(call) for call in message.tool_calls)]
    if message.role == "tool":
        content = _content(message) or [{"text": NO_OUTPUT}]
        return [{"toolResult": {"toolUseId": _call_id(message.tool_call_id or ""), "content": content}}]
    return _content(message)


def _thoughts(message: Message) -> list[Block]:
    """What the model thought and its vendor signed. What nobody signed came from elsewhere, and would be refused.

    Claude's signatures hold on every platform that serves it, so they go out without a mark of where they are from.
    """
    blocks: list[Block] = []
    for block in message.reasoning:
        signature = own("anthropic", block.signature, unmarked=True)
        if signature is None:
            continue
        if block.redacted:
            blocks.append({"reasoningContent": {"redactedContent": signature}})
        else:
            blocks.append({"reasoningContent": {"reasoningText": {"text": block.text, "signature": signature}}})
    return blocks


def _content(message: Message) -> list[Block]:
    if isinstance(message.content, str):
        return _text(message.content)
    blocks: list[Block] = []
    for part in message.content:
        blocks += [_image(part)] if isinstance(part, ImagePart) else _text(part.text)
    return blocks


def _text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _image(part: ImagePart) -> Block:
    if part.detail == "low":  # models look as closely as they can
        raise unsupported("messages[].content", "an image in low detail")
    try:
        found = inline(part.url)
    except ValueError as error:
        raise unsupported("messages[].content", str(error)) from error
    if found is None:
        raise unsupported("messages[].content", "an image by its address; its bytes are needed (a data URL)")
    kind = _FORMATS.get(found.media_type)
    if kind is None:
        raise unsupported("messages[].content", f"an image of type {found.media_type}")
    return {"image": {"format": kind, "source": {"bytes": found.base64}}}


def _tool_use(call: ToolCall) -> Block:
    arguments = object_of(call.arguments)
    try:
        _decode_arguments(arguments)
    except msgspec.DecodeError as error:
        raise unsupported("messages[].tool_calls", f"arguments that are no JSON object ({error})") from error
    return {"toolUse": {"toolUseId": _call_id(call.id), "name": call.name, "input": msgspec.Raw(arguments.encode())}}


def _call_id(call_id: str) -> str:
    return fitting_call_id(call_id, _CALL_ID)


def _end(last: Block, family: ModelFamily) -> None:
    """An answer that is to be continued is for models that go on with one, and may not end in a blank."""
    if last["role"] != "assistant":
        return
    if not family.prefill:
        raise unsupported("messages", "an answer of the assistant to go on with, for this model")
    if "text" in last["content"][-1]:
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
