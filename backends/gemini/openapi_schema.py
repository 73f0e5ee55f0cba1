"""JSON Schema in the words of Google's older Schema, a part of OpenAPI 3.0, for models that take nothing else.

It has no references, no unions of types and no closed objects. A schema that needs more is refused: what the model
would be held to without it is not what was asked for.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backends.errors import Unsupported
from backends.gemini.dialects import GeminiDialect

_AS_THEY_ARE = frozenset(
    {
        "format",
        "title",
        "description",
        "enum",
        "required",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "default",
        "example",
        "propertyOrdering",
        "nullable",
    }
)
# They say where a schema is from, and constrain nothing. Objects are closed where an answer is held to a schema.
_WITHOUT_EFFECT = frozenset({"$schema", "$id", "$comment"})


def as_openapi(schema: msgspec.Raw, dialect: GeminiDialect, param: str) -> dict[str, Any]:
    """The same schema in the other words.

    Raises:
        Unsupported: it cannot be said in them.
    """
    try:
        return _converted(msgspec.json.decode(schema))
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        raise Unsupported(f"{dialect.name} does not take this schema: {error}", param=param) from error


def _converted(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise TypeError("a schema that is not an object")
    converted: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _AS_THEY_ARE:
            converted[word] = value
        elif word == "type":
            converted.update(_type(value))
        elif word == "properties":
            converted[word] = {name: _converted(inner) for name, inner in value.items()}
        elif word == "items":
            converted[word] = _converted(value)
        elif word == "anyOf":
            converted[word] = [_converted(inner) for inner in value]
        elif word == "const":
            converted["enum"] = [value]
        elif word not in _WITHOUT_EFFECT and not (word == "additionalProperties" and value is False):
            raise ValueError(f"{word!r} has no word there")
    return converted


def _type(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": value.upper()}
    others = [name for name in value if name != "null"]
    if len(others) != 1 or len(others) == len(value):
        raise ValueError("a union of types has no word there")
    return {"type": str(others[0]).upper(), "nullable": True}
