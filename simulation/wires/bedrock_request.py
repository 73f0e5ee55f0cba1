"""A Converse request, seen from the service: its shape by botocore's model of the service, then what AWS checks beyond.

The checks are the documented ones: roles that alternate, a user who begins, text that is not blank, tools for every
call, results for every call, thinking within its bounds, signatures that are the model's own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from simulation.answer import Ask, count_tokens
from simulation.wire import IMAGE_TOKENS, MESSAGE_TOKENS, encode, is_asked_for
from simulation.wires.aws_signature import refusal
from simulation.wires.serving import WireError

Block = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that passed. `thinks`: the answer begins with reasoning."""

    prompt_tokens: int
    ask: Ask
    thinks: bool
    said: str
    names_stop: bool


class Parser:
    """Reads bodies of both operations."""

    def __init__(self) -> None:
        loaded = Loader().load_service_model("bedrock-runtime", "service-2")
        self._service = ServiceModel(loaded)
        self._validator = ParamValidator()

    def parse(self, body: bytes, *, model: str, operation: str) -> Request:
        """Raises WireError in the words of the service."""
        try:
            read = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise refusal(400, "SerializationException", "Unexpected token") from None
        shape = self._service.operation_model(operation).input_shape
        report = self._validator.validate({"modelId": model, **read}, shape)
        _check(not report.has_errors(), report.generate_report())
        _check_inference(read)
        turns: list[Block] = read.get("messages") or []
        _check_turns(turns)
        _check_tools(read, turns)
        thinks = _thinks(read)
        blocks = [block for turn in turns for block in turn["content"]]
        said = " ".join(block.get("text", "") for block in blocks)
        return Request(
            prompt_tokens=_tokens(read, blocks, len(turns)),
            ask=_ask(read, turns),
            thinks=thinks,
            said=said,
            names_stop="/stop_sequence" in (read.get("additionalModelResponseFieldPaths") or ()),
        )


def signature_of(thinking: str) -> str:
    """What proves that a text is this model's."""
    return "emulated" + hashlib.sha256(b"emulated" + thinking.encode()).hexdigest()


