"""An emulated Ollama server: /api/chat and /api/generate as lines of JSON, and what tells how the server is.

It behaves as version 0.40 does, with two habits of older versions to be switched on: prompts that are cut to the window
whatever the request says, and prompts that are not counted when they were in the cache.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from simulation.answer import CHARS_PER_TOKEN, Answer, Ask, count_tokens, plan
from simulation.http import Exchange
from simulation.wire import IMAGE_TOKENS, JSON_OBJECT, MESSAGE_TOKENS, is_asked_for
from simulation.wires.serving import HttpWire, Piece, WireError

VERSION = "0.40.2"
LABEL = "Ollama"
DEFAULT_NUM_CTX = 4096
THOUGHT = ("Emulated ", "thoughts: ", "nobody ", "thinks.")
_LEVELS = frozenset({"low", "medium", "high", "minimal", "max"})
_DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")
_STATUS_WORDS = {
    401: "unauthorized",
    429: "you have reached your hourly usage limit, please try again later",
    500: "llama runner process has terminated: exit status 2",
    503: "server busy, please try again.  maximum pending requests exceeded",
}


class _Function(msgspec.Struct):
    name: str
    description: str = ""
    parameters: Any = None


class _Tool(msgspec.Struct):
    function: _Function
    type: str = "function"


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


class _Called(msgspec.Struct):
    function: _CalledFunction


class _Message(msgspec.Struct):
    role: str
    content: str = ""
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[_Called] = []
    tool_name: str = ""


class _Options(msgspec.Struct):
    """Numbers come as JSON numbers; `num_ctx` is the window that the model is loaded with."""

    num_ctx: int = DEFAULT_NUM_CTX
    num_predict: int = -1
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: list[str] = []


class _Request(msgspec.Struct):
    model: str = ""
    messages: list[_Message] | None = None
    prompt: str = ""
    raw: bool = False
    stream: bool | None = None
    format: Any = None
    options: _Options | None = None
    keep_alive: str | float | None = None
    tools: list[_Tool] | None = None
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0


_decode = msgspec.json.Decoder(_Request).decode


class OllamaServer(HttpWire):
    """One emulated server.

    Args:
        models: by name, tag included, what each can do beside completing: "tools", "vision", "thinking".
        key: the bearer token that is wanted, as Ollama's cloud does; "" for a server of one's own.

    Attributes:
        loaded: the models in memory.
        cuts_prompts: cuts a long prompt whatever the request says, as versions before 0.12.6 do.
        counts_prompts: False leaves the prompt's count out, as older versions do for a prompt in the cache.
    """

    def __init__(self, models: dict[str, frozenset[str]], *, key: str = "") -> None:
        super().__init__()
        self.models = models
        self.loaded: list[str] = []
        self.cuts_prompts = False
        self.counts_prompts = True
        self._key = key

    def handle(self, exchange: Exchange) -> None:
        route = (exchange.method, exchange.path)
        if self._key and exchange.headers.get("authorization") != f"Bearer {self._key}":
            raise _refusal(401, "unauthorized")
        if route == ("GET", "/api/version"):
            exchange.respond(200, _line({"version": VERSION}))
        elif route == ("GET", "/api/tags"):
            exchange.respond(200, _line({"models": [_about(name) for name in self.models]}))
        elif route == ("GET", "/api/ps"):
            exchange.respond(200, _line({"models": [_about(name) | _in_memory() for name in self.loaded]}))
        elif route in {("POST", "/api/chat"), ("POST", "/api/generate")}:
            self._generate(exchange, is_chat=exchange.path == "/api/chat")
        else:
            exchange.respond(404, b"404 page not found", content_type="text/plain")

    def _generate(self, exchange: Exchange, *, is_chat: bool) -> None:
        try:
            request = _decode(exchange.body)
            self.seen.append({"path": exchange.path, "headers": exchange.headers, **json.loads(exchange.body)})
        except msgspec.DecodeError as error:
            raise _refusal(400, f"json: {error}") from None
        if self.faults.status:
            words = self.faults.code or _STATUS_WORDS.get(self.faults.status, "a fault that was asked for")
            raise WireError(self.faults.status, _line({"error": words}), self.faults.headers)
        name = request.model if ":" in request.model else f"{request.model}:latest"
        self._check(request, name)
        options = request.options or _Options()
        tokens = self._prompt_tokens(request, options)
        if name not in self.loaded:
            self.loaded.append(name)
        if not request.messages and not request.prompt:
            exchange.respond(200, _line(self._part(request, is_chat, "") | {"done": True, "done_reason": "load"}))
            return
        answer = plan(_ask(request, options, room=options.num_ctx - min(tokens, options.num_ctx - 1)))
        parts = self._parts(request, answer, is_chat=is_chat)
        last = self._part(request, is_chat, "") | self._end(request, answer, tokens)
        if request.stream is False:
            exchange.respond(200, _line(_joined(parts, last)), content_type="application/json; charset=utf-8")
            return
        pieces = [*(Piece(_line(part), is_output=True) for part in parts), Piece(_line(last))]
        self.play(
            exchange,
            pieces,
            error=_line({"error": "an error was encountered while running the model"}),
            malformed=b'{"model":\n',
            content_type="application/x-ndjson",
        )

    def _check(self, request: _Request, name: str) -> None:
        """Raises WireError for what the server or the model does not take."""
        if not request.model:
            raise _refusal(400, "model is required")
        can = self.models.get(name)
        if can is None:
            raise _refusal(404, f"model '{request.model}' not found")
        if isinstance(request.think, str) and request.think not in _LEVELS:
            raise _refusal(400, f'invalid think value: "{request.think}"')
        if request.think and "thinking" not in can:
            raise _refusal(400, f'"{request.model}" does not support thinking')
        if request.tools and "tools" not in can:
            raise _refusal(400, f"registry.ollama.ai/library/{name} does not support tools")
        if isinstance(request.keep_alive, str) and not _DURATION.fullmatch(request.keep_alive):
            raise _refusal(400, f'time: invalid duration "{request.keep_alive}"')
        if request.format is not None and request.format not in ("", "json") and not isinstance(request.format, dict):
            raise _refusal(400, f'invalid format: {json.dumps(request.format)}; expected "json" or a valid JSON Schema')
        for image in (image for message in request.messages or () for image in message.images):
            try:
                base64.b64decode(image, validate=True)
            except binascii.Error:
                raise _refusal(400, "illegal base64 data at input byte 0") from None
            if "vision" not in can:
                raise _quoted("Multimodal data provided, but model does not support multimodal requests.")

    def _prompt_tokens(self, request: _Request, options: _Options) -> int:
        tokens = count_tokens(len(request.prompt)) + sum(map(_message_tokens, request.messages or ()))
        tokens += sum(count_tokens(len(msgspec.json.encode(tool))) for tool in request.tools or ())
        if tokens < options.num_ctx:
            return tokens
        if request.truncate is False and not self.cuts_prompts:
            raise _quoted(
                f"request ({tokens} tokens) exceeds the available context size ({options.num_ctx} tokens), try "
                "increasing it",
                kind="exceed_context_size_error",
            )
        return options.num_ctx

    def _part(self, request: _Request, is_chat: bool, text: str, **more: Any) -> dict[str, Any]:  # noqa: FBT001 - private
        said = {"message": {"role": "assistant", "content": text, **more}} if is_chat else {"response": text, **more}
        return {"model": request.model, "created_at": "2026-11-23T12:00:00.123456789Z", **said, "done": False}

    def _parts(self, request: _Request, answer: Answer, *, is_chat: bool) -> list[dict[str, Any]]:
        parts = []
        can = self.models[request.model if ":" in request.model else f"{request.model}:latest"]
        if "thinking" in can and request.think is not False:
            parts += [self._part(request, is_chat, "", thinking=word) for word in THOUGHT]
        # A call that the token limit cut is no call to this server: nothing of it is passed on.
        calls = answer.tools if answer.finish_reason != "length" else ()
        for index, tool in enumerate(calls):
            function = {"index": index, "name": tool.name, "arguments": json.loads(tool.arguments)}
            call = {"id": f"call_emul{index:04d}", "function": function}
            parts.append(self._part(request, is_chat, "", tool_calls=[call]))
        for start in range(0, len(answer.text), CHARS_PER_TOKEN):
            token = answer.text[start : start + CHARS_PER_TOKEN]
            part = self._part(request, is_chat, token)
            if request.logprobs:
                part["logprobs"] = [_logprob(token, request.top_logprobs)]
            parts.append(part)
        return parts

    def _end(self, request: _Request, answer: Answer, prompt_tokens: int) -> dict[str, Any]:
        count = {"prompt_eval_count": prompt_tokens} if self.counts_prompts else {}
        return {
            "done": True,
            "done_reason": "length" if answer.finish_reason == "length" else "stop",
            "total_duration": 3_000_000_000,
            "load_duration": 500_000_000,
            **count,
            "prompt_eval_duration": 250_000_000,
            "eval_count": answer.tokens + (len(THOUGHT) if request.think else 0),
            "eval_duration": 2_000_000_000,
        }


def _ask(request: _Request, options: _Options, *, room: int) -> Ask:
    last = request.messages[-1] if request.messages else _Message(role="user", content=request.prompt)
    tools = tuple((tool.function.name, tool.function.parameters) for tool in request.tools or ())
    said = last.content.lower() if last.role == "user" else ""
    name = next((tool for tool, _ in tools if is_asked_for(tool, said)), "")
    schema = JSON_OBJECT if request.format == "json" else request.format or None
    seed = zlib.crc32(msgspec.json.encode([request.messages, request.prompt]))
    return Ask(
        label=f"{LABEL} {VERSION}",
        seed=seed if options.seed is None else options.seed,
        room=max(1, room),
        max_tokens=options.num_predict if options.num_predict > 0 else None,
        stop=tuple(options.stop),
        schema=schema,
        tools=tools,
        call=bool(name),
        call_name=name,
        continues=request.raw,
    )


def _message_tokens(message: _Message) -> int:
    return MESSAGE_TOKENS + count_tokens(len(message.content)) + IMAGE_TOKENS * len(message.images)


def _joined(parts: Sequence[dict[str, Any]], last: dict[str, Any]) -> dict[str, Any]:
    """All of an answer in one object."""
    said = [part.get("message", part) for part in parts]
    whole = last.get("message", last)
    key = "content" if "content" in whole else "response"
    whole[key] = "".join(part[key] for part in said)
    if thinking := "".join(part.get("thinking", "") for part in said):
        whole["thinking"] = thinking
    if calls := [call for part in said for call in part.get("tool_calls", ())]:
        whole["tool_calls"] = calls
    if logprobs := [entry for part in parts for entry in part.get("logprobs", ())]:
        last["logprobs"] = logprobs
    return last


def _logprob(token: str, top: int) -> dict[str, Any]:
    entry = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    return entry | ({"top_logprobs": [dict(entry)] * top} if top else {})


def _about(name: str) -> dict[str, Any]:
    details = {"parent_model": "", "format": "gguf", "family": "emulated", "families": ["emulated"]}
    details |= {"parameter_size": "0B", "quantization_level": "F16"}
    about = {"name": name, "model": name, "modified_at": "2026-11-01T00:00:00Z", "size": 0, "digest": "0" * 64}
    return about | {"details": details}


def _in_memory() -> dict[str, Any]:
    return {"expires_at": "2026-11-23T12:05:00Z", "size_vram": 0, "context_length": DEFAULT_NUM_CTX}


def _refusal(status: int, words: str) -> WireError:
    return WireError(status, _line({"error": words}))


def _quoted(words: str, *, kind: str = "invalid_request_error") -> WireError:
    """What the engine under this server refuses: its whole body, as text."""
    return _refusal(400, json.dumps({"error": {"code": 400, "message": words, "type": kind}}, separators=(",", ":")))


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"
