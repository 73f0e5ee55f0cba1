"""A canonical request in Ollama's words.

A server left to itself cuts a prompt that is longer than its window and answers what is left as if nothing had
happened. So every request says `truncate: false` and `shift: false`: it is refused instead, and an answer that reaches
the end of the window ends there. Servers before 0.12.6 ignore both; `decode` catches them by their count of the prompt
where the backend's window (`num_ctx`) is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from backends.contract import GenerateRequest, ImagePart, Message, ResponseFormat, Sampling, Tool, ToolCall, ToolChoice
from backends.data_urls import inline
from backends.dialect import Dialect
from backends.errors import BadRequest, Unsupported
from backends.raw_json import object_of

_encode_json = msgspec.json.Encoder().encode
_as_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# Levels that every version takes; a model that only knows on and off takes each as on.
_THINK: dict[str, str | bool] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
}
# What stands beside `options` in a request, not in it.
_BESIDE = frozenset({"logprobs", "top_logprobs", "reasoning_effort", "stop"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one backend; None leaves it to the server."""

    num_ctx: int | None = None
    keep_alive: str | int | None = None


def encode(request: GenerateRequest, *, upstream_model: str, dialect: Dialect, settings: Settings) -> tuple[str, bytes]:
    """Path and body of the request.

    Raises:
        Unsupported: the request asks for something that this wire has no word for.
        BadRequest: it holds something that cannot be read.
    """
    body: dict[str, Any] = {"model": upstream_model, "stream": True, "truncate": False, "shift": False}
    if request.prompt is not None:
        path = "/api/generate"
        if request.tools or request.response_format is not None:
            raise _unsupported(dialect, "prompt", "tools and structured output need messages")
        body |= {"prompt": request.prompt, "raw": True}
    else:
        path = "/api/chat"
        body["messages"] = list(_messages(request.messages, dialect))
        body |= _tools(request, dialect)
        if request.response_format is not None and request.response_format.kind != "text":
            body["format"] = _format(request.response_format)
    options = dict(_options(request.sampling, dialect))
    if settings.num_ctx is not None:
        options["num_ctx"] = settings.num_ctx
    if options:
        body["options"] = options
    if settings.keep_alive is not None:
        body["keep_alive"] = settings.keep_alive
    body |= _beside_options(request.sampling, dialect)
    return path, _encode_json(body)


def _unsupported(dialect: Dialect, param: str, why: str) -> Unsupported:
    return Unsupported(f"{dialect.name} does not take {param}: {why}", param=param)


def _options(sampling: Sampling, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    for field, name in dialect.parameters.items():
        value = getattr(sampling, field)
        if value is not None and field not in _BESIDE:
            yield name, value
    if sampling.stop:
        yield dialect.parameters["stop"], list(sampling.stop)


def _beside_options(sampling: Sampling, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    if sampling.reasoning_effort is not None:
        think = _THINK.get(sampling.reasoning_effort)
        if think is None:
            raise _unsupported(dialect, "reasoning_effort", f"{sampling.reasoning_effort!r} is no level of it")
        yield "think", think
    if sampling.logprobs:
        yield "logprobs", True
        if sampling.top_logprobs is not None:
            yield "top_logprobs", sampling.top_logprobs


def _messages(messages: tuple[Message, ...], dialect: Dialect) -> Iterator[dict[str, Any]]:
    if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls:
        raise _unsupported(dialect, "messages", "whether an assistant's last message is continued depends on the model")
    called: dict[str, str] = {}
    for message in messages:
        text, images = _content(message, dialect)
        wire: dict[str, Any] = {"role": message.role, "content": text}
        if images:
            wire["images"] = images
        if message.role == "tool":
            if message.tool_call_id is not None:
                wire["tool_call_id"] = message.tool_call_id
            name = message.name or called.get(message.tool_call_id or "")
            if name:
                wire["tool_name"] = name
        elif message.name is not None:
            raise _unsupported(dialect, "messages[].name", "participants have no names")
        thinking = "".join(block.text for block in message.reasoning)
        if thinking:
            wire["thinking"] = thinking
        if message.tool_calls:
            called |= {call.id: call.name for call in message.tool_calls}
            wire["tool_calls"] = [_call(call) for call in message.tool_calls]
        yield wire


def _content(message: Message, dialect: Dialect) -> tuple[str, list[str]]:
    """Text and images apart, as this wire has them; texts that images stood between are told apart by a line."""
    if isinstance(message.content, str):
        return message.content, []
    texts: list[str] = []
    images: list[str] = []
    for part in message.content:
        if not isinstance(part, ImagePart):
            texts.append(part.text)
            continue
        try:
            image = inline(part.url)
        except ValueError as error:
            raise BadRequest(str(error), param="messages[].content") from error
        if image is None:
            raise _unsupported(dialect, "messages[].content", "images by address, only as a data URL")
        images.append(image.base64)
    return "\n".join(texts), images


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = _as_object(object_of(call.arguments))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(
            f"the arguments of the call of {call.name!r} are no JSON object", param="messages[].tool_calls"
        ) from error
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tools(request: GenerateRequest, dialect: Dialect) -> dict[str, Any]:
    choice = request.tool_choice or ToolChoice()
    if choice.mode in ("required", "function"):
        raise _unsupported(dialect, "tool_choice", "a tool cannot be forced")
    if choice.parallel is False:
        raise _unsupported(dialect, "parallel_tool_calls", "the model decides how many it makes")
    if not request.tools or choice.mode == "none":  # what is not offered is not called
        return {}
    return {"tools": [{"type": "function", "function": _function(tool)} for tool in request.tools]}


def _function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description or ""}
    function["parameters"] = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    return function


def _format(wanted: ResponseFormat) -> Any:
    return wanted.schema if wanted.kind == "json_schema" and wanted.schema is not None else "json"
