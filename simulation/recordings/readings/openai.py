"""An answer of the OpenAI chat or completions endpoint, as any of its speakers writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from simulation.recordings.errors import expected
from simulation.recordings.frames import is_json, read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings.said import Call, Said, Tokens, arguments_of, as_text, is_count

_FINISH = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def read(interaction: Interaction) -> Said:
    said = Said()
    if interaction.is_document:
        payloads = [interaction.body.decode(), "[DONE]"]
    else:
        payloads = [event.data for event in read_sse(interaction.body)]
    read_payloads(payloads, said, excludes_reasoning="x.ai" in interaction.host or interaction.provider == "xai")
    return said


@dataclass(slots=True)
class _Piece:
    """A call as far as it came. `place` is the index that it was given, `call_id` is "" where it has none."""

    place: int | None
    call_id: str
    name: str
    arguments: str = ""


def read_payloads(payloads: list[str], said: Said, *, excludes_reasoning: bool = False) -> None:
    calls: list[_Piece] = []
    counts: dict[str, Any] = {}
    has_first = False
    for payload in payloads:
        if payload.strip() == "[DONE]":
            said.complete = True
            break
        event = json.loads(payload)
        error = event if event.get("error") or event.get("object") == "error" else None
        if (event.get("x_groq") or {}).get("error"):
            error = event["x_groq"]
        listed = event.get("choices") or []
        first = [choice for choice in listed if not choice.get("index")]
        has_first = has_first or bool(first)
        # Answers beside the first are left out; servers that count tokens in the index have no first one.
        for choice in (first or ([] if has_first else listed))[:1]:
            error = error or (choice if choice.get("error") else None)
            if not error:
                _choice(choice, said, calls)
        if error:
            said.failure = expected(200, {}, json.dumps(error).encode(), wire="openai_chat")
            break
        # The same counts may be given twice in one event; nothing is added up, the last is right.
        for usage in ((event.get("x_groq") or {}).get("usage"), event.get("usage")):
            counts.update(_counts(usage or {}))
            if "completion_tokens" in counts:
                said.usage = _tokens(counts, excludes_reasoning=excludes_reasoning)
    said.text, said.reasoning = as_text(said.text), as_text(said.reasoning)
    if any(not call.name for call in calls) and not said.failure:
        said.unread, said.complete = "a call of a kind that is not asked for", False
    if said.finish is None and said.complete and not said.failure:
        said.finish = "tool_calls" if calls else "stop"
    said.calls = [
        Call(call.call_id, call.name, arguments_of(call.arguments, was_cut=said.finish == "length")) for call in calls
    ]
    if said.usage is not None and said.usage.output == 0 and (said.text or said.reasoning or said.calls):
        said.usage = None  # a count that denies the output is none


def _choice(choice: dict[str, Any], said: Said, calls: list[_Piece]) -> None:
    message = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
    content = message.get("content") or ""
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if part["type"] == "thinking":
            thought = part["thinking"]
            said.reasoning += (
                thought if isinstance(thought, str) else "".join(piece.get("text") or "" for piece in thought)
            )
        else:
            said.text += part.get("text") or ""
    said.text += message.get("refusal") or ""
    details = message.get("reasoning_details") or ()
    told = "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
    said.reasoning += message.get("reasoning") or message.get("reasoning_content") or told
    listed = list(message.get("tool_calls") or ())
    if message.get("function_call"):
        listed.append({"index": 0, "function": message["function_call"]})
    for piece in listed:
        function = piece.get("function") or {}
        call_id, name, place = piece.get("id") or "", function.get("name") or "", piece.get("index")
        call = _continued(calls, place, call_id, name)
        if call is None:
            call = _Piece(place, call_id, "")
            calls.append(call)
        call.name = call.name or name
        call.call_id = call.call_id or call_id
        given = function.get("arguments") or ""
        call.arguments += given if isinstance(given, str) else json.dumps(given)
    reason = choice.get("finish_reason")
    if reason in ("error", "abort", "insufficient_system_resource"):
        said.failure = frozenset({"UPSTREAM_FAULT", "OVERLOADED"})
    elif reason and said.finish is None:
        said.finish = _FINISH.get(reason, "stop")
        said.complete = True


def _continued(calls: list[_Piece], place: int | None, call_id: str, name: str) -> _Piece | None:
    """The call that a piece goes on with; None where it begins one, on servers that give all the same index, too."""
    call = next((call for call in reversed(calls) if call.place == place), None)
    if call is None or (call_id and call.call_id and call_id != call.call_id):
        return None
    if place is None and name and not call_id:
        return None
    if not name or not call.name or call_id == call.call_id != "":
        return call
    return call if name == call.name and not is_json(call.arguments) else None


def _counts(usage: dict[str, Any]) -> dict[str, Any]:
    """The fields that hold a count, also those one level down; numbers may be written as strings."""
    found: dict[str, Any] = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            found[name] = _counts(value)
            continue
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if is_count(number):
            found[name] = number
    return found


def _tokens(usage: dict[str, Any], *, excludes_reasoning: bool) -> Tokens:
    prompt = usage.get("prompt_tokens_details") or {}
    cached = prompt.get("cached_tokens")
    if cached is None:
        cached = usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if reasoning is None:
        reasoning = usage.get("reasoning_tokens") or 0
    output = usage["completion_tokens"]
    if excludes_reasoning:
        total = usage.get("total_tokens")
        output = output + reasoning if total is None else max(output, total - (usage.get("prompt_tokens") or 0))
    written = prompt.get("cache_write_tokens") or 0
    return Tokens(
        input=usage.get("prompt_tokens") or 0, cached=cached, written=written, output=output, reasoning=reasoning
    )
