"""Small instances of JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from simulation.schema import instance


class _Author(BaseModel):
    name: str = Field(min_length=12, max_length=40)
    born: int = Field(gt=1800, lt=2100)


class _Book(BaseModel):
    title: str
    author: _Author
    kind: str = Field(json_schema_extra={"enum": ["novel", "play"]})
    pages: int | None
    ratings: list[float] = Field(min_length=2)
    in_print: bool


def test_an_instance_of_a_real_models_schema_is_valid() -> None:
    """What is made from the schema that pydantic writes is accepted by the model itself."""
    book = _Book.model_validate(instance(_Book.model_json_schema()))
    assert book.kind == "novel"
    assert len(book.ratings) == 2


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 7}, 7),
        ({"type": ["null", "integer"], "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 10, "multipleOf": 4}, 12),
        ({"type": "number", "maximum": -2}, -2),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, True),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": "emulated"},
        ),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, [None, None]),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "maxLength": 3}, "emu"),
        ({}, {}),
        ("nonsense", {}),
    ],
)
def test_each_keyword_is_respected(schema: object, expected: Any) -> None:
    """Every keyword that callers commonly use shapes the instance."""
    assert instance(schema) == expected


def test_a_schema_that_holds_itself_ends() -> None:
    """A recursive schema gives a finite instance."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    assert "next" in instance({"$ref": "#/$defs/node", "$defs": {"node": node}})
