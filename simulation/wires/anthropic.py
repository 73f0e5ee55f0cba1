"""An emulated Anthropic API: the Messages endpoint in both of its versions, the list of models, limits and errors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec

from simulation.answer import plan
from simulation.http import Exchange
from simulation.wire import encode
from simulation.wires.anthropic_answer import AnswerWriter
from simulation.wires.anthropic_checks import STATUS_OF, error_body, refusal
from simulation.wires.anthropic_request import VERSIONS, Request, parse
from simulation.wires.serving import HttpWire, WireError

MODELS: Mapping[str, int] = MappingProxyType({"claude-emulated": 200_000, "claude-emulated-small": 2_000})
KEY = "sk-ant-emulated"
KEPT_PREFIXES = 64
REQUESTS_PER_MINUTE = 50
_KIND_OF = {status: kind for kind, status in STATUS_OF.items()}
_MALFORMED = b"event: content_block_delta\ndata: {not of this wire\n\n"


class EmulatedAnthropic(HttpWire):
    """See the module. It takes its `key` in either header, as the vendor does."""

    def __init__(self, *, key: str = KEY, models: Mapping[str, int] = MODELS) -> None:
        super().__init__()
        self.key = key
        self._models = models
        self._serial = 0
        self._prefixes: OrderedDict[str, None] = OrderedDict()

    def handle(self, exchange: Exchange) -> None:
        version = exchange.headers.get("anthropic-version", "")
        self._check_caller(exchange, version)
        route = (exchange.method, exchange.path)
        if route == ("GET", "/v1/models"):
            exchange.respond(200, self._listed(), **self._headers())
        elif route == ("POST", "/v1/messages"):
            self._create(exchange, version)
        else:
            raise refusal("not_found_error", "Not found")

    def _check_caller(self, exchange: Exchange, version: str) -> None:
        bearer = exchange.headers.get("authorization", "").removeprefix("Bearer ")
        key = exchange.headers.get("x-api-key") or bearer
        if not key:
            raise refusal("authentication_error", "x-api-key header is required")
        if key != self.key:
            raise refusal("authentication_error", "invalid x-api-key")
        if not version:
            raise refusal("invalid_request_error", "anthropic-version: header is required")
        if version not in VERSIONS:
            raise refusal("invalid_request_error", f'anthropic-version: "{version}" is not a valid version')

    def _create(self, exchange: Exchange, version: str) -> None:
        self.note(exchange, msgspec.json.decode(exchange.body))
        if self.faults.status:
            raise self._fault()
        request = parse(exchange.body, version=version)
        window = self._models.get(request.model)
        if window is None:
            raise refusal("not_found_error", f"model: {request.model}")
        if request.prompt_tokens > window:
            raise refusal(
                "invalid_request_error", f"prompt is too long: {request.prompt_tokens} tokens > {window} maximum"
            )
        ask = replace(request.ask, label=request.model, room=window - request.prompt_tokens)
        self._serial += 1
        read, written = self._cached(request)
        writer = AnswerWriter(request, plan(ask), serial=self._serial, cache_read=read, cache_write=written)
        if request.stream:
            error = b"event: error\ndata: " + error_body(self.faults.code or "overloaded_error", "Overloaded") + b"\n\n"
            self.play(exchange, writer.pieces(), error=error, malformed=_MALFORMED, **self._headers())
        else:
            exchange.respond(200, writer.body(), **self._headers())

    def _fault(self) -> WireError:
        status, code = self.faults.status, self.faults.code
        kind = code if code in STATUS_OF else _KIND_OF.get(status, "api_error")
        body = error_body(kind, f"Emulated {kind}", error_code="" if code in STATUS_OF else code)
        return WireError(status, body, {**self._headers(), **self.faults.headers})

    def _cached(self, request: Request) -> tuple[int, int]:
        """Tokens read from the cache of prompts and written to it."""
        if request.cached_prefix is None:
            return 0, 0
        prefix, tokens = request.cached_prefix
        tokens = min(tokens, request.prompt_tokens)
        if prefix in self._prefixes:
            self._prefixes.move_to_end(prefix)
            return tokens, 0
        self._prefixes[prefix] = None
        if len(self._prefixes) > KEPT_PREFIXES:
            self._prefixes.popitem(last=False)
        return 0, tokens

    def _listed(self) -> bytes:
        models = [
            {
                "type": "model",
                "id": name,
                "display_name": f"Emulated {name}",
                "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": window,
                "max_tokens": window,
            }
            for name, window in self._models.items()
        ]
        names = list(self._models)
        return encode({"data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]})

    def _headers(self) -> dict[str, str]:
        """Sent with every answer, errors included."""
        reset = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        limits = {"requests": REQUESTS_PER_MINUTE, "input-tokens": 40_000, "output-tokens": 8_000, "tokens": 48_000}
        headers = {"request-id": "req_emulated", "anthropic-organization-id": "emulated"}
        for what, limit in limits.items():
            used = self._serial % limit if what == "requests" else 0  # full again in time: no caller is held up
            headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{what}-remaining"] = str(limit - used)
            headers[f"anthropic-ratelimit-{what}-reset"] = reset
        return headers
