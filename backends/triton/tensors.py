"""Values as raw tensor contents and back: little-endian numbers, and strings behind their length in four bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from backends.errors import ProtocolViolation
from backends.triton.v2 import inference_pb2 as pb

_CODES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "?",
        "UINT8": "B",
        "UINT16": "H",
        "UINT32": "I",
        "UINT64": "Q",
        "INT8": "b",
        "INT16": "h",
        "INT32": "i",
        "INT64": "q",
        "FP16": "e",
        "FP32": "f",
        "FP64": "d",
    }
)
_FLOATS = frozenset({"FP16", "FP32", "FP64"})
# Numbers of the enum inference.DataType.
DATA_TYPES = (
    *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "BF16"),
)
_CONTENTS = (
    *("bytes_contents", "bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents"),
    *("fp32_contents", "fp64_contents"),
)


def pack(datatype: str, values: Sequence[str | float | bool]) -> bytes:
    """The contents of a tensor of that type.

    Raises:
        ValueError: a value that the type cannot hold, or a type that is not known.
    """
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(len(value).to_bytes(4, "little") + value for value in encoded)
    code = _CODES.get(datatype)
    if code is None:
        raise ValueError(f"tensors of type {datatype or '?'} are not known")
    numbers = values if datatype in _FLOATS | {"BOOL"} else [int(value) for value in values]
    try:
        return struct.pack(f"<{len(values)}{code}", *numbers)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"it does not fit into {datatype}") from error


def unpack_strings(raw: bytes) -> list[bytes]:
    """The elements of a tensor of strings.

    Raises:
        ProtocolViolation: lengths that do not add up.
    """
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4 + size
        if at > len(raw):
            raise ProtocolViolation("a tensor of strings that is cut off")
        found.append(raw[at - size : at])
    return found


def first_values(answer: pb.ModelInferResponse, wanted: frozenset[str]) -> dict[str, Any]:
    """The first element of each output that is wanted: bytes, or a number.

    Raises:
        ProtocolViolation: contents that are not of the type they claim.
    """
    found: dict[str, Any] = {}
    raw = answer.raw_output_contents
    for index, output in enumerate(answer.outputs):
        if output.name not in wanted:
            continue
        value = _first_raw(output.datatype, raw[index]) if index < len(raw) else _first_typed(output.contents)
        if value is not None:
            found[output.name] = value
    return found


def _first_raw(datatype: str, raw: bytes) -> Any:
    if not raw:
        return None
    if datatype == "BYTES":
        return unpack_strings(raw)[0]
    code = _CODES.get(datatype)
    if code is None or len(raw) < struct.calcsize(code):
        raise ProtocolViolation(f"an output of type {datatype or '?'} with {len(raw)} bytes")
    return struct.unpack_from(f"<{code}", raw)[0]


def _first_typed(contents: pb.InferTensorContents) -> Any:
    return next((values[0] for name in _CONTENTS if (values := getattr(contents, name))), None)
