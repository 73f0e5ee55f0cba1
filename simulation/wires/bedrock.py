"""An emulated Bedrock runtime: Converse and ConverseStream, signed requests, errors outside and inside of a stream."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import msgspec

from simulation.answer import CHARS_PER_TOKEN, Answer, plan
from simulation.http import Exchange
from simulation.wire import encode
from simulation.wires import event_stream
from simulation.wires.aws_signature import API_KEY, Callers, refusal
from simulation.wires.bedrock_request import Parser, Request, invalid, signature_of
from simulation.wires.serving import HttpWire, Piece, WireError

REGION = "us-east-1"
MODELS: Mapping[str, int] = MappingProxyType(
    {
        "anthropic.claude-3-haiku-20240307-v1:0": 200_000,
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0": 200_000,
        "us.anthropic.claude-opus-4-8-v1": 200_000,
        "us.amazon.nova-2-lite-v1:0": 300_000,
        "openai.gpt-oss-120b-1:0": 128_000,
        "meta.llama3-70b-instruct-v1:0": 2_000,
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123": 8_000,
    }
)
STATUS_OF: Mapping[str, int] = MappingProxyType(
    {
        "ValidationException": 400,
        "ServiceQuotaExceededException": 400,
        "AccessDeniedException": 403,
        "ExpiredTokenException": 403,
        "ResourceNotFoundException": 404,
        "ModelTimeoutException": 408,
        "ModelErrorException": 424,
        "ThrottlingException": 429,
        "ModelNotReadyException": 429,
        "InternalServerException": 500,
        "ServiceUnavailableException": 503,
    }
)
THOUGHTS = ("Emulated thoughts: ", "nobody ", "thinks.")
_CODE_OF = {status: code for code, status in reversed(tuple(STATUS_OF.items()))}
_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_PADDING = string.ascii_letters + string.digits


class EmulatedBedrock(HttpWire):
    """See the module.

    Attributes:
        callers: whose signatures are good; the API key is `aws_signature.API_KEY`.
        cache_read: tokens of each prompt that are read from a cache.
        stop_reason: ends every answer, in place of its own; "" for its own.
        frames: what every stream consists of, in place of an answer; None for an answer.
    """

    def __init__(self, *, models: Mapping[str, int] = MODELS) -> None:
        super().__init__()
        self.callers = Callers("bedrock", REGION, api_keys=frozenset({API_KEY}))
        self.cache_read = 0
        self.stop_reason = ""
        self.frames: list[bytes] | None = None
        self._models = models
        self._parser = Parser()
        self._serial = 0

    def handle(self, exchange: Exchange) -> None:
        root, model, operation = ("", "", "")
        if exchange.path.count("/") == 3:  # a model's id is one segment, however it is written
            root, model, operation = exchange.path[1:].split("/")
        if exchange.method != "POST" or root != "model" or operation not in ("converse", "converse-stream"):
            raise refusal(404, "UnknownOperationException", "Unknown operation")
        body = msgspec.json.decode(exchange.body) if exchange.body else {}
        self.seen.append({"path": exchange.path, "headers": dict(exchange.headers), "body": body})
        self.callers.check(exchange)
        self._serial += 1
        if self.faults.status:
            raise self._fault()
        self._converse(exchange, unquote(model), is_stream=operation == "converse-stream")

    def _converse(self, exchange: Exchange, model: str, *, is_stream: bool) -> None:
        window = self._models.get(model)
        if window is None:
            raise invalid("The provided model identifier is invalid.")
        request = self._parser.parse(
            exchange.body, model=model, operation="ConverseStream" if is_stream else "Converse"
        )
        if request.prompt_tokens > window:
            raise invalid(f"prompt is too long: {request.prompt_tokens} tokens > {window} maximum")
        ask = replace(request.ask, label=model, room=window - request.prompt_tokens)
        writer = _Writer(request, plan(ask), serial=self._serial, cache_read=self.cache_read, stop=self.stop_reason)
        headers = {"x_amzn_requestid": f"emulated-{self._serial}"}
        if not is_stream:
            exchange.respond(200, writer.body(), **headers)
            return
        pieces = [Piece(frame) for frame in self.frames] if self.frames is not None else list(writer.pieces())
        code = self.faults.code or "throttlingException"
        self.play(
            exchange,
            pieces,
            error=event_stream.exception(code, encode({"message": f"Emulated {code}", "p": "abc"})),
            malformed=event_stream.spoilt(event_stream.event("contentBlockDelta", b'{"delta":{"text":"spoilt"}}')),
            content_type="application/vnd.amazon.eventstream",
            **headers,
        )

    def _fault(self) -> WireError:
        code = self.faults.code or _CODE_OF.get(self.faults.status, "InternalServerException")
        headers = {name.replace("-", "_"): value for name, value in self.faults.headers.items()}
        return refusal(self.faults.status, code, f"Emulated {code}", **headers)


class _Writer:
    """Formats one answer, as a stream or whole."""

    def __init__(self, request: Request, answer: Answer, *, serial: int, cache_read: int, stop: str) -> None:
        self._request = request
        self._answer = answer
        self._serial = serial
        self._cache_read = min(cache_read, request.prompt_tokens)
        self._stop = stop
        self._padding = 0

    def pieces(self) -> Iterator[Piece]:
        yield self._piece("messageStart", {"role": "assistant"})
        index = 0
        if self._request.thinks:
            for text in THOUGHTS:
                yield self._delta(index, {"reasoningContent": {"text": text}})
            signature = signature_of("".join(THOUGHTS))
            yield self._delta(index, {"reasoningContent": {"signature": signature}}, is_output=False)
            yield self._piece("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        if not self._answer.tools:
            for number in range(self._answer.tokens):
                yield self._delta(index, {"text": self._answer.piece(number)})
            yield self._piece("contentBlockStop", {"contentBlockIndex": index})
        for number, tool in enumerate(self._answer.tools):
            start = {"toolUse": {"toolUseId": self._call_id(number), "name": tool.name}}
            yield self._piece("contentBlockStart", {"contentBlockIndex": index, "start": start}, is_output=True)
            for at in range(0, len(tool.arguments), CHARS_PER_TOKEN):
                yield self._delta(index, {"toolUse": {"input": tool.arguments[at : at + CHARS_PER_TOKEN]}})
            yield self._piece("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        yield self._piece("messageStop", self._end())
        yield self._piece("metadata", {"usage": self._usage(), "metrics": {"latencyMs": 1}})

    def body(self) -> bytes:
        content: list[dict[str, Any]] = []
        if self._request.thinks:
            text = "".join(THOUGHTS)
            content.append({"reasoningContent": {"reasoningText": {"text": text, "signature": signature_of(text)}}})
        if not self._answer.tools:
            content.append({"text": self._answer.text})
        for number, tool in enumerate(self._answer.tools):
            arguments = msgspec.Raw(tool.arguments.encode())
            content.append({"toolUse": {"toolUseId": self._call_id(number), "name": tool.name, "input": arguments}})
        message = {"role": "assistant", "content": content}
        end = {"output": {"message": message}, **self._end(), "usage": self._usage(), "metrics": {"latencyMs": 1}}
        return encode(end)

    def _end(self) -> dict[str, Any]:
        stopped = self._answer.stop
        reason = self._stop or ("stop_sequence" if stopped else _STOP[self._answer.finish_reason])
        if stopped is None or not self._request.names_stop:
            return {"stopReason": reason}
        return {"stopReason": reason, "additionalModelResponseFields": {"stop_sequence": stopped}}

    def _usage(self) -> dict[str, int]:
        """What came from the cache is not part of the input."""
        prompt, output = self._request.prompt_tokens, self._answer.tokens
        return {
            "inputTokens": prompt - self._cache_read,
            "outputTokens": output,
            "totalTokens": prompt + output,
            "cacheReadInputTokens": self._cache_read,
            "cacheWriteInputTokens": 0,
        }

    def _delta(self, index: int, delta: dict[str, Any], *, is_output: bool = True) -> Piece:
        return self._piece("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}, is_output=is_output)

    def _piece(self, name: str, value: dict[str, Any], *, is_output: bool = False) -> Piece:
        """Every payload is padded, so that its length says little of what is in it."""
        self._padding = (self._padding * 7 + 5) % len(_PADDING)
        return Piece(event_stream.event(name, encode({**value, "p": _PADDING[: self._padding]})), is_output)

    def _call_id(self, number: int) -> str:
        return f"tooluse_emulated{self._serial:04x}{number}"
