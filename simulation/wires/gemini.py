"""An emulated Gemini API and Vertex AI: models, generateContent, and its stream as events or as a JSON array."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import parse_qs, unquote

import msgspec

from simulation.answer import plan
from simulation.http import Exchange
from simulation.wire import encode
from simulation.wires.gemini_answer import AnswerWriter
from simulation.wires.gemini_errors import error_body, fault, refusal
from simulation.wires.gemini_request import parse
from simulation.wires.serving import HttpWire

MODELS: Mapping[str, int] = MappingProxyType({"gemini-3-emulated": 1_048_576, "gemini-2.5-emulated": 2_000})
KEY = "AIza-emulated-key"
BEARER = "ya29.emulated-token"

_VERSION = r"/v1(?:alpha|beta|beta1)?"
_LIST = re.compile(rf"{_VERSION}/models")
_PARENT = r"(?P<parent>projects/[^/]+/locations/[^/]+/)?(?P<google>publishers/google/)?"
_GENERATE = re.compile(rf"{_VERSION}/{_PARENT}models/(?P<model>[^/:]+):(?P<method>\w+)")
_MALFORMED = b"data: {not of this wire\r\n\r\n"


class GeminiServer(HttpWire):
    """See the module. The Gemini API and Vertex AI's express mode take the key, the rest of Vertex AI a bearer token.

    Attributes:
        finish: a finish reason to end every answer with.
        blocks_prompts: every prompt is refused, in an answer without a candidate.
        bare_errors: an error inside a stream stands in it as it is, and not as an event.
    """

    def __init__(self, *, models: Mapping[str, int] = MODELS, key: str = KEY, bearer: str = BEARER) -> None:
        super().__init__()
        self._key = key
        self._bearer = bearer
        self._models = models
        self._serial = 0
        self.finish = ""
        self.blocks_prompts = False
        self.bare_errors = False

    def handle(self, exchange: Exchange) -> None:
        path = unquote(exchange.path)
        asked = _GENERATE.fullmatch(path)
        self._check_caller(exchange, by_token=asked is not None and asked["parent"] is not None)
        if exchange.method == "GET" and _LIST.fullmatch(path):
            exchange.respond(200, self._listed())
        elif exchange.method == "POST" and asked is not None:
            self._generate(exchange, asked)
        else:
            raise refusal(404, f"{exchange.method} {path} is not served.")

    def _check_caller(self, exchange: Exchange, *, by_token: bool) -> None:
        key = exchange.headers.get("x-goog-api-key", "")
        if by_token:
            if exchange.headers.get("authorization", "") != f"Bearer {self._bearer}":
                raise fault(401, "ACCESS_TOKEN_TYPE_UNSUPPORTED", {})
        elif not key:
            raise fault(403, "", {})
        elif key != self._key:
            raise fault(400, "API_KEY_INVALID", {})

    def _generate(self, exchange: Exchange, asked: re.Match[str]) -> None:
        self.seen.append(
            {
                "path": unquote(exchange.path),
                "query": exchange.query,
                "headers": dict(exchange.headers),
                "body": msgspec.json.decode(exchange.body),
            }
        )
        faults = self.faults
        if faults.status:
            raise fault(faults.status, faults.code, faults.headers)
        model = asked["model"]
        window = self._models.get(model)
        if window is None:
            raise refusal(404, self._unknown(asked, model))
        request = parse(exchange.body, model=model)
        if request.prompt_tokens > window:
            raise refusal(
                400,
                f"The input token count ({request.prompt_tokens}) exceeds the maximum number of tokens allowed "
                f"({window}).",
            )
        self._serial += 1
        ask = replace(request.ask, label=model, room=window - request.prompt_tokens)
        writer = AnswerWriter(request, plan(ask), serial=self._serial, finish=self.finish, blocks=self.blocks_prompts)
        if asked["method"] == "generateContent":
            exchange.respond(200, encode(writer.body()), content_type="application/json; charset=UTF-8")
        elif asked["method"] != "streamGenerateContent":
            raise refusal(404, f"{asked['method']} is not served.")
        elif parse_qs(exchange.query).get("alt") != ["sse"]:
            exchange.respond(200, encode(list(writer.responses())), content_type="application/json; charset=UTF-8")
        else:
            body = error_body(503, "The model is overloaded. Please try again later.")
            error = body + b"\r\n" if self.bare_errors else b"data: " + body + b"\r\n\r\n"
            self.play(exchange, writer.pieces(), error=error, malformed=_MALFORMED, content_type="text/event-stream")

    @staticmethod
    def _unknown(asked: re.Match[str], model: str) -> str:
        if asked["google"]:
            return f"Publisher Model `{asked['parent'] or ''}publishers/google/models/{model}` not found."
        return (
            f"models/{model} is not found for API version v1beta, or is not supported for generateContent. Call "
            "ModelService.ListModels to see the list of available models and their supported methods."
        )

    def _listed(self) -> bytes:
        models = [
            {
                "name": f"models/{name}",
                "version": "emulated",
                "displayName": f"Emulated {name}",
                "inputTokenLimit": window,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for name, window in self._models.items()
        ]
        return encode({"models": models})
