"""Tensors of requests, checked as strictly and refused in the same words as Triton does."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import grpc

from backends.triton.v2 import inference_pb2 as pb
from simulation.wires.rpc import Refusal
from simulation.wires.triton_models import NAMES, TritonModel

Inputs = Mapping[str, list[Any]]
_FORMATS = {"BOOL": "?", "UINT32": "I", "UINT64": "Q", "INT32": "i", "FP32": "f"}
_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT32": "int_contents",
    "FP32": "fp32_contents",
    "BYTES": "bytes_contents",
}


def read(request: pb.ModelInferRequest, model: TritonModel) -> Inputs:
    """The inputs by name. Raises Refusal for what the model does not take."""
    if len(request.raw_input_contents) not in (0, len(request.inputs)):
        raise _refused(request, "expected number of raw input contents to be the number of inputs")
    known = {tensor.name: tensor for tensor in model.config.input}
    given = {tensor.name for tensor in request.inputs}
    missing = [name for name, tensor in known.items() if not tensor.optional and name not in given]
    if missing:
        raise _refused(
            request,
            f"expected number of inputs between {sum(not tensor.optional for tensor in known.values())} and "
            f"{len(known)} but got {len(given)} inputs for model '{model.name}'. Got input(s) {_listed(given)}, but "
            f"missing required input(s) {_listed(missing)}. Please provide all required input(s).",
        )
    found: dict[str, list[Any]] = {}
    for index, tensor in enumerate(request.inputs):
        wanted = known.get(tensor.name)
        if wanted is None:
            raise _refused(request, f"unexpected inference input '{tensor.name}' for model '{model.name}'")
        _check(request, tensor, wanted, model)
        size = math.prod(tensor.shape)
        if request.raw_input_contents:
            values = _unpacked(request, tensor, request.raw_input_contents[index], size)
        else:
            values = list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))
        if len(values) != size:
            raise _refused(request, f"expected {size} elements for inference input '{tensor.name}', got {len(values)}")
        found[tensor.name] = values
    return found


def string(text: str | bytes) -> bytes:
    """A tensor of one string."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """A tensor of one UINT32."""
    return struct.pack("<I", value)


def _check(
    request: pb.ModelInferRequest,
    tensor: pb.ModelInferRequest.InferInputTensor,
    wanted: pb.ModelInput,
    model: TritonModel,
) -> None:
    datatype = NAMES[wanted.data_type]
    if tensor.datatype != datatype:
        raise _refused(
            request,
            f"inference input '{tensor.name}' data-type is '{tensor.datatype}', but model '{model.name}' expects "
            f"'{datatype}'",
        )
    dims = [-1, *wanted.dims] if model.config.max_batch_size else list(wanted.dims)
    shape = list(tensor.shape)
    if len(shape) != len(dims) or any(want not in (-1, got) for want, got in zip(dims, shape, strict=True)):
        raise _refused(
            request,
            f"unexpected shape for input '{tensor.name}' for model '{model.name}'. Expected {_dims(dims)}, got "
            f"{_dims(shape)}.",
        )


def _unpacked(
    request: pb.ModelInferRequest, tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes, size: int
) -> list[Any]:
    if tensor.datatype != "BYTES":
        form = f"<{size}{_FORMATS[tensor.datatype]}"
        if struct.calcsize(form) != len(raw):
            raise _refused(
                request,
                f"input byte size mismatch for input '{tensor.name}' for model '{request.model_name}'. Expected "
                f"{struct.calcsize(form)}, got {len(raw)}",
            )
        return list(struct.unpack(form, raw))
    found: list[bytes] = []
    while raw:
        (length,) = struct.unpack_from("<I", raw) if len(raw) >= 4 else (len(raw),)
        if len(raw) < 4 + length:
            raise _refused(request, f"incomplete string data for inference input '{tensor.name}'")
        found.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return found


def _refused(request: pb.ModelInferRequest, words: str) -> Refusal:
    prefix = f"[request id: {request.id}] " if request.id else ""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, prefix + words)


def _listed(names: list[str] | set[str]) -> str:
    return "[" + ",".join(f"'{name}'" for name in sorted(names)) + "]"


def _dims(dims: list[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
