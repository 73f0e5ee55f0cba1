"""Google's errors: one body for all of its services, with details that say what the status does not."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from simulation.wire import encode
from simulation.wires.serving import WireError

_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MESSAGES = {
    "API_KEY_INVALID": "API key not valid. Please pass a valid API key.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    402: "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
    403: "Method doesn't allow unregistered callers (callers without established identity).",
    429: "You exceeded your current quota, please check your plan and billing details. Please retry in 37.4s.",
    500: "An internal error has occurred. Please retry.",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}
_TYPES = "type.googleapis.com/google.rpc."


def refusal(status: int, message: str, *, reason: str = "", headers: dict[str, str] | None = None) -> WireError:
    """The answer that says so."""
    return WireError(status, error_body(status, message, reason=reason), headers)


def fault(status: int, code: str, headers: dict[str, str]) -> WireError:
    """What the service says with that status. `code` is a reason, or PerDay or PerMinute for the quota of a 429."""
    message = _MESSAGES.get(code) or _MESSAGES.get(status) or HTTPStatus(status).phrase
    return WireError(status, error_body(status, message, reason=code), headers)


def error_body(status: int, message: str, *, reason: str = "") -> bytes:
    error: dict[str, Any] = {"code": status, "message": message, "status": _NAMES.get(status, "UNKNOWN")}
    if status == 429 and reason.startswith("Per"):
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": f"GenerateRequests{reason}PerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": "gemini-emulated"},
            "quotaValue": "10",
        }
        error["details"] = [
            {"@type": f"{_TYPES}QuotaFailure", "violations": [violation]},
            {"@type": f"{_TYPES}RetryInfo", "retryDelay": "37s"},
        ]
    elif reason:
        info = {"reason": reason, "domain": "googleapis.com"}
        error["details"] = [{"@type": f"{_TYPES}ErrorInfo", **info, "metadata": {"service": "emulated"}}]
    return encode({"error": error})
