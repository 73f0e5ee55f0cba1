"""What a change changes, in words and numbers: the fields of a document before and after.

It works on the JSON of documents, so that a plan, a past revision and a rollback are told in the same words. What a
person reads is the meaning, not the layout: policies are compared as values and not as text, served models by their
name, prices by their source. Hashes of keys are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import msgspec

from router.domain.audit import DocumentChange
from router.domain.fleet import PrivacyLevel
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Source
from router.domain.request import Priority
from router.settings.price_tiers import tier_text
from router.settings.yaml_text import read_document

ADD, CHANGE, REMOVE = "add", "change", "remove"
MAX_VALUE_CHARS = 300
NAMED = 4
_SIGNS = {ADD: "+", CHANGE: "~", REMOVE: "-"}
_MOMENTS = frozenset({"effective_at", "expires_at", "checked_at", "created_at"})
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PLAIN = re.compile(r"-?\d+(\.\d+)?")
_LAYOUT = "comments and layout"

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """One field; None: it is not there. `ratio` is after / before, where both are numbers above zero."""

    path: str
    before: str | None
    after: str | None
    ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDifference:
    """`operation` is "add", "change" or "remove"; `kind` and `id` are the store's."""

    kind: str
    id: str
    operation: str
    fields: tuple[FieldDifference, ...] = ()


def compare(kind: str, document_id: str, before: str | None, after: str | None) -> DocumentDifference | None:
    """How a document differs, by its JSON; None for not there. None when nothing differs."""
    if before == after:
        return None
    operation = ADD if before is None else REMOVE if after is None else CHANGE
    old, new = _flat(kind, before), _flat(kind, after)
    paths = dict.fromkeys([*old, *new])
    fields = []
    for path in paths:
        was, now = old.get(path), new.get(path)
        if was == now and isinstance(was, bool) is isinstance(now, bool):
            continue
        whole = was if now is None else now
        if operation != CHANGE and (whole is None or whole is False):
            continue  # of what comes or goes as a whole, only what it has
        fields.append(FieldDifference(path=path, before=_text(was), after=_text(now), ratio=_ratio(was, now)))
    if operation == CHANGE and kind == "policies" and not fields:
        fields.append(FieldDifference(path=_LAYOUT, before=_lines(before), after=_lines(after)))
    if operation == CHANGE and kind == "tenant" and not fields:
        fields.append(FieldDifference(path="hash of a key", before="one", after="another"))
    return DocumentDifference(kind=kind, id=document_id, operation=operation, fields=tuple(fields))


def name_of(difference: DocumentDifference) -> str:
    """What a person calls the document: `price h100-vllm`, `backend b200`, `policies`."""
    if difference.kind == "policies":
        return "policies"
    # The price of every model of a backend is stored under "BACKEND/".
    return f"{difference.kind} {difference.id.removesuffix('/') if difference.kind == 'price' else difference.id}"


def title(difference: DocumentDifference) -> str:
    """`~ price h100-vllm`, `+ backend b200`, `- tenant acme`."""
    return f"{_SIGNS[difference.operation]} {name_of(difference)}"


def words(field: FieldDifference, operation: str) -> str:
    """One field: `usd_per_hour 11.80 -> 5.90 (x0.50)`; of what is added or removed, its value alone."""
    before, after = _shown(field.path, field.before), _shown(field.path, field.after)
    if operation == ADD:
        return f"{field.path} {after}"
    if operation == REMOVE:
        return f"{field.path} {before}"
    ratio = ""
    if field.ratio is not None:
        ratio = f" (x{field.ratio:.2f})" if 0.01 <= field.ratio < 1000 else f" (x{field.ratio:.3g})"
    return f"{field.path} {before} -> {after}{ratio}"


def headline(difference: DocumentDifference, *, fields: int = 6) -> str:
    """The difference in one line: `~ price h100-vllm: usd_per_hour 11.80 -> 5.90 (x0.50)`."""
    start = title(difference)
    if difference.operation == REMOVE:
        return start
    told = [words(field, difference.operation) for field in difference.fields[:fields]]
    if len(difference.fields) > fields:
        told.append(f"and {len(difference.fields) - fields} more")
    return f"{start}: {', '.join(told)}" if told else start


def counted(differences: Sequence[DocumentDifference]) -> str:
    """`1 added, 2 changed, 1 removed`, without what there is none of."""
    named = ((ADD, "added"), (CHANGE, "changed"), (REMOVE, "removed"))
    counts = [(sum(d.operation == operation for d in differences), word) for operation, word in named]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to change"


def summary(changes: Sequence[DocumentChange]) -> str:
    """A change in one line: what it does to its only document, else how many there are and the first few names."""
    if len(changes) == 1:
        change = changes[0]
        difference = compare(change.kind, change.id, change.before, change.after)
        return headline(difference, fields=3) if difference is not None else "nothing changed"
    # Without looking into them: there may be thousands.
    bare = [
        DocumentDifference(
            kind=change.kind,
            id=change.id,
            operation=ADD if change.before is None else REMOVE if change.after is None else CHANGE,
        )
        for change in changes
    ]
    more = ", ..." if len(bare) > NAMED else ""
    return f"{counted(bare)}: {', '.join(name_of(one) for one in bare[:NAMED])}{more}"


