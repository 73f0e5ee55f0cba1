"""Contents of tensors, there and back, and under any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ProtocolViolation
from backends.triton.tensors import first_values, pack, unpack_strings
from backends.triton.v2 import inference_pb2 as pb

UINT32, UINT64 = 2**32 - 1, 2**64 - 1
TYPES = ("BOOL", "UINT8", "UINT32", "UINT64", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES", "BF16", "", "?")


def answer(datatype: str, raw: bytes | None, *, typed: pb.InferTensorContents | None = None) -> pb.ModelInferResponse:
    found = pb.ModelInferResponse()
    found.outputs.add(name="out", datatype=datatype, contents=typed)
    if raw is not None:
        found.raw_output_contents.append(raw)
    return found


def first(message: pb.ModelInferResponse) -> object:
    return first_values(message, frozenset({"out"})).get("out")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_strings_come_back_as_they_were(strings: list[str]) -> None:
    """Each behind its length, whatever is in them."""
    assert unpack_strings(pack("BYTES", strings)) == [string.encode() for string in strings]


@given(st.binary(max_size=64))
def test_any_bytes_are_strings_or_a_violation(raw: bytes) -> None:
    """Lengths that do not add up are told, and nothing else is raised; what is read is what was there."""
    try:
        found = unpack_strings(raw)
    except ProtocolViolation:
        return
    assert b"".join(len(value).to_bytes(4, "little") + value for value in found) == raw


@given(st.sampled_from(TYPES), st.binary(max_size=24))
def test_any_output_is_a_value_or_a_violation(datatype: str, raw: bytes) -> None:
    """Of any type, known or not."""
    try:
        value = first(answer(datatype, raw))
    except ProtocolViolation:
        return
    assert value is None or isinstance(value, bool | int | float | bytes)


@pytest.mark.parametrize(
    ("datatype", "value", "raw"),
    [
        ("UINT32", UINT32, b"\xff\xff\xff\xff"),
        ("UINT64", UINT64, b"\xff" * 8),
        ("INT32", -2, b"\xfe\xff\xff\xff"),
        ("FP32", 0.5, b"\x00\x00\x00\x3f"),
        ("BOOL", True, b"\x01"),
        ("BYTES", "é", b"\x02\x00\x00\x00\xc3\xa9"),
    ],
)
def test_values_are_little_endian(datatype: str, value: str | float, raw: bytes) -> None:
    """As the protocol has them."""
    assert pack(datatype, [value]) == raw
    assert first(answer(datatype, raw)) == (value.encode() if isinstance(value, str) else value)


@pytest.mark.parametrize(("datatype", "value"), [("UINT32", -1), ("INT32", UINT32), ("FP16", 1e9), ("BF16", 1.0)])
def test_what_a_type_cannot_hold_is_refused(datatype: str, value: float) -> None:
    """Instead of a number that is another."""
    with pytest.raises(ValueError, match=r"does not fit|not known"):
        pack(datatype, [value])


def test_contents_that_are_not_raw_are_read_too() -> None:
    """Servers may put values into typed fields."""
    assert first(answer("BYTES", None, typed=pb.InferTensorContents(bytes_contents=[b"a", b"b"]))) == b"a"
    assert first(answer("UINT32", None, typed=pb.InferTensorContents(uint_contents=[7]))) == 7
    assert first(answer("BYTES", None)) is None


def test_outputs_that_nobody_wants_are_not_read() -> None:
    """Logits may be long, and of any type."""
    found = pb.ModelInferResponse()
    found.outputs.add(name="logits", datatype="BF16")
    found.outputs.add(name="out", datatype="BYTES")
    found.raw_output_contents.extend([b"?", b"\x01\x00\x00\x00a"])
    assert first_values(found, frozenset({"out"})) == {"out": b"a"}
