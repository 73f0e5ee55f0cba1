"""The content of an answer, in the words of the canonical model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Tokens:
    """Counts of one answer. `cached` and `written` are inside `input`, `reasoning` is inside `output`.

    `partial`: the service left a count out, so that an adapter may call the whole an estimate.
    """

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    reasoning: int = 0
    partial: bool = False


@dataclass(slots=True)
class Call:
    """A call of a tool. `call_id` is "" where the service gave none.

    `arguments` is the JSON value, or the text where that is none (a call that was cut off).
    """

    call_id: str
    name: str
    arguments: Any


@dataclass(slots=True, kw_only=True)
class Said:
    """What a recorded answer says.

    Attributes:
        finish: why it ended, None where it did not.
        usage: None where the service counted nothing, so that an adapter must estimate and say so.
        complete: whether the wire's own mark of the end is there.
        unread: why it is no answer of its wire at all; an adapter must refuse it, too.
        failure: the codes of `backends.errors` that would be right for the error in it; empty if it holds none.
        retry_after_s: how long the service asks to be left alone.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    usage: Tokens | None = None
    complete: bool = False
    unread: str = ""
    failure: frozenset[str] = frozenset()
    retry_after_s: float | None = None


def arguments_of(text: str, *, was_cut: bool) -> Any:
    """The arguments of a call; none at all are the empty object, unless the answer was cut at its token limit."""
    if not text.strip():
        return "" if was_cut else {}
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_text(text: str) -> str:
    """The text without half surrogate pairs, which JSON may hold and no text can."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def value_of(arguments: Any) -> Any:
    """Arguments given whole: an object, a string that holds one, or nothing."""
    return arguments_of(arguments, was_cut=False) if isinstance(arguments, str) else arguments or {}


def is_count(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1 << 40


def documents(body: bytes) -> list[Any]:
    """A JSON document, or the elements of a JSON array of them."""
    value = json.loads(body)
    return value if isinstance(value, list) else [value]