def _lines(text: str | None) -> str:
    yaml = msgspec.json.decode(text).get("yaml", "") if text else ""
    return f"{len(yaml.splitlines())} lines"


def _flat(kind: str, text: str | None) -> dict[str, Value]:
    if text is None:
        return {}
    document = msgspec.json.decode(text)
    if not isinstance(document, dict):
        return {"document": str(document)}
    match kind:
        case "backend":
            return dict(_backend(document))
        case "price":
            return dict(_book(document))
        case "policies":
            return dict(_policies(document))
        case "tenant":
            return dict(_tenant(document))
        case _:
            return dict(_nested("", document))


def _backend(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    for name, value in document.items():
        if name in {"id", "version"}:
            continue
        if name == "models":
            for served in value:
                path = f"models[{served['model']}]"
                yield path, "served"
                # What a model does not do (spread experts, draft tokens) is not told of it.
                said = {k: v for k, v in served.items() if k != "model" and v not in (False, 0)}
                yield from _nested(path, said)
        elif name in {"labels", "options"}:
            yield from ((f"{name}.{key}", text) for key, text in value)
        elif name == "privacy":
            yield name, _level(PrivacyLevel, value)
        else:
            yield from _nested(name, value)


def _book(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    for price in document.get("prices", ()):
        prefix = _slot(price)
        for name, value in price.items():
            if name in {"backend", "model", "version", "changed_at", "source_kind", "feed", "effective_at"}:
                continue
            if name == "tiers":
                yield f"{prefix}{name}", "; ".join(_tier(tier) for tier in value) or None
            elif name == "schedule":
                yield f"{prefix}{name}", "; ".join(_window(window) for window in value) or None
            else:
                yield from _nested(f"{prefix}{name}", value)


def _slot(price: dict[str, Any]) -> str:
    """Which price of a book: nothing for the configuration's own, `admin.`, `feed:vast.`, `config@2026-11-01...`."""
    kind, feed, begins = price.get("source_kind", Source.CONFIG), price.get("feed"), price.get("effective_at")
    if kind == Source.CONFIG and not feed and begins is None:
        return ""
    label = _level(Source, kind)
    if feed:
        label += f":{feed}"
    if begins is not None:
        label += f"@{_moment(begins)}"
    return f"{label}."


def _tier(tier: dict[str, Any]) -> str:
    """`flex >200000 x0.5`, `priority input=4.25 output=17`."""
    return tier_text(PriceTier(**{name: tier[name] for name in PriceTier.__slots__ if tier.get(name) is not None}))


def _window(window: dict[str, Any]) -> str:
    """`20:00-06:00 x0.5 UTC sat,sun`."""
    start, end = (f"{minute // 60:02d}:{minute % 60:02d}" for minute in (window["start_minute"], window["end_minute"]))
    days = ",".join(_DAYS[day % 7] for day in window.get("days", ()))
    return f"{start}-{end} x{window['factor']:g} {window.get('zone', 'UTC')} {days}".rstrip()


def _policies(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    text = str(document.get("yaml", ""))
    parsed = read_document(text)
    if parsed.problems or not isinstance(parsed.value, dict):
        yield "yaml", f"{len(text)} characters that are not understood" if text else None
        return
    yield from _nested("", parsed.value)


def _tenant(document: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    for name, value in document.items():
        if name in {"id", "version"}:
            continue
        if name == "keys":
            for key in value:
                state = "revoked" if key.get("revoked") else "active"
                ends = key.get("expires_at")
                yield f"keys[{key['id']}]", state if ends is None else f"{state}, expires {_moment(ends)}"
        elif name == "policy":
            levels: dict[str, type[IntEnum]] = {"privacy": PrivacyLevel, "priority": Priority}
            for key, held in value.items():
                yield from _nested(f"policy.{key}", _level(levels[key], held) if key in levels else held)
        else:
            yield from _nested(name, value)


def _nested(path: str, value: Any) -> Iterator[tuple[str, Value]]:
    """The leaves of a value; a list of plain values is one leaf."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _nested(f"{path}.{key}" if path else str(key), part)
    elif isinstance(value, list | tuple):
        if any(isinstance(part, dict | list) for part in value):
            for index, part in enumerate(value):
                yield from _nested(f"{path}[{index}]", part)
        else:
            yield path, ", ".join(_text(part) or "" for part in value) or None
    elif path.rpartition(".")[2] in _MOMENTS and isinstance(value, int | float):
        yield path, _moment(value)
    elif value is None or isinstance(value, str | int | float):
        yield path, value if value != "" else None
    else:
        yield path, str(value)


def _level(enum: type[IntEnum], value: Any) -> str:
    try:
        return enum(value).name.lower()
    except ValueError:
        return str(value)


def _moment(unix: float) -> str:
    try:
        return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return repr(unix)


def _text(value: Value) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 3]}..."


def _ratio(before: Value, after: Value) -> float | None:
    if isinstance(before, bool) or isinstance(after, bool):
        return None
    if not isinstance(before, int | float) or not isinstance(after, int | float) or before <= 0 or after <= 0:
        return None
    return after / before


def _shown(path: str, text: str | None) -> str:
    """A value in a sentence; money has its cents."""
    if text is None:
        return "(none)"
    if "usd" in path and _PLAIN.fullmatch(text):
        whole, _, part = text.partition(".")
        return f"{whole}.{part:0<2}"
    return text
