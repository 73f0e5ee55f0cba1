"""Google's errors: one code for many things, told apart by details and words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.failures.classify import from_event, from_response
from backends.gemini.dialects import FAILURES

QUOTA = "You exceeded your current quota, please check your plan and billing details."


def body(code: int, message: str, status: str, *details: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": message, "status": status, "details": details}})


def quota(*ids: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name} for name in ids]}


@pytest.mark.parametrize(
    ("status", "sent", "code"),
    [
        (429, body(429, QUOTA, "RESOURCE_EXHAUSTED"), "RATE_LIMITED"),
        (429, body(429, QUOTA, "RESOURCE_EXHAUSTED", quota("RequestsPerMinutePerProject")), "RATE_LIMITED"),
        (429, body(429, QUOTA, "RESOURCE_EXHAUSTED", quota("TokensPerMinute", "RequestsPerDay")), "QUOTA_EXHAUSTED"),
        (429, body(429, f"{QUOTA} limit: 0, model: gemini-2.5-pro", "RESOURCE_EXHAUSTED"), "QUOTA_EXHAUSTED"),
        (429, body(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"), "QUOTA_EXHAUSTED"),
        (429, body(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"), "RATE_LIMITED"),
        (403, body(403, "disabled", "PERMISSION_DENIED", {"reason": "BILLING_DISABLED"}), "QUOTA_EXHAUSTED"),
        (403, body(403, "no", "PERMISSION_DENIED"), "AUTH_FAILED"),
        (401, body(401, "no", "UNAUTHENTICATED", {"reason": "ACCESS_TOKEN_EXPIRED"}), "AUTH_FAILED"),
        (400, body(400, "API key expired.", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "AUTH_FAILED"),
        (400, body(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"), "AUTH_FAILED"),
        (
            400,
            body(
                400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", "INVALID_ARGUMENT"
            ),
            "CONTEXT_TOO_LONG",
        ),
        (
            400,
            body(
                400,
                "Unable to submit request because the input token count is 9 but model only supports up to 8.",
                "INVALID_ARGUMENT",
            ),
            "CONTEXT_TOO_LONG",
        ),
        (400, body(400, "Please use a valid role: user, model.", "INVALID_ARGUMENT"), "BAD_REQUEST"),
        (404, b"[" + body(404, "models/x is not found", "NOT_FOUND") + b"]", "MODEL_NOT_SERVED"),
        (499, body(499, "The operation was cancelled.", "CANCELLED"), "UPSTREAM_FAULT"),
        (500, body(500, "An internal error has occurred.", "INTERNAL"), "UPSTREAM_FAULT"),
        (503, body(503, "The model is overloaded.", "UNAVAILABLE"), "OVERLOADED"),
        (503, b"", "OVERLOADED"),
        (504, body(504, "Deadline expired.", "DEADLINE_EXCEEDED"), "TIMED_OUT"),
    ],
)
def test_an_answer_means_one_error(status: int, sent: bytes, code: str) -> None:
    """By its details, its words, its status, in that order; in a stream as in an answer."""
    assert from_response(status, {}, sent, rules=FAILURES).code == code
    if sent:
        assert from_event(sent, rules=FAILURES).code == code


def test_the_wait_is_in_the_details() -> None:
    """No header says it."""
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.5s"}
    sent = body(429, QUOTA, "RESOURCE_EXHAUSTED", quota("RequestsPerMinute"), retry)
    assert from_response(429, {}, sent, rules=FAILURES).retry_after_s == 26.5
