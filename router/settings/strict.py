"""The machinery of strict configuration: everything wrong is found in one go and named by file, key and nearest key.

A file becomes plain values (`yaml_text`), then a pydantic model that knows every key (`Strict`). Each problem is one
line, `file.yaml: key.path: what is wrong (did you mean 'x'?)`, and one `ConfigError` carries them all, so that nobody
has to correct a file one error at a time.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from router.settings import quantity as q
from router.settings.yaml_text import Document, join, read_document


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong; `line` is 0 where it has none."""

    file: str
    path: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.message}" if self.path else f"{self.file}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` is everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Strict(BaseModel):
    """Base of every file's model. `synonyms` name the right key for names that people try."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)
    synonyms: ClassVar[Mapping[str, str]] = {}


def quantity(dimension: q.Dimension) -> BeforeValidator:
    """A field that takes a number in its unit, or text with a unit."""
    return BeforeValidator(lambda value: q.parse_quantity(value, dimension))


Seconds = Annotated[float, quantity(q.SECONDS), Field(ge=0)]
PositiveSeconds = Annotated[float, quantity(q.SECONDS), Field(gt=0)]
Bytes = Annotated[float, quantity(q.BYTES), Field(ge=0)]
BytesPerSecond = Annotated[float, quantity(q.BYTES_PER_S), Field(gt=0)]
FlopsPerSecond = Annotated[float, quantity(q.FLOPS), Field(gt=0)]
Watts = Annotated[float, quantity(q.WATTS), Field(ge=0)]
Usd = Annotated[float, quantity(q.USD), Field(ge=0)]
UsdPerHour = Annotated[float, quantity(q.USD_PER_HOUR), Field(ge=0)]
UsdPerMtok = Annotated[float, quantity(q.USD_PER_MTOK), Field(ge=0)]
UsdPerKwh = Annotated[float, quantity(q.USD_PER_KWH), Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

E = TypeVar("E", bound=Enum)
M = TypeVar("M", bound=Strict)


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when no known name is near."""
    names = {k.lower(): k for k in sorted(known)}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f" (did you mean '{names[found[0]]}'?)" if found else ""


def shown(value: object) -> str:
    """A value as an error may show it: short."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def pick_name(value: object, names: Mapping[str, E]) -> E:
    """The member that a file names; ValueError with the nearest name otherwise."""
    known = names.get(value) if isinstance(value, str) else None
    if known is None:
        raise ValueError(f"unknown value {shown(value)}{_near_or_all(str(value), names)}")
    return known


def _near_or_all(name: str, known: Iterable[str]) -> str:
    return nearest(name, known) or f" (one of: {', '.join(known)})"


def enum_by_value(enum: type[E]) -> BeforeValidator:
    names = {str(member.value): member for member in enum}
    return BeforeValidator(lambda value: pick_name(value, names))


def enum_by_name(enum: type[E]) -> BeforeValidator:
    names = {member.name.lower(): member for member in enum}
    return BeforeValidator(lambda value: pick_name(value, names))


def read_file(directory: Path, name: str, problems: list[Problem]) -> Document | None:
    """Reads and parses one file of a directory; None, and a problem, when that is not possible."""
    text = read_text(directory, name, problems)
    return None if text is None else parse_text(text, name, problems)


def read_text(directory: Path, name: str, problems: list[Problem]) -> str | None:
    try:
        return (directory / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.append(Problem(name, "", f"no such file in {directory}"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(name, "", f"cannot be read: {error}"))
    return None


def parse_text(text: str, name: str, problems: list[Problem]) -> Document | None:
    """Parses one file's text; None when there is no value to go on with."""
    document = read_document(text)
    problems.extend(Problem(name, path, what, document.lines.get(path, 0)) for path, what in document.problems)
    return document if document.value is not None or not document.problems else None


def check(model: type[M], document: Document, file: str, problems: list[Problem]) -> M | None:
    """The document as a model; None, and every problem of it, when it is not one."""
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        problems.append(Problem(file, "", "expected keys and values at the top", 1))
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["loc"][-1:] == ("[key]",) and detail["type"] == "string_type":
                continue  # the document says so already
            path, message = describe(model, detail)
            problems.append(Problem(file, path, message, document.lines.get(path, 0)))
        return None


def describe(model: type[BaseModel], detail: ErrorDetails) -> tuple[str, str]:
    """One pydantic error as (path, message) in this house's words."""
    path = ""
    for part in detail["loc"]:
        if part != "[key]":
            path = join(path, part)
    context = detail.get("ctx", {})
    given = detail.get("input")
    match detail["type"]:
        case "missing":
            message = "required, and missing"
        case "extra_forbidden":
            message = f"unknown key{_suggestion(model, detail['loc'])}"
        case "value_error":
            message = str(context["error"])
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
            word = {"greater_than": "greater than", "greater_than_equal": "at least", "less_than": "less than"}
            bound = context.get("gt", context.get("ge", context.get("lt", context.get("le"))))
            message = f"must be {word.get(kind, 'at most')} {bound:g}, got {shown(given)}"
        case "literal_error":
            known = re.findall(r"'([^']*)'", context["expected"])
            message = f"unknown value {shown(given)}{_near_or_all(str(given), known)}"
        case "too_short" | "string_too_short":
            message = "must not be empty"
        case kind if kind in _EXPECTED:
            message = f"expected {_EXPECTED[kind]}, got {shown(given)}"
        case _:
            message = detail["msg"]
    return path, message


_EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "finite_number": "a finite number",
}

_UNIT_ENDING = re.compile(
    r"_(?:bytes_per_s|usd_per_(?:hour|mtok|kwh)|flops_per_s|per_s|milliseconds|seconds|millis|secs|sec|bytes|[tgp]?flops"
    r"|cents|eur|usd|gbps|gbs|tbs|[tgm]ib|[tgmk]b|ms|us|ns|s|min|h|watts|kw|w)$"
)


def _stem(name: str) -> str:
    return _UNIT_ENDING.sub("", name)


def _suggestion(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What an unknown key may have meant: a synonym, the same name with another unit, or the nearest name."""
    owner = _model_at(model, loc[:-1])
    key = str(loc[-1])
    if owner is None:
        return ""
    fields = [field.alias or name for name, field in owner.model_fields.items()]
    if issubclass(owner, Strict) and key in owner.synonyms:
        return f" (did you mean '{owner.synonyms[key]}'?)"
    same_stem = [name for name in fields if _stem(name) == _stem(key)]
    if len(same_stem) == 1:
        return f": wrong unit in the name (did you mean '{same_stem[0]}'?)"
    return nearest(key, fields) or f" (known: {', '.join(sorted(fields))})"


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    current: Any = model
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            if part not in current.model_fields:
                return None
            current = current.model_fields[str(part)].annotation
        else:
            arguments = typing.get_args(current)
            current = arguments[-1] if arguments else None
        while typing.get_origin(current) in {Annotated, types.UnionType, typing.Union}:
            options = [o for o in typing.get_args(current) if o is not types.NoneType]
            current = options[0]
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
