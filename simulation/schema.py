"""A small instance of a JSON schema: what an emulated model answers when it is asked for JSON.

Covers what callers write in practice (types, enums, required properties, bounds, arrays, unions, local references).
What it does not know, it takes as unconstrained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEPTH = 16
FILLER = "emulated"
FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "nobody@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
}


def instance(schema: object, root: object = None, depth: int = 0) -> Any:
    """A value that the schema allows; the required properties only."""
    if not isinstance(schema, Mapping) or depth > DEPTH:
        return FILLER if depth else {}
    root = schema if root is None else root
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return instance(_resolve(reference, root), root, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return instance(schema[union][0], root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = instance(part, root, depth + 1)
            if not isinstance(value, dict):
                return value
            merged |= value
        return merged
    return _of_type(schema, root, depth)


def _of_type(schema: Mapping[str, Any], root: object, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema or "required" in schema or depth == 0 else "string"
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: instance(properties.get(name, {}), root, depth + 1) for name in schema.get("required", [])}
    if kind == "array":
        return [instance(schema.get("items", {}), root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind in {"integer", "number"}:
        return _number(schema, whole=kind == "integer")
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    text = FORMATS.get(schema.get("format", ""), FILLER).ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    step = 1 if whole else 0.5
    least = schema.get("minimum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + step
    most = schema.get("maximum")
    if most is None and "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - step
    value = least if least is not None else min(0, most) if most is not None else 0
    multiple = schema.get("multipleOf")
    if multiple:
        value = -(-value // multiple) * multiple
    return int(value) if whole else value


def _resolve(reference: str, root: object) -> object:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step and isinstance(found, Mapping):
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {})
    return found
