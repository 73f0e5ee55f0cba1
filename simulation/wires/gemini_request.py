"""A GenerateContentRequest, seen from Google's side: what is checked before a model sees it, and how it is refused.

The checks are the service's own as far as clients run into them: fields that it does not know, roles, results that do
not match calls, signatures of thought that are missing or not its own, tools beside a JSON answer on older models.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from simulation.answer import Ask, count_tokens
from simulation.wire import IMAGE_TOKENS, JSON_OBJECT, MESSAGE_TOKENS, encode, is_asked_for
from simulation.wires.gemini_errors import refusal

SIGNATURE = base64.b64encode(b"a thought of an emulated model: no model has run").decode()
# Documented for calls that the model did not make itself.
FOREIGN_CALLS = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
_OLDER = re.compile(r"gemini-[12]\b")
_UNKNOWN = re.compile(r"unknown field `(\w+)`(?: - at `\$\.?(.*)`)?")
_SNAKE = re.compile(r"_([a-z0-9])")
# What is under these names is the caller's, and not part of the message.
_OPAQUE = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels"}
)


class _Strict(msgspec.Struct, rename="camel", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message of the service: it refuses what it does not know."""


class _Blob(_Strict, frozen=True):
    mime_type: str
    data: str


class _FileData(_Strict, frozen=True):
    file_uri: str
    mime_type: str = ""


class _FunctionCall(_Strict, frozen=True):
    name: str
    id: str = ""
    args: dict[str, Any] | None = None


class _ResponsePart(_Strict, frozen=True):
    inline_data: _Blob | None = None
    file_data: _FileData | None = None


class _FunctionResponse(_Strict, frozen=True):
    name: str
    response: dict[str, Any]
    id: str = ""
    parts: list[_ResponsePart] = []


class Part(_Strict, frozen=True):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    inline_data: _Blob | None = None
    file_data: _FileData | None = None
    function_call: _FunctionCall | None = None
    function_response: _FunctionResponse | None = None


class _Content(_Strict, frozen=True):
    parts: list[Part] = []
    role: str = ""


