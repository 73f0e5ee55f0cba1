"""Turns what msgspec says of a body into an `InvalidRequest` that names the field the way OpenAI does.

"Object contains unknown field `nmae` - at `$.messages[0]`" becomes the violation `messages.0.nmae` with the nearest
valid key. The types themselves are asked what would have been valid, so that no list of names can grow stale.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import inspect

from router.errors import InvalidRequest, UnknownParameter, Violation

_AT = re.compile(r" - at (?:`?key`? in )?`\$(?P<path>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)
_WRONG_VALUE = re.compile(r"^Invalid (?:enum )?value (?P<value>.*)$", re.DOTALL)
_STEP = re.compile(r"\[(?P<index>\d+|\.\.\.)\]|\.(?P<name>[^.\[]+)")
_LONGEST_SHOWN = 80
_SHORTEST_PART = 3

T = TypeVar("T")


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decodes a body, or says which field is wrong.

    Raises:
        InvalidRequest: and nothing else, whatever the bytes are.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error), decoder.type) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            Violation("body", f"is not valid JSON: {error}"), hint="Send one JSON object, encoded as UTF-8."
        ) from None
    except RecursionError:
        raise InvalidRequest(Violation("body", "is nested too deeply")) from None


def invalid(problem: str, root: object, *, prefix: str = "") -> InvalidRequest:
    """The error behind one message of msgspec's about a value of type `root`; `prefix` leads to that value."""
    where = _AT.search(problem)
    said = problem[: where.start()] if where else problem
    steps = _steps(where["path"]) if where else ()
    missing = _MISSING.match(said)
    if missing:
        return InvalidRequest(Violation(_dotted(prefix, (*steps, missing["name"])), "is required"))
    unknown = _UNKNOWN.match(said)
    if unknown:
        name = unknown["name"][:_LONGEST_SHOWN]
        valid = tuple(key for node in _walk(root, steps) for key in _keys(node))
        # A union, such as messages of different roles: the name is known to another member of it.
        said = "does not belong here" if name in valid else f"is not a known field{nearest(name, valid)}"
        return UnknownParameter(Violation(_dotted(prefix, (*steps, name)), said))
    wrong = _WRONG_VALUE.match(said)
    if wrong:
        value = wrong["value"].strip("'\"")[:_LONGEST_SHOWN]
        valid = tuple(_values(root, steps))
        listed = f"; one of {', '.join(valid)}" if valid else ""
        return InvalidRequest(
            Violation(_dotted(prefix, steps), f"{value!r} is not a valid value{nearest(value, valid)}{listed}")
        )
    return InvalidRequest(Violation(_dotted(prefix, steps) or "body", said[:1].lower() + said[1:]))


def nearest(name: str, valid: Iterable[str]) -> str:
    """A bracket that asks "did you mean 'x'?", or nothing where nothing is near."""
    names = sorted(set(valid))
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not found and len(name) >= _SHORTEST_PART:
        holding = [candidate for candidate in names if name in candidate]
        found = holding if len(holding) == 1 else []
    return f" (did you mean '{found[0]}'?)" if found else ""


def _steps(path: str) -> tuple[str, ...]:
    return tuple(match["name"] or match["index"] for match in _STEP.finditer(path))


def _dotted(prefix: str, steps: tuple[str, ...]) -> str:
    return ".".join(part for part in (prefix, *steps) if part and part != "...")


@cache
def _type_of(root: object) -> inspect.Type:
    return inspect.type_info(root)


def _walk(root: object, steps: tuple[str, ...]) -> list[inspect.Type]:
    """Every type that the value at a path may have."""
    nodes = list(_alternatives(_type_of(root)))
    for step in steps:
        nodes = [found for node in nodes for found in _descend(node, step)]
    return nodes


def _alternatives(node: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.UnionType):
        for member in node.types:
            yield from _alternatives(member)
    elif isinstance(node, inspect.Metadata):
        yield from _alternatives(node.type)
    else:
        yield node


def _descend(node: inspect.Type, step: str) -> Iterator[inspect.Type]:
    if isinstance(node, inspect.StructType):
        for field in node.fields:
            if field.encode_name == step:
                yield from _alternatives(field.type)
    elif isinstance(node, inspect.ListType | inspect.VarTupleType):
        yield from _alternatives(node.item_type)


def _keys(node: inspect.Type) -> Iterator[str]:
    if isinstance(node, inspect.StructType):
        yield from (field.encode_name for field in node.fields)
        if node.tag_field is not None:
            yield node.tag_field


def _values(root: object, steps: tuple[str, ...]) -> Iterator[str]:
    for node in _walk(root, steps):
        if isinstance(node, inspect.LiteralType):
            yield from (str(value) for value in node.values)
        elif isinstance(node, inspect.EnumType):
            yield from (str(member.value) for member in node.cls)
    for node in _walk(root, steps[:-1]) if steps else ():
        if isinstance(node, inspect.StructType) and node.tag_field == steps[-1]:
            yield str(node.tag)
