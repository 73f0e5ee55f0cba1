"""Turns whatever an upstream reports into one `BackendError`.

A status alone decides little: 429 is a rate, an empty account or a model that is loading; 503 is a full queue or a dead
engine; 400 is the caller's mistake, a prompt that is too long or a bad key. So the body's codes speak first (the
family's own before the common ones), then its words, then the status (the same way).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ContentFiltered,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    TimedOut,
    Unsupported,
    UpstreamFault,
    Warming,
)
from backends.failures.bodies import Problem, hidden_answer, read_problem
from backends.failures.retry_hints import retry_after_s
from backends.failures.rules import FailureRules, Kind

MAX_ERROR_BODY_BYTES = 64 * 1024

_BY_CODE: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(
        (
            "insufficient_quota",
            "credit_balance_exhausted",
            "enforced_spend_limit_reached",
            "billing_hard_limit_reached",
            "billing_not_active",
            "insufficient_credits",
            "insufficient_balance",
        ),
        QuotaExhausted,
    ),
    **dict.fromkeys(("context_length_exceeded", "exceed_context_size_error", "request_too_large"), ContextTooLong),
    **dict.fromkeys(
        ("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"),
        ContentFiltered,
    ),
    **dict.fromkeys(("invalid_api_key", "api_key_invalid", "authentication_error", "permission_error"), AuthFailed),
    **dict.fromkeys(("model_not_found", "invalid_model", "deploymentnotfound"), ModelNotServed),
    **dict.fromkeys(("overloaded_error", "capacity_exceeded", "overloaded", "server_overloaded"), Overloaded),
    **dict.fromkeys(("modelnotready", "modelnotreadyexception"), Warming),
}

_CONTEXT_WORDS = re.compile(
    r"maximum context length|context (?:length|window|size|limit)|prompt (?:is )?too long|too many (?:input )?tokens"
    r"|reduce the length|max(?:imum)?[ _](?:input|prompt) length|maximum allowed length|input is too long|max_model_len"
    r"|longer than the model's context|exceeds? the (?:model's )?(?:max\w*|available) (?:context|input|sequence)"
    r"|input tokens exceed|expected maxlength|input token count .{0,40}(?:exceeds|supports)"
    r"|`inputs` (?:tokens \+ `max_new_tokens` must be <=|must have less than)"
)
_QUOTA_WORDS = re.compile(
    r"insufficient (?:quota|balance|credit|funds)|exceeded your current quota|spend limit|out of credits|any credits"
    r"|credit balance is too low|all available credits|monthly spending limit|reached your specified api usage limits"
)
_KEY_WORDS = re.compile(r"(?:incorrect|invalid) api key|api key not valid|api key is invalid")
_FILTER_WORDS = re.compile(r"content (?:management )?policy|content filter|flagged|moderation")
_MODEL_WORDS = re.compile(
    r"not a valid model|invalid model|(?:model|endpoint|variant|component) .{1,80}(?:not found|does not exist)"
    r"|model identifier is invalid|with on-demand throughput|no models? (?:(?:is|are) )?(?:currently )?loaded"
)
_BUSY_WORDS = re.compile(
    r"queue (?:is )?full|overload|(?:at|over) capacity|capacity exceeded|server (?:is )?busy|too many pending"
)
_LOADING_WORDS = re.compile(r"loading model|model is (?:still |currently )?loading|warming up")
_LATE_WORDS = re.compile(r"timed out")
# What vLLM was started without: another that serves the same model may have it.
_LACKING_WORDS = re.compile(r"--tool-call-parser")
# llama.cpp answers 500 to requests that it cannot take.
_CALLER_WORDS = re.compile(r"--jinja|mmproj|cannot make get request|image input is not supported")

# Looked for in the message under these statuses only; the first match wins.
_BY_WORDS: Final[tuple[tuple[frozenset[int], re.Pattern[str], Kind], ...]] = (
    (frozenset({503}), _LOADING_WORDS, Warming),
    (frozenset({400, 413, 422, 500}), _CONTEXT_WORDS, ContextTooLong),
    (frozenset({400, 402, 403, 429}), _QUOTA_WORDS, QuotaExhausted),
    (frozenset({400}), _KEY_WORDS, AuthFailed),
    (frozenset({400, 403}), _FILTER_WORDS, ContentFiltered),
    (frozenset({400}), _MODEL_WORDS, ModelNotServed),
    (frozenset({400}), _LACKING_WORDS, Unsupported),
    (frozenset({500}), _CALLER_WORDS, BadRequest),
    (frozenset({429, 500, 502, 503}), _BUSY_WORDS, Overloaded),
    (frozenset({424}), _LATE_WORDS, TimedOut),
)

_BY_STATUS: Final[Mapping[int, Kind]] = {
    401: AuthFailed,
    402: QuotaExhausted,
    403: AuthFailed,
    404: ModelNotServed,
    408: TimedOut,
    409: UpstreamFault,
    413: ContextTooLong,
    424: UpstreamFault,
    425: Overloaded,
    429: RateLimited,
    498: Overloaded,
    501: BadRequest,
    504: TimedOut,
    522: TimedOut,
    524: TimedOut,
    529: Overloaded,
}


def from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    rules: FailureRules,
    secret: str | None = None,
    now: Callable[[], float] = time.time,
) -> BackendError:
    """The error that a non-200 answer means.

    Args:
        status: of the answer.
        headers: by lower-case names, as httpx.Headers has them.
        body: as much of it as was read.
        rules: the habits of the family.
        secret: masked in the message, since some vendors echo the key.
        now: Unix time, for hints that are dates.
    """
    hidden = hidden_answer(body)
    true_status, body = hidden or (status, body)
    problem = read_problem(body, secret=secret)
    wait = retry_after_s(headers, retry_delay=problem.retry_delay, text=problem.text, now=now())
    aws_code = "" if hidden else headers.get("x-amzn-errortype", "").partition(":")[0].lower()
    kind = _classify(true_status, problem, aws_code, rules, asks_to_wait="retry-after" in headers)
    return kind(_message(true_status, problem), status=status, retry_after_s=wait, param=problem.param)


def from_event(body: bytes, *, rules: FailureRules, secret: str | None = None) -> BackendError:
    """The error inside a stream, or inside an answer, whose status was 200."""
    hidden = hidden_answer(body)
    problem = read_problem(hidden[1] if hidden else body, secret=secret)
    status = hidden[0] if hidden else problem.status or 500
    kind = _classify(status, problem, "", rules, asks_to_wait=False)
    wait = retry_after_s({}, retry_delay=problem.retry_delay, text=problem.text, now=0.0)
    return kind(
        _message(None, problem),
        status=hidden[0] if hidden else problem.status,
        retry_after_s=wait,
        param=problem.param,
    )


def _classify(status: int, problem: Problem, aws_code: str, rules: FailureRules, *, asks_to_wait: bool) -> Kind:
    for words, kind in rules.words:
        if words.search(problem.text):
            return kind
    for code in (aws_code, *sorted(problem.codes)):
        if code in rules.codes:
            return rules.codes[code]
    for code in (aws_code, *sorted(problem.codes)):
        if code in _BY_CODE and not _is_account_wide(status, _BY_CODE[code]):
            return _BY_CODE[code]
    for statuses, words, kind in _BY_WORDS:
        if status in statuses and words.search(problem.text):
            return kind
    if status in rules.statuses:
        return rules.statuses[status]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 503:
        return Overloaded if asks_to_wait else UpstreamFault
    if 400 <= status < 500:
        return BadRequest
    if status < 400:
        return ProtocolViolation
    return _BY_TYPE.get(next((code for code in sorted(problem.codes) if code in _BY_TYPE), ""), UpstreamFault)


def _is_account_wide(status: int, kind: Kind) -> bool:
    """A 5xx that mentions a client's mistake in its type is still a fault of the server, unless its code is exact."""
    return status >= 500 and kind in (AuthFailed, ModelNotServed)


# What the type says when an error inside a stream carries no status.
_BY_TYPE: Final[Mapping[str, Kind]] = {
    "invalid_request_error": BadRequest,
    "badrequesterror": BadRequest,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "timeout_error": TimedOut,
    "serviceunavailableerror": Overloaded,
}


def _message(status: int | None, problem: Problem) -> str:
    if problem.message:
        return problem.message
    return f"HTTP {status} without an explanation" if status is not None else "an error without an explanation"