class _Function(_Strict, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    parameters_json_schema: Any = None


class _Tool(_Strict, frozen=True):
    function_declarations: list[_Function] = []


class _Calling(_Strict, frozen=True):
    mode: str = "AUTO"
    allowed_function_names: list[str] = []


class _ToolConfig(_Strict, frozen=True):
    function_calling_config: _Calling = _Calling()


class _Thinking(_Strict, frozen=True):
    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class _Config(_Strict, frozen=True):
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    stop_sequences: list[str] = []
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool = False
    logprobs: int | None = None
    candidate_count: int = 1
    response_mime_type: str = "text/plain"
    response_schema: dict[str, Any] | None = None
    response_json_schema: Any = None
    response_modalities: list[str] = []
    media_resolution: str = ""
    thinking_config: _Thinking = _Thinking()


class _Body(_Strict, frozen=True):
    contents: list[_Content] = []
    system_instruction: _Content | None = None
    tools: list[_Tool] = []
    tool_config: _ToolConfig = _ToolConfig()
    generation_config: _Config = _Config()
    safety_settings: list[dict[str, str]] = []
    labels: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that passed. `ask` lacks what only the server knows (the label and the room)."""

    model: str
    older: bool
    prompt_tokens: int
    ask: Ask
    thinks: bool
    shows_thinking: bool
    logprobs: bool


def parse(body: bytes, *, model: str) -> Request:
    """Reads a body. Raises WireError where the service would refuse it."""
    try:
        read = msgspec.convert(_camel(msgspec.json.decode(body)), _Body)
    except msgspec.ValidationError as error:
        found = _UNKNOWN.search(str(error))
        raise refusal(
            400,
            f"Invalid JSON payload received. Unknown name \"{found[1]}\" at '{found[2] or ''}': Cannot find field."
            if found
            else f"Invalid value: {error}",
        ) from None
    except msgspec.DecodeError as error:
        raise refusal(400, f"Invalid JSON payload received. {error}") from None
    older = _OLDER.search(model) is not None
    _check_contents(read.contents, older=older)
    _check_config(read, older=older)
    config = read.generation_config
    said = " ".join(part.text or "" for part in read.contents[-1].parts)
    thinking = config.thinking_config
    return Request(
        model=model,
        older=older,
        prompt_tokens=_tokens(read),
        ask=_ask(read, said),
        thinks=thinking.thinking_budget != 0 and thinking != _Thinking(),
        shows_thinking=thinking.include_thoughts,
        logprobs=config.response_logprobs,
    )


def _camel(value: Any) -> Any:
    """Field names in the one of their two spellings that is looked for."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {_SNAKE.sub(lambda found: found[1].upper(), name): inner for name, inner in value.items()}
    return {name: inner if name in _OPAQUE else _camel(inner) for name, inner in fields.items() if inner is not None}


def _check_contents(contents: list[_Content], *, older: bool) -> None:
    if not contents:
        raise refusal(400, "* GenerateContentRequest.contents: contents is not specified\n")
    waiting = 0
    for place, content in enumerate(contents):
        if content.role not in ("user", "model", ""):
            raise refusal(400, "Please use a valid role: user, model.")
        if not content.parts:
            raise refusal(400, f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.\n")
        results = sum(part.function_response is not None for part in content.parts)
        if results != waiting:
            raise refusal(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        calls = [part for part in content.parts if part.function_call is not None]
        waiting = len(calls)
        for part in content.parts:
            _check_part(part)
        if calls and not older and calls[0].thought_signature is None:
            call = calls[0].function_call
            raise refusal(
                400,
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `default_api:{call.name if call else ''}`, position "
                f"{place}.",
            )
    if waiting or contents[-1].role == "model":
        raise refusal(400, "Please ensure that multiturn requests end with a user role or a function response.")


def _check_part(part: Part) -> None:
    signature = part.thought_signature
    if signature is not None and signature not in FOREIGN_CALLS and signature != SIGNATURE:
        raise refusal(400, "Corrupted thought signature.")
    if part.inline_data is not None:
        try:
            base64.b64decode(part.inline_data.data, validate=True)
        except binascii.Error:
            raise refusal(400, "Invalid value at 'contents.parts.inline_data.data' (TYPE_BYTES)") from None


def _check_config(read: _Body, *, older: bool) -> None:
    config = read.generation_config
    is_json = config.response_mime_type == "application/json"
    if read.tools and is_json and older:
        raise refusal(400, "Function calling with a response mime type: 'application/json' is unsupported")
    if (config.response_schema or config.response_json_schema) is not None and not is_json:
        raise refusal(400, "response_schema is only allowed with response_mime_type: application/json")
    if older and config.thinking_config.thinking_level is not None:
        raise refusal(400, "Thinking level is not supported for this model.")
    if config.temperature is not None and not 0 <= config.temperature <= 2:
        raise refusal(
            400,
            f"Unable to submit request because it has a temperature value of {config.temperature:g} but the supported "
            "range is from 0 (inclusive) to 2.0001 (exclusive). Update the value and try again.",
        )
    if read.tool_config.function_calling_config.mode not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        raise refusal(400, "Invalid value at 'tool_config.function_calling_config.mode'")


def _ask(read: _Body, said: str) -> Ask:
    config, calling = read.generation_config, read.tool_config.function_calling_config
    functions = [function for tool in read.tools for function in tool.function_declarations]
    schemas = tuple((function.name, _schema(function)) for function in functions)
    names = [function.name for function in functions]
    unknown = [name for name in calling.allowed_function_names if name not in names]
    if unknown:
        raise refusal(400, f"allowed_function_names: {unknown[0]} is not a declared function")
    asked = next((name for name in names if is_asked_for(name, said.lower())), "")
    schema = None
    if config.response_mime_type == "application/json":
        schema = config.response_json_schema or _lower(config.response_schema) or JSON_OBJECT
    forced = calling.mode == "ANY"
    return Ask(
        label="",
        seed=zlib.crc32(encode(read.contents)) if config.seed is None else config.seed,
        room=0,
        max_tokens=config.max_output_tokens,
        stop=tuple(config.stop_sequences),
        schema=schema,
        tools=schemas,
        call=forced or (calling.mode != "NONE" and bool(asked)),
        call_name=next(iter(calling.allowed_function_names), asked),
    )


def _schema(function: _Function) -> Any:
    return function.parameters_json_schema or _lower(function.parameters)


def _lower(schema: Any) -> Any:
    """The older Schema's types are in capitals."""
    if isinstance(schema, list):
        return [_lower(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else _lower(value)
        for name, value in schema.items()
    }


def _tokens(read: _Body) -> int:
    contents = [*read.contents, *([read.system_instruction] if read.system_instruction else [])]
    tokens = count_tokens(len(encode(read.tools))) if read.tools else 0
    for content in contents:
        tokens += MESSAGE_TOKENS
        for part in content.parts:
            is_image = part.inline_data is not None or part.file_data is not None
            tokens += IMAGE_TOKENS if is_image else count_tokens(len(part.text or ""))
    return tokens
