"""An event whose answer can be read although something beside it has a form that nobody foresaw.

Counts, times and log-probabilities are what servers make up most freely. A field of theirs that cannot be read is left
out; an answer that was said to its end must not break off over it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from backends.openai.wire import Choice, Event, GroqExtra, LlamaTimings, TimeInfo, WireUsage

_BESIDE: dict[str, type[msgspec.Struct]] = {
    "usage": WireUsage,
    "timings": LlamaTimings,
    "time_info": TimeInfo,
    "x_groq": GroqExtra,
}
_BESIDE_ANSWER = frozenset({"logprobs", "stop_reason", "matched_stop"})
_CHOICE_FIELDS = {field.name: field.type for field in msgspec.structs.fields(Choice)}

S = TypeVar("S", bound=msgspec.Struct)


def decode_loosely(payload: bytes) -> Event:
    """Raises msgspec.DecodeError where the answer itself cannot be read."""
    event = msgspec.json.decode(payload)
    if isinstance(event, dict):
        for name, kind in _BESIDE.items():
            if name in event:
                event[name] = _salvaged(event[name], kind)
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                for name in _BESIDE_ANSWER & choice.keys():
                    if not _fits(choice[name], _CHOICE_FIELDS[name]):
                        choice[name] = None
    return msgspec.convert(event, Event)


def _salvaged(value: Any, kind: type[S]) -> S | None:
    """The fields that can be read; numbers may be written as strings."""
    if not isinstance(value, dict):
        return None
    found = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name in value:
            with suppress(msgspec.ValidationError):
                found[field.name] = msgspec.convert(value[field.encode_name], field.type, strict=False)
    return kind(**found)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
