"""From the protobuf `GenerateRequest` to what adapters send: messages, tools, response format, sampling.

Nothing here is guessed at: a field that does not fit is a violation under its path in the proto. What routing needs of
the same message is `proto_profile`'s.
"""

from __future__ import annotations

import base64
import math
from typing import Literal

import msgspec

from backends.contract import (
    GenerateRequest,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from router.api.wire.checks import MAX_IMAGE_BYTES, Checks
from router.v1 import inference_pb2 as pb

MAX_MESSAGES = 4_096
MAX_PARTS = 256
MAX_TOOLS = 512
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_METADATA_BYTES = 16_384
_IMAGE_DETAILS = frozenset({"", "low", "high", "auto"})

_ROLES: dict[int, Role] = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}
_CHOICES: dict[int, Literal["auto", "none", "required", "function"]] = {
    pb.TOOL_CHOICE_MODE_UNSPECIFIED: "auto",
    pb.TOOL_CHOICE_MODE_AUTO: "auto",
    pb.TOOL_CHOICE_MODE_NONE: "none",
    pb.TOOL_CHOICE_MODE_REQUIRED: "required",
    pb.TOOL_CHOICE_MODE_FUNCTION: "function",
}


def decode_content(message: pb.GenerateRequest, checks: Checks, at: str = "") -> GenerateRequest:
    """The request as adapters take it; `at` is the path of the message itself, "" or "request."."""
    model = checks.text(f"{at}model", message.model, required=True)
    messages: tuple[Message, ...] = ()
    if checks.count(f"{at}messages", len(message.messages), MAX_MESSAGES):
        messages = tuple([_message(m, checks, f"{at}messages[{i}]") for i, m in enumerate(message.messages)])
    if message.prompt:
        if message.messages:
            checks.add(f"{at}prompt", "excludes messages; set one of the two")
        if message.tools:
            checks.add(f"{at}tools", "need messages; a raw prompt has no place for them")
    elif not message.messages:
        checks.add(f"{at}messages", "must not be empty unless prompt is set")
    if message.HasField("metadata"):
        _metadata(message, checks, at)
    return GenerateRequest(
        model=model,
        messages=messages,
        prompt=message.prompt or None,
        tools=_tools(message, checks, at) if message.tools else (),
        tool_choice=_tool_choice(message, checks, at) if message.HasField("tool_choice") else None,
        response_format=_response_format(message, checks, at) if message.HasField("response_format") else None,
        sampling=_sampling(message.sampling, checks, f"{at}sampling") if message.HasField("sampling") else Sampling(),
        end_user=checks.text(f"{at}end_user", message.end_user) or None,
    )