def _check(holds: bool, message: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise invalid(message)


def invalid(message: str) -> WireError:
    return refusal(400, "ValidationException", message)


def _check_inference(read: Block) -> None:
    config = read.get("inferenceConfig") or {}
    for name in ("temperature", "topP"):
        _check(0 <= config.get(name, 0) <= 1, f"The value of {name} must be between 0 and 1.")
    for stop in config.get("stopSequences") or ():
        _check(bool(stop.strip()), "stop_sequences: each stop sequence must contain non-whitespace")


def _check_turns(turns: list[Block]) -> None:
    start = (
        "A conversation must start with a user message. Try again with a conversation that starts with a user message."
    )
    _check(bool(turns) and turns[0]["role"] == "user", start)
    called: set[str] = set()
    for at, turn in enumerate(turns):
        alternate = "messages: roles must alternate between 'user' and 'assistant'"
        _check(at == 0 or turn["role"] != turns[at - 1]["role"], alternate)
        _check(bool(turn["content"]), f"The content field in the Message object at messages.{at} is empty.")
        answered: set[str] = set()
        for number, block in enumerate(turn["content"]):
            _check_block(f"messages.{at}.content.{number}", block)
            if "toolResult" in block:
                answered.add(block["toolResult"]["toolUseId"])
        _check(answered <= called, f"messages.{at}: unexpected `toolUseId` found in `toolResult` blocks")
        _check(called <= answered, f"Expected toolResult blocks at messages.{at}.content for the following Ids")
        called = {block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block}
    last = turns[-1]
    if last["role"] == "assistant":
        text = last["content"][-1].get("text", "")
        _check(text == text.rstrip(), "messages: final assistant content cannot end with trailing whitespace")


def _check_block(where: str, block: Block) -> None:
    _check(len(block) == 1, f"Exactly one of the members is to be set at {where}")
    if "text" in block:
        blank = (
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try again."
        )
        _check(bool(block["text"].strip()), blank)
    elif "image" in block:
        try:
            base64.b64decode(block["image"]["source"].get("bytes", ""), validate=True)
        except binascii.Error:
            raise invalid("Could not process image") from None
    elif "toolUse" in block:
        is_object = isinstance(block["toolUse"]["input"], dict)
        _check(is_object, f"The format of the value at {where}.toolUse.input is invalid. Provide a json object.")
    elif "toolResult" in block:
        for number, part in enumerate(block["toolResult"]["content"]):
            _check_block(f"{where}.toolResult.content.{number}", part)
    elif "reasoningContent" in block:
        told = block["reasoningContent"].get("reasoningText")
        if told is not None:
            own = told.get("signature") == signature_of(told["text"])
            _check(own, f"{where}: Invalid `signature` in `thinking` block")


def _check_tools(read: Block, turns: list[Block]) -> None:
    tools = _names(read)
    has_calls = any("toolUse" in block or "toolResult" in block for turn in turns for block in turn["content"])
    needed = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    _check(bool(tools) or not has_calls, needed)
    forced = ((read.get("toolConfig") or {}).get("toolChoice") or {}).get("tool")
    _check(forced is None or forced["name"] in tools, "The tool in toolChoice is none of the tools.")


def _thinks(read: Block) -> bool:
    fields = read.get("additionalModelRequestFields") or {}
    thinking = fields.get("thinking") or {}
    config = read.get("inferenceConfig") or {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens", 0)
        _check(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        enough = "`max_tokens` must be greater than `thinking.budget_tokens`"
        _check("maxTokens" not in config or budget < config["maxTokens"], enough)
    is_thinking = thinking.get("type") in ("enabled", "adaptive")
    if is_thinking:
        _check(config.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled")
    return bool(
        is_thinking or (fields.get("reasoningConfig") or {}).get("type") == "enabled" or fields.get("reasoning_effort")
    )


def _ask(read: Block, turns: list[Block]) -> Ask:
    config = read.get("inferenceConfig") or {}
    tools = tuple(_names(read).items())
    choice = (read.get("toolConfig") or {}).get("toolChoice") or {"auto": {}}
    name = (choice.get("tool") or {}).get("name", "")
    last = turns[-1]
    if "auto" in choice and last["role"] == "user":
        said = " ".join(block.get("text", "") for block in last["content"]).lower()
        name = next((tool for tool, _ in tools if is_asked_for(tool, said)), "")
    wanted = (read.get("outputConfig") or {}).get("textFormat")
    schema = None if wanted is None else msgspec.json.decode(wanted["structure"]["jsonSchema"]["schema"])
    explicit = "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
    _check(not _is_open(schema), explicit)
    return Ask(
        label="",
        seed=zlib.crc32(encode(turns)),
        room=0,
        max_tokens=config.get("maxTokens"),
        stop=tuple(config.get("stopSequences") or ()),
        schema=schema,
        tools=tools,
        call="auto" not in choice or bool(name),
        call_name=name,
        continues=last["role"] == "assistant",
    )


def _is_open(schema: Any) -> bool:
    """Whether an object in it may have further properties."""
    if isinstance(schema, list):
        return any(map(_is_open, schema))
    if not isinstance(schema, dict):
        return False
    own = schema.get("type") == "object" and schema.get("additionalProperties") is not False
    return own or any(map(_is_open, schema.values()))


def _names(read: Block) -> dict[str, Any]:
    """The tools: the schema of each by its name."""
    tools = (read.get("toolConfig") or {}).get("tools") or ()
    return {tool["toolSpec"]["name"]: tool["toolSpec"]["inputSchema"]["json"] for tool in tools}


def _tokens(read: Block, blocks: list[Block], turns: int) -> int:
    texts = [*_texts(blocks), *_texts(read.get("system") or ())]
    images = sum("image" in block for block in blocks)
    tools = count_tokens(len(encode(read["toolConfig"]))) if "toolConfig" in read else 0
    return turns * MESSAGE_TOKENS + count_tokens(sum(map(len, texts))) + images * IMAGE_TOKENS + tools


def _texts(blocks: Any) -> Iterator[str]:
    for block in blocks:
        if "toolResult" in block:
            yield from _texts(block["toolResult"]["content"])
        else:
            yield str(block.get("text", ""))
