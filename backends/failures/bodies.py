"""Reads an error body of any of the shapes in use into one value.

{"error": {"message", "type", "code", "param"}}      OpenAI and most; `code` may be an int or a numeric string
{"error": {"code", "message", "status", "details"}}  Google, also as an array of one
{"type": "error", "error": {...}, "request_id"}       Anthropic
{"error": {"message", "trace"}}                       TabbyAPI, inside a stream
{"object": "error", "message", "type", "code"}        SGLang, Mistral, TensorRT-LLM
{"message", "type", "param", "code"}                  Cerebras
{"code", "error": "text"}                             xAI
{"error": "text"}                                     vLLM's 401, Ollama, mlx-lm, Triton
{"detail": "text"}, {"detail": [{loc, msg}]}          FastAPI
{"message"}, {"Message"}                              AWS, its code in a header
{"Message", "OriginalStatusCode", "OriginalMessage"}  SageMaker, around the answer of the container
HTML, plain text or nothing                           a proxy in between
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

MAX_MESSAGE_CHARS = 500

_KEYISH = re.compile(
    r"\b(?:sk|pk|rk|gsk|csk|xai|fw|hf|r8|AIza|tgp|nvapi)[-_][\w*.-]{8,}|\bAIza[\w-]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|(?i:bearer)\s+[\w.~+/=-]{8,}|\beyJ[\w-]{8,}\.[\w.-]+"
)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_PERIOD = re.compile(r"per_?(second|minute|hour|day|month)", re.IGNORECASE)
_STATUS = re.compile(r"[45]\d\d")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a body says went wrong.

    Attributes:
        message: for a person; cleaned and cut.
        codes: every code, type, status and reason in it, in lower case, and `quota_per_day` for a quota of that name.
        param: the request field at fault.
        status: an HTTP status inside the body, for errors in a stream that began with 200.
        retry_delay: Google's RetryInfo, as it was written.
        text: the whole of it in lower case, to look for phrases in.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None
    retry_delay: str | None = None
    text: str = ""


def read_problem(body: bytes, *, secret: str | None = None) -> Problem:
    """Never fails: what is not understood becomes the message."""
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = _TAG.sub(" ", body.decode("utf-8", "replace"))
        return Problem(message=clean(text, secret), text=text.lower())
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return Problem(message=clean(str(value), secret), text=str(value).lower())
    error = value.get("error")
    if isinstance(error, str) and error.startswith('{"error":'):  # Ollama quotes its engine's whole body
        return read_problem(error.encode(), secret=secret)
    inner: dict[str, Any] = error if isinstance(error, dict) else value
    message = _message(value, inner)
    codes = frozenset(_codes(value, inner))
    return Problem(
        message=clean(message, secret),
        codes=codes,
        param=inner["param"] if isinstance(inner.get("param"), str) else _location(value.get("detail")),
        status=next((int(code) for code in sorted(codes) if _STATUS.fullmatch(code)), None),
        retry_delay=next((d["retryDelay"] for d in _details(inner) if isinstance(d.get("retryDelay"), str)), None),
        text=message.lower(),
    )


def hidden_answer(body: bytes) -> tuple[int, bytes] | None:
    """Status and body of the failure that AWS wrapped in one of its own, None if it wrapped none."""
    if b"riginalStatusCode" not in body:
        return None
    try:
        value = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = {name.lower(): inner for name, inner in value.items()}
    status = found.get("originalstatuscode")
    if not isinstance(status, int) or not 400 <= status <= 599:
        return None
    message = found.get("originalmessage") or found.get("message") or ""
    return status, str(message).encode()


def clean(message: str, secret: str | None) -> str:
    """One line without anything that looks like a credential, and not too long."""
    if secret:
        message = message.replace(secret, "***")
    message = _SPACE.sub(" ", _KEYISH.sub("***", message)).strip()
    return message if len(message) <= MAX_MESSAGE_CHARS else message[: MAX_MESSAGE_CHARS - 1] + "…"


def _message(outer: dict[str, Any], inner: dict[str, Any]) -> str:
    for source in (inner, outer):
        for key in ("message", "Message", "error", "detail", "error_description", "OriginalMessage"):
            found = source.get(key)
            if isinstance(found, str) and found:
                return _with_raw(found, inner)
            if key == "detail" and isinstance(found, list):
                return "; ".join(_validation(item) for item in found)
            if isinstance(found, dict) and isinstance(found.get("message"), str):
                return str(found["message"])
            if key == "message" and isinstance(found, dict):  # Mistral nests its validation errors here
                return _message(found, found)
    return ""


def _with_raw(message: str, inner: dict[str, Any]) -> str:
    """A broker's "Provider returned error" means nothing without the provider's own words."""
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{message}: {raw}" if isinstance(raw, str) and raw else message


def _validation(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    where = _place(item.get("loc"))
    return f"{where}: {item.get('msg', '')}" if where else str(item.get("msg", ""))


def _location(detail: Any) -> str | None:
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return _place(detail[0].get("loc")) or None
    return None


def _place(steps: Any) -> str:
    return ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""


def _codes(outer: dict[str, Any], inner: dict[str, Any]) -> Iterator[str]:
    innermost = inner.get("innererror")
    for source in (inner, outer, innermost if isinstance(innermost, dict) else {}, *_details(inner)):
        for key in ("code", "type", "status", "reason", "raw_status_code", "error_type", "error_code", "__type"):
            found = source.get(key)
            if isinstance(found, str | int) and not isinstance(found, bool):
                yield str(found).lower().rpartition("#")[2]  # AWS puts a namespace before its __type
    for detail in _details(inner):
        yield from _quota_periods(detail.get("violations"))


def _quota_periods(violations: Any) -> Iterator[str]:
    """Google gives one code to all its limits; over what period they count, only their names say."""
    for violation in violations if isinstance(violations, list) else ():
        if isinstance(violation, dict):
            for name in (violation.get("quotaId"), violation.get("quotaMetric")):
                if isinstance(name, str) and (period := _PERIOD.search(name)):
                    yield f"quota_per_{period[1].lower()}"


def _details(inner: dict[str, Any]) -> list[dict[str, Any]]:
    details = inner.get("details")
    if isinstance(details, dict):  # Anthropic's is one
        return [details]
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
