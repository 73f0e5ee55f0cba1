"""A canonical request in the words of one OpenAI-like dialect.

The upstream is always asked to stream, also for callers who want one answer: there is one path to test, and a stream
shows sooner that a server is sick. What a dialect cannot say is refused before anything is sent, because an answer
without the constraint that was asked for looks like a good answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from backends.call_ids import fitting_call_id
from backends.contract import GenerateRequest, ImagePart, Message, ResponseFormat, Tool, ToolChoice
from backends.errors import Unsupported
from backends.openai.profile import Profile

_encode_json = msgspec.json.Encoder().encode
_NINE_ALPHANUMERICS = re.compile(r"[A-Za-z0-9]{9}")

# Fields of Sampling in the order they are looked at; the wire's names come from the profile.
_OPTIONAL = (
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "reasoning_effort",
)


def encode(request: GenerateRequest, *, upstream_model: str, profile: Profile) -> tuple[str, bytes]:
    """Path and body of the request.

    Raises:
        Unsupported: the request asks for something this dialect has no word for.
    """
    body: dict[str, Any] = {"model": upstream_model, "stream": True}
    if request.prompt is not None:
        path = profile.completions_path
        if "text_completion" not in profile.capabilities:
            raise _unsupported(profile, "prompt", "messages only")
        body["prompt"] = request.prompt
        if request.tools or request.response_format is not None:
            raise _unsupported(profile, "prompt", "tools and structured output need messages")
    else:
        path = profile.chat_path
        body["messages"] = [_message(message, profile) for message in request.messages]
        _add_prefill(body, request.messages, profile)
        _add_tools(body, request, profile)
        if request.response_format is not None:
            body["response_format"] = _response_format(request.response_format, profile)
    if profile.stream_options:
        body["stream_options"] = dict(profile.stream_options)
    body.update(_sampling(request, profile, is_chat=request.prompt is None))
    if request.end_user is not None and profile.end_user is not None:
        body[profile.end_user] = request.end_user
    return path, _encode_json(body)


def _sampling(request: GenerateRequest, profile: Profile, *, is_chat: bool) -> Iterator[tuple[str, Any]]:
    sampling = request.sampling
    for field in _OPTIONAL:
        value = getattr(sampling, field)
        if value is not None:
            name = _name(field, profile)
            # The completions endpoint never learnt the newer name.
            yield name if is_chat or field != "max_output_tokens" else "max_tokens", value
    if sampling.stop:
        yield _name("stop", profile), list(sampling.stop)
    if sampling.logprobs:
        name = _name("logprobs", profile)
        if not is_chat:
            yield name, sampling.top_logprobs or 0
            return
        yield name, True
        if sampling.top_logprobs is not None:
            yield _name("top_logprobs", profile), sampling.top_logprobs


def _name(field: str, profile: Profile) -> str:
    name = profile.parameters.get(field)
    if name is None:
        raise _unsupported(profile, field)
    return name


def _unsupported(profile: Profile, param: str, why: str = "") -> Unsupported:
    return Unsupported(f"{profile.name} does not take {param}{': ' if why else ''}{why}", param=param)


def _message(message: Message, profile: Profile) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": _content(message, profile)}
    if message.name is not None:
        if not profile.message_names:
            raise _unsupported(profile, "messages[].name")
        wire["name"] = message.name
    if message.tool_call_id is not None:
        wire["tool_call_id"] = _tool_call_id(message.tool_call_id, profile)
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": _tool_call_id(call.id, profile),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    return wire


def _content(message: Message, profile: Profile) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ImagePart):
            if "vision" not in profile.capabilities:
                raise _unsupported(profile, "messages[].content", "no images")
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


def _add_prefill(body: dict[str, Any], messages: tuple[Message, ...], profile: Profile) -> None:
    """A trailing assistant message is the beginning of the answer, where the server can be told so."""
    if not messages or messages[-1].role != "assistant" or messages[-1].tool_calls:
        return
    if profile.prefill == "continue_final_message":
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    elif profile.prefill == "prefix":
        body["messages"][-1]["prefix"] = True


def _add_tools(body: dict[str, Any], request: GenerateRequest, profile: Profile) -> None:
    if request.tools:
        if "tools" not in profile.capabilities:
            raise _unsupported(profile, "tools")
        body["tools"] = [{"type": "function", "function": _function(tool)} for tool in request.tools]
    if request.tool_choice is not None and (request.tools or request.tool_choice.mode in ("required", "function")):
        body["tool_choice"] = _tool_choice(request.tool_choice, profile)
        if request.tool_choice.parallel is not None:
            if not profile.parallel_tool_calls:
                raise _unsupported(profile, "parallel_tool_calls")
            body["parallel_tool_calls"] = request.tool_choice.parallel


def _function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return function


def _tool_choice(choice: ToolChoice, profile: Profile) -> str | dict[str, Any]:
    if choice.mode == "function":
        return {"type": "function", "function": {"name": choice.name}}
    return profile.any_tool if choice.mode == "required" else choice.mode


def _response_format(wanted: ResponseFormat, profile: Profile) -> dict[str, Any]:
    if wanted.kind != "text" and wanted.kind not in profile.capabilities:
        raise _unsupported(profile, "response_format", wanted.kind)
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    schema: dict[str, Any] = {"name": wanted.name or "response"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.schema is not None:
        schema["schema"] = wanted.schema
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}
