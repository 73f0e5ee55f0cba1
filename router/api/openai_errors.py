"""Errors as HTTP answers that the official SDK turns into the right class and retries only where that can help."""

from __future__ import annotations

import logging
import math
from typing import Any

import msgspec

from router.api.rescue import http_status, openai_error
from router.errors import InvalidRequest, RouterError, ShuttingDown, Violation

HeaderList = list[tuple[bytes, bytes]]

_log = logging.getLogger(__name__)

# The SDK retries 408, 409, 429 and 5xx by itself; the router has tried other backends already, so it says what helps.
_WORTH_RETRYING = frozenset({408, 429, 502, 503, 504})
_NEVER_RETRY = frozenset({"insufficient_quota", "deadline_exceeded", "upstream_auth_failed", "upstream_model_missing"})
_PROTO, _BODY = "routing.", "router."
_JSON = (b"content-type", b"application/json")


def error_body(error: Exception, request_id: str) -> dict[str, Any]:
    """The nested object; an exception that nobody foresaw is logged here, and shows nothing of itself."""
    if not isinstance(error, RouterError):
        _log.error("unexpected error, request_id=%s", request_id, exc_info=error)
    return openai_error(_in_words_of_the_body(error), request_id)


def error_answer(error: Exception, request_id: str) -> tuple[int, HeaderList, bytes]:
    """Status, headers and body of an error."""
    status, body = http_status(error), error_body(error, request_id)
    retry_after_s = error.retry_after_s if isinstance(error, RouterError) else None
    worth = status in _WORTH_RETRYING and body["error"]["code"] not in _NEVER_RETRY
    headers = _headers(request_id, worth=worth)
    # For proxies: SHUTTING_DOWN is safe to send to another replica at once (config/envoy.yaml does).
    headers.append((b"x-router-reason", body["error"]["router"]["reason"].encode()))
    if retry_after_s is not None and math.isfinite(retry_after_s):
        wait_s = max(retry_after_s, 0.0)
        headers.append((b"retry-after", b"%d" % math.ceil(wait_s)))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(wait_s * 1000)))
    if isinstance(error, ShuttingDown):
        headers.append((b"connection", b"close"))
    return status, headers, msgspec.json.encode(body)


def _in_words_of_the_body(error: Exception) -> Exception:
    """What is found out behind the faces is named after the proto's `routing`; an HTTP body has it under `router`."""
    if not isinstance(error, InvalidRequest) or not any(v.field.startswith(_PROTO) for v in error.violations):
        return error
    renamed = [
        Violation(_BODY + v.field.removeprefix(_PROTO), v.description) if v.field.startswith(_PROTO) else v
        for v in error.violations
    ]
    return type(error)(*renamed, hint=error.hint)


def http_problem(status: int, code: str, message: str, request_id: str) -> tuple[int, HeaderList, bytes]:
    """An answer to what never became a request: a wrong path or method, a body too large or too slow."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    headers = _headers(request_id, worth=status in _WORTH_RETRYING)
    return status, headers, msgspec.json.encode({"error": error})


def _headers(request_id: str, *, worth: bool) -> HeaderList:
    retry = b"true" if worth else b"false"
    return [_JSON, (b"x-request-id", request_id.encode("latin-1", "replace")), (b"x-should-retry", retry)]
