"""What kind of failure a recorded error is, and how long it asks to wait: the design's error table, read once more.

The answer is a set of codes of `backends.errors`: one where the table is clear, two where a service's words leave it
open (a 404 may be about the model or about the request). It shares no table with `backends.failures`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_ANY_OF_A_STATUS = {
    400: {"BAD_REQUEST"},
    401: {"AUTH_FAILED"},
    402: {"QUOTA_EXHAUSTED"},
    403: {"AUTH_FAILED"},
    404: {"MODEL_NOT_SERVED"},
    408: {"TIMED_OUT"},
    409: {"BAD_REQUEST", "UPSTREAM_FAULT"},
    413: {"CONTEXT_TOO_LONG"},
    422: {"BAD_REQUEST"},
    424: {"UPSTREAM_FAULT"},
    429: {"RATE_LIMITED"},
    498: {"OVERLOADED"},
    501: {"BAD_REQUEST"},
    504: {"TIMED_OUT"},
    529: {"OVERLOADED"},
}
_BUSY_AT_503 = frozenset({"gemini", "ollama", "bedrock", "sagemaker"})

_OF_A_CODE = {
    "insufficient_quota": "QUOTA_EXHAUSTED",
    "credit_balance_exhausted": "QUOTA_EXHAUSTED",
    "enforced_spend_limit_reached": "QUOTA_EXHAUSTED",
    "billing_error": "QUOTA_EXHAUSTED",
    "context_length_exceeded": "CONTEXT_TOO_LONG",
    "exceed_context_size_error": "CONTEXT_TOO_LONG",
    "request_too_large": "CONTEXT_TOO_LONG",
    "content_filter": "CONTENT_FILTERED",
    "api_key_invalid": "AUTH_FAILED",
    "invalid_api_key": "AUTH_FAILED",
    "authentication_error": "AUTH_FAILED",
    "permission_error": "AUTH_FAILED",
    "permission_denied": "AUTH_FAILED",
    "unauthenticated": "AUTH_FAILED",
    "model_not_found": "MODEL_NOT_SERVED",
    "invalid_model": "MODEL_NOT_SERVED",
    "deploymentnotfound": "MODEL_NOT_SERVED",
    "not_found_error": "MODEL_NOT_SERVED",
    "overloaded_error": "OVERLOADED",
    "unavailable": "OVERLOADED",
    "rate_limit_error": "RATE_LIMITED",
    "resource_exhausted": "RATE_LIMITED",
    "timeout_error": "TIMED_OUT",
    "deadline_exceeded": "TIMED_OUT",
    "throttlingexception": "RATE_LIMITED",
    "modelnotreadyexception": "WARMING",
    "servicequotaexceededexception": "QUOTA_EXHAUSTED",
    "expiredtokenexception": "AUTH_FAILED",
    "accessdeniedexception": "AUTH_FAILED",
    "resourcenotfoundexception": "MODEL_NOT_SERVED",
    "modeltimeoutexception": "TIMED_OUT",
    "serviceunavailableexception": "OVERLOADED",
}
# A vendor's shortage that it calls a limit, or a limit that it has for a day: either name is right.
_EITHER_OF = {
    "queue_exceeded": {"OVERLOADED", "RATE_LIMITED"},
    "service_tier_capacity_exceeded": {"OVERLOADED", "RATE_LIMITED"},
}
_PER_DAY = re.compile(rb"per_?day", re.IGNORECASE)
# Words count only where no code says more, and under the statuses of a caller's mistake or of a limit.
_OF_WORDS = tuple(
    (frozenset(statuses), re.compile(words), frozenset(kinds))
    for statuses, words, kinds in (
        (
            (400, 413, 422, 429, 500),
            (
                r"context (?:length|window|size)|too many (?:input )?tokens|(?:prompt|input|request)[^.]{0,30} too long"
                r"|exceeds? [^.]{0,40}(?:context|number of (?:input )?tokens|token (?:count|limit))|reduce the length"
                r"|tokens? exceed(?:s|ed)?\b|`inputs` tokens"
            ),
            ("CONTEXT_TOO_LONG",),
        ),
        (
            (400, 403, 429),
            (
                r"credit balance|exceeded your current quota|spend(?:ing)? limit|all available credits"
                r"|insufficient (?:quota|balance|funds|credit)"
            ),
            ("QUOTA_EXHAUSTED",),
        ),
        ((400,), r"api key (?:not valid|provided|is invalid)|(?:invalid|incorrect) api key", ("AUTH_FAILED",)),
        ((400,), r"does not support (?:tools|thinking)|--tool-call-parser", ("BAD_REQUEST", "UNSUPPORTED")),
        ((400,), r"user location is not supported", ("AUTH_FAILED", "BAD_REQUEST")),
        ((400, 403), r"content (?:management )?policy|content filter|safety system|flagged", ("CONTENT_FILTERED",)),
        (
            (400, 403, 404),
            r"not a valid model|invalid model|model identifier is invalid|model[^.]{0,60}(?:not found|not exist)",
            ("MODEL_NOT_SERVED",),
        ),
        ((400, 422), r"\bmodel\b[^.]{0,60}not (?:supported|available|valid)", ("MODEL_NOT_SERVED", "BAD_REQUEST")),
        ((503,), r"loading model|model is loading|still loading|warming", ("WARMING",)),
        ((429, 500, 502, 503), r"queue is full|overloaded|server busy|(?:at|over) capacity", ("OVERLOADED",)),
        ((200,), r"rate.limit", ("RATE_LIMITED",)),
    )
)


def expected(status: int, headers: Mapping[str, str], body: bytes, *, wire: str, provider: str = "") -> frozenset[str]:
    """The codes that would be right for an error answer; `status` 200 is an error inside a stream."""
    value = _parsed(body)
    codes = [headers.get("x-amzn-errortype", "").partition(":")[0].lower(), *_codes(value)]
    text = _text(value, body).lower()
    if status in (200, 201):
        status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), 200)
    either = next((_EITHER_OF[code] for code in codes if code in _EITHER_OF), None)
    if either is not None:
        return frozenset(either)
    if status == 429 and wire == "gemini" and _PER_DAY.search(body):
        return frozenset({"QUOTA_EXHAUSTED", "RATE_LIMITED"})
    by_code = [_OF_A_CODE[code] for code in codes if code in _OF_A_CODE]
    if by_code and not (status == 404 and by_code[0] != "MODEL_NOT_SERVED"):
        return frozenset(by_code[:1])
    for statuses, words, kinds in _OF_WORDS:
        if (status in statuses or status == 200) and words.search(text):
            return kinds
    if status == 500 and provider in ("llamacpp", "llama_cpp"):
        return frozenset({"BAD_REQUEST"})  # it answers so to requests that it cannot take
    if status == 503:
        busy = wire in _BUSY_AT_503 or provider in ("vllm", "sglang", "together", "groq", "fireworks", "deepseek")
        return frozenset({"OVERLOADED"} if busy or "retry-after" in headers else {"UPSTREAM_FAULT", "OVERLOADED"})
    if status == 200:
        return frozenset({"BAD_REQUEST" if "invalid_request_error" in codes else "UPSTREAM_FAULT"})
    if status in _ANY_OF_A_STATUS:
        return frozenset(_ANY_OF_A_STATUS[status])
    if status < 400:
        return frozenset({"PROTOCOL_VIOLATION"})
    return frozenset({"UPSTREAM_FAULT"} if status >= 500 else {"BAD_REQUEST"})


def waits(headers: Mapping[str, str], body: bytes) -> float | None:
    """Seconds that an error asks to be left alone for, by its exact hints; None where it has none of those."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * scale
        except (KeyError, ValueError):
            continue
    error = _parsed(body)
    for detail in _dicts(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and re.fullmatch(r"[\d.]+s", delay):
            return float(delay[:-1])
    return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _dicts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _dicts(inner)


def _codes(value: Any) -> list[str]:
    """Every code, type, status and reason in the body, outermost first: the exact ones before the broad."""
    found = [
        str(inner[name]).lower()
        for name in ("reason", "error_code", "code", "type", "status", "status_code", "__type")
        for inner in _dicts(value)
        if isinstance(inner.get(name), str | int)
    ]
    return [code.rpartition("#")[2] for code in found]


def _text(value: Any, body: bytes) -> str:
    """What it says in words."""
    said = [
        text
        for inner in _dicts(value)
        for name in ("message", "Message", "error", "detail", "msg", "raw", "OriginalMessage")
        if isinstance(text := inner.get(name), str)
    ]
    return " ".join(said) if value is not None else body.decode("utf-8", "replace")
