"""An answer of generateContent or streamGenerateContent, of Gemini or of Vertex."""

from __future__ import annotations

import json
from typing import Any

from simulation.recordings.errors import expected
from simulation.recordings.frames import read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Call, Said, Tokens, documents, is_count

_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
_FAILED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "OTHER",
        "NO_IMAGE",
        "IMAGE_OTHER",
        "MISSING_THOUGHT_SIGNATURE",
        "PUP_LIMITED_DISABLED",
    }
)
_FAILED_OTHERWISE = {
    "MISSING_THOUGHT_SIGNATURE": frozenset({"UNSUPPORTED", "BAD_REQUEST"}),
    "PUP_LIMITED_DISABLED": frozenset({"AUTH_FAILED"}),
}
# Google's older clients ask for enumerations as numbers.
_NUMBERED = {
    1: "STOP",
    2: "MAX_TOKENS",
    3: "SAFETY",
    4: "RECITATION",
    5: "OTHER",
    6: "BLOCKLIST",
    7: "PROHIBITED_CONTENT",
    8: "SPII",
    9: "MALFORMED_FUNCTION_CALL",
    10: "MODEL_ARMOR",
}


def read(interaction: Interaction) -> Said:
    said = Said()
    if interaction.is_document:
        events = documents(interaction.body)
    else:
        events = [json.loads(event.data) for event in read_sse(interaction.body) if event.data.strip() != "[DONE]"]
    counts: dict[str, Any] = {}
    for event in events:
        if event.get("error"):
            said.failure = expected(200, {}, json.dumps(event).encode(), wire="gemini")
            return said
        blocked = (event.get("promptFeedback") or {}).get("blockReason")
        if blocked and blocked != "BLOCKED_REASON_UNSPECIFIED":
            said.finish, said.complete = "content_filter", True
        for candidate in [one for one in event.get("candidates") or () if not int(one.get("index") or 0)][:1]:
            _candidate(candidate, said)
        counts.update({name: value for name, value in (event.get("usageMetadata") or {}).items() if is_count(value)})
    if said.finish == "stop" and said.calls:
        said.finish = "tool_calls"
    usage = _tokens(counts)
    if usage is not None and (usage.output or not (said.text or said.calls)):
        said.usage = usage  # a count that denies the output is none
    return said


def _candidate(candidate: dict[str, Any], said: Said) -> None:
    for part in (candidate.get("content") or {}).get("parts") or ():
        if "functionCall" in part:
            call = part["functionCall"]
            said.calls.append(Call(call.get("id") or "", call["name"], call.get("args") or {}))
        elif part.get("thought"):
            said.reasoning += part.get("text") or ""
        else:
            said.text += part.get("text") or ""
    reason = candidate.get("finishReason")
    if isinstance(reason, int):
        reason = _NUMBERED.get(reason)
    if not reason or reason == "FINISH_REASON_UNSPECIFIED":
        return
    said.complete = True
    if reason in _FAILED:
        said.failure = _FAILED_OTHERWISE.get(reason, frozenset({"UPSTREAM_FAULT"}))
    elif reason in ("MAX_TOKENS", "CONTINUATION"):
        said.finish = "length"
    else:
        said.finish = "content_filter" if reason in _FILTERED else "stop"


def _tokens(counts: dict[str, Any]) -> Tokens | None:
    """Zeros are left out, and sometimes the answer's own count, which is what the total leaves then."""
    if "promptTokenCount" not in counts and "candidatesTokenCount" not in counts:
        return None
    thoughts = counts.get("thoughtsTokenCount") or 0
    given = (counts.get("promptTokenCount") or 0) + (counts.get("toolUsePromptTokenCount") or 0)
    output = (counts.get("candidatesTokenCount") or 0) + thoughts
    if "candidatesTokenCount" not in counts:
        output = max(output, (counts.get("totalTokenCount") or 0) - given)
    return Tokens(
        input=given,
        cached=counts.get("cachedContentTokenCount") or 0,
        output=output,
        reasoning=thoughts,
        partial="promptTokenCount" not in counts,
    )
