"""Why an answer of Google's ended: one word of ours, or the error that it is."""

from __future__ import annotations

from typing import Final

from backends.contract import FinishReason
from backends.errors import AuthFailed, BackendError, Unsupported, UpstreamFault
from backends.gemini.wire import Enum

_UNSPECIFIED = frozenset({"", "FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"})

# Vertex AI's numbers, for an endpoint that was told to answer in them.
_NUMBERS: Final = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "MODEL_ARMOR",
)

_REASONS: Final = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "ESCALATION",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        FinishReason.CONTENT_FILTER,
    ),
}

_FAILURES: Final[dict[str, type[BackendError]]] = {
    **dict.fromkeys(
        (
            "OTHER",
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MALFORMED_RESPONSE",
            "NO_IMAGE",
            "IMAGE_OTHER",
        ),
        UpstreamFault,
    ),
    "MISSING_THOUGHT_SIGNATURE": Unsupported,
    "PUP_LIMITED_DISABLED": AuthFailed,
}


def finish_reason(wire: Enum | None, message: str | None) -> FinishReason | None:
    """What the word means, None if it says that the answer goes on.

    Raises:
        BackendError: the model or the account failed, and there is no answer.
    """
    word = _word(wire)
    if word in _UNSPECIFIED:
        return None
    failure = _FAILURES.get(word)
    if failure is not None:
        raise failure(f"the answer ended with {word}{': ' if message else ''}{message or ''}")
    # A word nobody has seen yet still says that the answer is complete.
    return _REASONS.get(word, FinishReason.STOP)


def is_blocked(wire: Enum | None) -> bool:
    """Whether a prompt was refused."""
    return wire != 0 if isinstance(wire, int) else wire is not None and wire not in _UNSPECIFIED


def _word(wire: Enum | None) -> str:
    if isinstance(wire, int):
        return _NUMBERS[wire] if 0 <= wire < len(_NUMBERS) else f"{wire}"
    return wire or ""
