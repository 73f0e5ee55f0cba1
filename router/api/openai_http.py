"""The OpenAI-compatible face as a bare ASGI application: what every OpenAI SDK and tool speaks, unchanged.

No framework: a streaming response of the usual one costs more than all the rest of the relay. Errors have one shape on
every path, for the SDK takes its exception's code and message from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import msgspec

from router.api.asgi import (
    BodyTooLargeError,
    CallerGoneError,
    HeaderList,
    Receive,
    Scope,
    Send,
    answer,
    read_body,
)
from router.api.authenticate import Authenticator
from router.api.openai_errors import error_answer, http_problem
from router.api.openai_exchange import Exchange
from router.api.wire.openai_report import Json
from router.api.wire.openai_request import decode_chat, decode_completion
from router.clock import Clock
from router.dispatch.directing import Directing
from router.dispatch.events import ModelListing
from router.domain.tenant import DEFAULT_TENANT
from router.errors import InvalidRequest, RouterError, UnknownModel, Violation

Readiness = Callable[[], tuple[bool, Json]]
Metrics = Callable[[], tuple[bytes, str]]
Whole = tuple[int, HeaderList, bytes]

_LONGEST_ID = 128
_MODELS = "/v1/models"
_POST = {"/v1/chat/completions": decode_chat, "/v1/completions": decode_completion}
_GET = ("/healthz", "/readyz", "/metrics", _MODELS)
_encode = msgspec.json.Encoder().encode


class OpenAiHttp:
    """The application; `readiness` says whether to send traffic here and why, `metrics` gives a body and its type.

    Without an authenticator everybody is the default tenant. Health and metrics are for everybody.
    """

    def __init__(
        self,
        director: Directing,
        *,
        clock: Clock,
        readiness: Readiness,
        metrics: Metrics,
        authenticator: Authenticator | None = None,
        max_body_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._director = director
        self._clock = clock
        self._readiness = readiness
        self._metrics = metrics
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes
        self._started_at = int(clock.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: HeaderList = scope["headers"]
        path: str = scope["path"]
        request_id = _request_id(headers)
        decode = _POST.get(path)
        if decode is None:
            await answer(send, *self._get(path, scope["method"], headers, request_id))
            return
        if scope["method"] != "POST":
            await answer(send, *_not_allowed(path, "POST", scope["method"], request_id))
            return
        try:
            tenant = self._tenant(headers)
            _check_headers(headers, self._max_body_bytes)
            body = await read_body(receive, limit=self._max_body_bytes)
            decoded = decode(body, headers, request_id=request_id, now=self._clock.monotonic(), tenant=tenant)
        except RouterError as error:
            await answer(send, *error_answer(error, request_id))
        except BodyTooLargeError:
            said = f"The body is larger than {self._max_body_bytes} bytes."
            # The server reads and drops the rest: closing on a caller who still sends would lose this answer.
            await answer(send, *http_problem(413, "body_too_large", said, request_id))
        except CallerGoneError:
            return
        else:
            exchange = Exchange(decoded, created=int(self._clock.time()), receive=receive, send=send)
            await exchange.run(self._director)

    def _tenant(self, headers: HeaderList) -> str:
        """The tenant of the request's key, before its body is read."""
        if self._authenticator is None:
            return DEFAULT_TENANT
        return self._authenticator.of_http(headers)

    def _get(self, path: str, method: str, headers: HeaderList, request_id: str) -> Whole:
        model = path.removeprefix(_MODELS + "/") if path.startswith(_MODELS + "/") else ""
        if path not in _GET and not model:
            said = f"Unknown URL: {method} {path}. Served are {', '.join((*_POST, *_GET))} and {_MODELS}/MODEL."
            return http_problem(404, "unknown_url", said, request_id)
        if method not in {"GET", "HEAD"}:
            return _not_allowed(path, "GET", method, request_id)
        if path == "/healthz":
            return _json(200, {"status": "alive"}, request_id)
        if path == "/readyz":
            ready, components = self._readiness()
            return _json(200 if ready else 503, {"ready": ready, **components}, request_id)
        if path == "/metrics":
            body, content_type = self._metrics()
            return 200, [(b"content-type", content_type.encode("latin-1"))], body
        try:
            self._tenant(headers)
        except RouterError as error:
            return error_answer(error, request_id)
        listings = self._director.models()
        if not model:
            return _json(200, {"object": "list", "data": [self._model(listing) for listing in listings]}, request_id)
        for listing in listings:
            if listing.id == model:
                return _json(200, self._model(listing), request_id)
        return error_answer(UnknownModel(f"The model '{model}' does not exist."), request_id)

    def _model(self, listing: ModelListing) -> Json:
        return {
            "id": listing.id,
            "object": "model",
            "created": self._started_at,
            "owned_by": "inference-router",
            "router": {
                "kind": listing.kind,
                "members": listing.members,
                "context_tokens": listing.context_tokens,
                "backends": listing.backends,
            },
        }


def _request_id(headers: HeaderList) -> str:
    """The caller's id where it is fit to be printed, else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            text = value.decode("latin-1").strip()
            if 1 <= len(text) <= _LONGEST_ID and text.isascii() and text.isprintable():
                return text
    return uuid.uuid4().hex


def _check_headers(headers: HeaderList, max_body_bytes: int) -> None:
    for name, value in headers:
        if name == b"content-length":
            if int(value) > max_body_bytes:
                raise BodyTooLargeError
        elif name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                shown = kind.decode("latin-1")
                raise InvalidRequest(Violation("content-type", f"must be application/json, not '{shown}'"))
        elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise InvalidRequest(Violation("content-encoding", "is not supported: send the body as it is"))


def _not_allowed(path: str, allowed: str, method: str, request_id: str) -> Whole:
    said = f"{method} is not allowed on {path}; use {allowed}."
    status, headers, body = http_problem(405, "method_not_allowed", said, request_id)
    return status, [*headers, (b"allow", b"GET, HEAD" if allowed == "GET" else allowed.encode())], body


def _json(status: int, value: Json, request_id: str) -> Whole:
    return status, [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())], _encode(value)
