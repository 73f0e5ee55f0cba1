"""The OpenAI wire, seen from the server: requests and errors.

Bodies are checked as far as an emulated model needs them; what it does not know it ignores, as real servers do.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from simulation.answer import Ask, count_tokens

IMAGE_TOKENS = 256
MESSAGE_TOKENS = 4
JSON_OBJECT = {
    "type": "object",
    "properties": {"emulated": {"const": True}, "answer": {"const": "no model has run"}},
    "required": ["emulated", "answer"],
}
encode = msgspec.json.encode


class WireError(Exception):
    """A request that is refused, as the OpenAI wire says it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.body = encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


class _Function(msgspec.Struct):
    name: str
    parameters: Any = None


class _Tool(msgspec.Struct):
    function: _Function


class _JsonSchema(msgspec.Struct):
    schema: Any = None


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: Any = None


class _Common(msgspec.Struct, kw_only=True):
    model: str
    stream: bool = False
    stream_options: _StreamOptions | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    seed: int | None = None
    n: int | None = None
    ignore_eos: bool = False


class _Chat(_Common, kw_only=True):
    messages: list[_Message]
    max_completion_tokens: int | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: _ResponseFormat | None = None
    logprobs: bool | None = None
    continue_final_message: bool = False


class _Completion(_Common, kw_only=True):
    prompt: str


_CHAT = msgspec.json.Decoder(_Chat)
_COMPLETION = msgspec.json.Decoder(_Completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that passed; `ask` lacks what only the server knows (the label and the room)."""

    model: str
    chat: bool
    stream: bool
    include_usage: bool
    logprobs: bool
    prompt_tokens: int
    ask: Ask


def parse(body: bytes, *, chat: bool) -> Request:
    """Reads a body.

    Raises:
        WireError: 400, naming the field where that is known.
    """
    try:
        read: _Chat | _Completion = _CHAT.decode(body) if chat else _COMPLETION.decode(body)
    except msgspec.DecodeError as error:
        text, _, path = str(error).partition(" - at `$.")
        raise WireError(400, text, param=path.rstrip("`") or None) from None
    if read.n not in {None, 1}:
        raise WireError(400, "only n = 1 is served", param="n")
    wanted = read.max_tokens
    if isinstance(read, _Chat) and read.max_completion_tokens is not None:
        wanted = read.max_completion_tokens
    if wanted is not None and wanted < 1:
        raise WireError(400, f"max_tokens must be at least 1, got {wanted}", param="max_tokens")
    stop = (read.stop,) if isinstance(read.stop, str) else tuple(read.stop or ())
    said = read.prompt if isinstance(read, _Completion) else read.messages
    seed = zlib.crc32(encode(said)) if read.seed is None else read.seed
    ask = Ask(label="", seed=seed, room=0, max_tokens=wanted, exact=read.ignore_eos, stop=stop)
    tokens, logprobs = 0, False
    if isinstance(read, _Chat):
        if not read.messages:
            raise WireError(400, "messages must not be empty", param="messages")
        logprobs = bool(read.logprobs)
        tokens = sum(map(_message_tokens, read.messages))
        ask = _with_chat(ask, read)
        if read.tools:
            tokens += count_tokens(len(encode(read.tools)))
    else:
        tokens = max(1, count_tokens(len(read.prompt)))
    options = read.stream_options
    return Request(
        model=read.model,
        chat=chat,
        stream=read.stream,
        include_usage=options is not None and options.include_usage,
        logprobs=logprobs,
        prompt_tokens=tokens,
        ask=ask,
    )


def _with_chat(ask: Ask, read: _Chat) -> Ask:
    schema: Any = None
    if read.response_format is not None and read.response_format.type == "json_object":
        schema = JSON_OBJECT
    elif read.response_format is not None and read.response_format.type == "json_schema":
        wanted = read.response_format.json_schema
        if wanted is None or wanted.schema is None:
            raise WireError(400, "a JSON schema is missing", param="response_format.json_schema.schema")
        schema = wanted.schema
    tools = tuple((tool.function.name, tool.function.parameters) for tool in read.tools or ())
    call, name = False, ""
    choice = read.tool_choice
    if isinstance(choice, dict):
        name = str(choice.get("function", {}).get("name", ""))
        if name not in dict(tools):
            raise WireError(400, f"tool_choice names '{name}', which is not among the tools", param="tool_choice")
        call = True
    elif choice == "required":
        call = True
    elif choice in {None, "auto"} and tools and read.messages[-1].role == "user":
        said = _text(read.messages[-1]).lower()
        name = next((tool for tool, _ in tools if is_asked_for(tool, said)), "")
        call = bool(name)
    continues = read.continue_final_message
    return replace(ask, schema=schema, tools=tools, call=call, call_name=name, continues=continues)


def is_asked_for(tool: str, said: str) -> bool:
    """Whether words (in lower case) speak of a tool: what an emulated model goes by."""
    words = tool.replace("-", "_").lower().split("_")
    return any(len(word) > 3 and word in said for word in words)


def _text(message: _Message) -> str:
    if isinstance(message.content, list):
        return " ".join(str(part.get("text", "")) for part in message.content)
    return message.content or ""


def _message_tokens(message: _Message) -> int:
    images = (
        sum(part.get("type") == "image_url" for part in message.content) if isinstance(message.content, list) else 0
    )
    calls = count_tokens(len(encode(message.tool_calls))) if message.tool_calls else 0
    return MESSAGE_TOKENS + count_tokens(len(_text(message))) + images * IMAGE_TOKENS + calls
