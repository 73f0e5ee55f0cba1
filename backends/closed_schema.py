"""JSON schemas as Claude wants them, wherever it is served: objects that are closed, and say so."""

from __future__ import annotations

from typing import Any

_NAMED = frozenset({"properties", "$defs", "definitions"})
_VALUES = frozenset({"const", "default", "enum", "examples", "required"})


def closed(schema: Any) -> Any:
    """The schema with objects that take no further properties unless it says otherwise.

    What fits the closed schema fits the open one.
    """
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        # A property may have the name of a keyword; values that are no schemas stay as they are.
        key: (
            {name: closed(part) for name, part in value.items()}
            if key in _NAMED and isinstance(value, dict)
            else value
            if key in _VALUES
            else closed(value)
        )
        for key, value in schema.items()
    }
    if schema.get("type") == "object" or "properties" in schema:
        found.setdefault("type", "object")
        found.setdefault("additionalProperties", False)
    return found