def _message(message: pb.Message, checks: Checks, at: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        checks.add(f"{at}.role", _unknown(message.role))
        role = "user"
    content: str | tuple[TextPart | ImagePart, ...] = message.text
    if message.parts:
        if message.text:
            checks.add(f"{at}.text", "must be empty when parts are given")
        content = ()
        if checks.count(f"{at}.parts", len(message.parts), MAX_PARTS):
            content = tuple([_part(p, checks, f"{at}.parts[{i}]") for i, p in enumerate(message.parts)])
    calls: tuple[ToolCall, ...] = ()
    if message.tool_calls:
        if message.role != pb.ROLE_ASSISTANT:
            checks.add(f"{at}.tool_calls", "belong to messages of the assistant only")
        if checks.count(f"{at}.tool_calls", len(message.tool_calls), MAX_TOOLS):
            calls = tuple([_tool_call(c, checks, f"{at}.tool_calls[{i}]") for i, c in enumerate(message.tool_calls)])
    reasoning: tuple[ReasoningBlock, ...] = ()
    if message.reasoning:
        if message.role != pb.ROLE_ASSISTANT:
            checks.add(f"{at}.reasoning", "belongs to messages of the assistant only")
        if checks.count(f"{at}.reasoning", len(message.reasoning), MAX_PARTS):
            reasoning = tuple(
                [_reasoning(block, checks, f"{at}.reasoning[{i}]") for i, block in enumerate(message.reasoning)]
            )
    if message.role == pb.ROLE_TOOL:
        checks.text(f"{at}.tool_call_id", message.tool_call_id, required=True)
    elif message.tool_call_id:
        checks.add(f"{at}.tool_call_id", "belongs to messages of role tool only")
    return Message(
        role=role,
        content=content,
        tool_calls=calls,
        tool_call_id=message.tool_call_id or None,
        name=checks.text(f"{at}.name", message.name) or None,
        reasoning=reasoning,
    )


def _reasoning(block: pb.ReasoningBlock, checks: Checks, at: str) -> ReasoningBlock:
    if block.redacted and (block.text or not block.signature):
        checks.add(at, "must have a signature and no text when it is redacted")
    elif not block.text and not block.signature:
        checks.add(at, "must have a text or a signature")
    return ReasoningBlock(text=block.text, signature=block.signature or None, redacted=block.redacted)


def _part(part: pb.ContentPart, checks: Checks, at: str) -> TextPart | ImagePart:
    kind = part.WhichOneof("part")
    if kind == "text":
        return TextPart(text=part.text)
    if kind != "image":
        checks.add(at, "must hold text or an image")
        return TextPart(text="")
    image = part.image
    source = image.WhichOneof("source")
    url = image.url
    if source == "url":
        checks.image_url(f"{at}.image.url", url)
    elif source == "data":
        checks.image_type(f"{at}.image.mime_type", image.mime_type)
        if not image.data:
            checks.add(f"{at}.image.data", "must not be empty")
        elif len(image.data) > MAX_IMAGE_BYTES:
            checks.add(f"{at}.image.data", f"must have at most {MAX_IMAGE_BYTES} bytes, not {len(image.data)}")
        else:
            url = f"data:{image.mime_type};base64,{base64.b64encode(image.data).decode()}"
    else:
        checks.add(f"{at}.image", "must have a source: url or data")
    if image.detail not in _IMAGE_DETAILS:
        checks.add(f"{at}.image.detail", "must be low, high or auto")
    return ImagePart(url=url, detail=image.detail or None)


def _tool_call(call: pb.ToolCall, checks: Checks, at: str) -> ToolCall:
    if call.arguments_json:
        checks.json_object(f"{at}.arguments_json", call.arguments_json)
    # Models write nothing for a call without arguments; engines parse what they are sent back, and refuse "".
    return ToolCall(
        id=checks.text(f"{at}.id", call.id, required=True),
        name=checks.text(f"{at}.name", call.name, required=True),
        arguments=call.arguments_json or "{}",
        signature=call.signature or None,
    )


def _tools(message: pb.GenerateRequest, checks: Checks, at: str) -> tuple[Tool, ...]:
    if not checks.count(f"{at}tools", len(message.tools), MAX_TOOLS):
        return ()
    tools: list[Tool] = []
    names: set[str] = set()
    for i, tool in enumerate(message.tools):
        name = checks.text(f"{at}tools[{i}].name", tool.name, required=True)
        if name and name in names:
            checks.add(f"{at}tools[{i}].name", "is the name of an earlier tool")
        names.add(name)
        if tool.parameters_json:
            checks.json_object(f"{at}tools[{i}].parameters_json", tool.parameters_json)
        tools.append(
            Tool(
                name=name,
                description=tool.description or None,
                parameters=msgspec.Raw(tool.parameters_json) if tool.parameters_json else None,
                strict=tool.strict or None,
            )
        )
    return tuple(tools)


def _tool_choice(message: pb.GenerateRequest, checks: Checks, at: str) -> ToolChoice | None:
    choice = message.tool_choice
    mode = _CHOICES.get(choice.mode)
    if mode is None:
        checks.add(f"{at}tool_choice.mode", _unknown(choice.mode))
        return None
    if mode == "function":
        if not choice.name:
            checks.add(f"{at}tool_choice.name", "must name the function to call")
        elif choice.name not in {tool.name for tool in message.tools}:
            checks.add(f"{at}tool_choice.name", "is not the name of a tool of this request")
    elif choice.name:
        checks.add(f"{at}tool_choice.name", "belongs to mode function only")
    if not message.tools:
        if mode in {"function", "required"}:
            checks.add(f"{at}tools", f"must not be empty when tool_choice is {mode}")
        return None  # without tools, "auto" and "none" say nothing, and some engines refuse them
    parallel = choice.parallel_tool_calls if choice.HasField("parallel_tool_calls") else None
    return ToolChoice(mode=mode, name=choice.name or None, parallel=parallel)


def _response_format(message: pb.GenerateRequest, checks: Checks, at: str) -> ResponseFormat | None:
    form = message.response_format
    kind = form.WhichOneof("format")
    if kind is None:
        checks.add(f"{at}response_format", "must hold text, json_object or json_schema")
    elif kind == "json_schema":
        schema = form.json_schema
        path = f"{at}response_format.json_schema"
        checks.text(f"{path}.name", schema.name, required=True, limit=64)
        checks.json_object(f"{path}.schema_json", schema.schema_json)
        return ResponseFormat(
            kind="json_schema",
            name=schema.name,
            schema=msgspec.Raw(schema.schema_json),
            strict=schema.strict or None,
            description=schema.description or None,
        )
    elif not getattr(form, kind):
        checks.add(f"{at}response_format.{kind}", "must be true where it is set")
    elif kind == "json_object":
        return ResponseFormat(kind="json_object")
    return None


def _sampling(sampling: pb.Sampling, checks: Checks, at: str) -> Sampling:
    given = {field.name for field, _ in sampling.ListFields()}

    def real(name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> float | None:
        if name not in given:
            return None
        return checks.number(f"{at}.{name}", getattr(sampling, name), low=low, high=high, open_low=open_low)

    def whole(name: str, low: int, high: float = math.inf) -> int | None:
        number = real(name, low, high)
        return None if number is None else int(number)

    if checks.count(f"{at}.stop", len(sampling.stop), MAX_STOPS):
        for i, stop in enumerate(sampling.stop):
            if not 1 <= len(stop) <= MAX_STOP_CHARS:
                checks.add(f"{at}.stop[{i}]", f"must have 1 to {MAX_STOP_CHARS} characters, not {len(stop)}")
    top_logprobs = whole("top_logprobs", 0, 20)
    if "top_logprobs" in given and not sampling.logprobs:
        checks.add(f"{at}.top_logprobs", "needs logprobs to be true")
    effort = checks.text(f"{at}.reasoning_effort", sampling.reasoning_effort, limit=32)
    return Sampling(
        max_output_tokens=whole("max_output_tokens", 1),
        temperature=real("temperature", 0, 2),
        top_p=real("top_p", 0, 1, open_low=True),
        top_k=whole("top_k", 1),
        stop=tuple(sampling.stop),
        seed=sampling.seed if "seed" in given else None,
        presence_penalty=real("presence_penalty", -2, 2),
        frequency_penalty=real("frequency_penalty", -2, 2),
        repetition_penalty=real("repetition_penalty", 0, open_low=True),
        min_p=real("min_p", 0, 1),
        logprobs=sampling.logprobs,
        top_logprobs=top_logprobs,
        reasoning_effort=effort or None,
    )


def _metadata(message: pb.GenerateRequest, checks: Checks, at: str) -> None:
    if (size := message.metadata.ByteSize()) > MAX_METADATA_BYTES:
        checks.add(f"{at}metadata", f"must have at most {MAX_METADATA_BYTES} bytes, not {size}")


def _unknown(number: int) -> str:
    return "must be set" if number == 0 else f"is no value of this enum: {number}"
