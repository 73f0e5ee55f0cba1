"""A canonical request as the tensors of one model.

What a model has no tensor for is refused, unless the adapter can see to it by itself (stop sequences). What it needs
and nobody set gets the value that changes nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from backends.contract import GenerateRequest, ResponseFormat, Sampling
from backends.errors import BadRequest, ProtocolViolation, Unsupported
from backends.rpc import features
from backends.triton.dialects import TritonDialect
from backends.triton.shape import ModelShape, Tensor
from backends.triton.tensors import pack
from backends.triton.v2 import inference_pb2 as pb

_EMPTY_FINAL = "triton_enable_empty_final_response"
# What changes nothing, where a model's input is not optional.
_NEUTRAL: Mapping[str, str | int] = MappingProxyType({"bad_words": "", "stop": "", "beam_width": 1})
_AS_JSON = (
    *("temperature", "top_p", "top_k", "min_p", "seed"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
_AS_TENSORS = tuple(name for name in _AS_JSON if name != "min_p")
_UINT64 = (1 << 64) - 1

Values = dict[str, Sequence[str | float | bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A backend's own options.

    Attributes:
        default_max_tokens: where a request sets no limit: these servers' own would be a sentence or nothing.
        is_streaming: overrides what the model says of itself.
        is_cumulative: likewise.
        schema_field: of the vllm backend's sampling parameters.
    """

    default_max_tokens: int = 1024
    is_streaming: bool | None = None
    is_cumulative: bool | None = None
    schema_field: str = "structured_outputs"


def encode(
    request: GenerateRequest,
    *,
    prompt: str,
    stops: Sequence[str],
    model: str,
    request_id: str,
    shape: ModelShape,
    dialect: TritonDialect,
    settings: Settings,
) -> pb.ModelInferRequest:
    """The message.

    Args:
        request: checked by `backends.rpc.features` already.
        prompt: as the model is to read it.
        stops: what ends the answer, the end of a turn included.
        model: its name on that server.
        request_id: comes back with every answer.
        shape: the model's tensors.
        dialect: of the backend that serves it.
        settings: of this server.

    Raises:
        Unsupported: this model has no tensor for something that is asked for.
        BadRequest: a number that the tensor cannot hold.
        ProtocolViolation: a model that is not of this kind.
    """
    values: Values = {
        "prompt": [prompt],
        "stream": [streams(shape, settings)],
        "exclude_input": [True],
        "return_finish_reason": [True],
        "return_input_tokens": [True],
        "return_output_tokens": [True],
    }
    if shape.input(dialect.inputs, "prompt") is None or shape.output(dialect.outputs, "text") is None:
        raise ProtocolViolation(f"model {model} takes no text or gives none: {', '.join(shape.inputs)}")
    if dialect.sampling_as_json:
        parameters = _sampling_json(request, stops, settings)
        values["sampling"] = [msgspec.json.encode(parameters).decode()]
        if request.sampling.logprobs:
            values["return_logprobs"] = [True]
    else:
        values |= _sampling_tensors(request, stops, shape, dialect, settings)
    must_have = {*_asked_for(request.sampling, dialect), *({"return_logprobs"} & values.keys())}
    message = pb.ModelInferRequest(model_name=model, id=request_id)
    message.parameters[_EMPTY_FINAL].bool_param = True
    filled: set[str] = set()
    for role, contents in values.items():
        tensor = shape.input(dialect.inputs, role)
        if tensor is not None:
            _add(message, tensor, contents, role, shape, dialect)
            filled.add(tensor.name)
        elif role in must_have:
            raise features.unsupported(dialect, role, f"model {model} has no input for it")
    _add_required(message, filled, shape, dialect, model)
    return message


def streams(shape: ModelShape, settings: Settings) -> bool:
    """Whether the model is to answer in pieces: yes, unless it is known that it cannot."""
    known = shape.is_streaming if settings.is_streaming is None else settings.is_streaming
    return known is not False


def _asked_for(sampling: Sampling, dialect: TritonDialect) -> set[str]:
    if dialect.sampling_as_json:
        return {"sampling"}
    wanted = {name for name in _AS_TENSORS if getattr(sampling, name) is not None}
    return wanted | {"max_output_tokens", "guide_type", "guide"}


def _sampling_json(request: GenerateRequest, stops: Sequence[str], settings: Settings) -> dict[str, Any]:
    sampling = request.sampling
    found: dict[str, Any] = {"max_tokens": sampling.max_output_tokens or settings.default_max_tokens}
    found |= {name: value for name in _AS_JSON if (value := getattr(sampling, name)) is not None}
    if stops:
        found["stop"] = list(stops)
    if sampling.logprobs:
        found["logprobs"] = sampling.top_logprobs or 0
    guide = request.response_format
    if guide is not None and guide.kind == "json_object":
        found[settings.schema_field] = '{"json_object":true}'  # JSON within JSON: the backend parses it by itself
    elif guide is not None and guide.kind == "json_schema":
        found[settings.schema_field] = msgspec.json.encode({"json": msgspec.Raw(_schema(guide))}).decode()
    return found


def _sampling_tensors(
    request: GenerateRequest, stops: Sequence[str], shape: ModelShape, dialect: TritonDialect, settings: Settings
) -> Values:
    sampling = request.sampling
    values: Values = {"max_output_tokens": [sampling.max_output_tokens or settings.default_max_tokens]}
    values |= {name: [value] for name in _AS_TENSORS if (value := getattr(sampling, name)) is not None}
    if sampling.seed is not None:
        values["seed"] = [sampling.seed & _UINT64]
    if sampling.temperature == 0 and shape.input(dialect.inputs, "top_k") is not None:
        # Every version understands "the likeliest token" so; some refuse a temperature of nothing.
        del values["temperature"]
        values["top_k"] = [1]
    elif (
        sampling.temperature
        and (sampling.top_p, sampling.top_k) == (None, None)
        and shape.input(dialect.inputs, "top_p") is not None
    ):
        # Without either this engine takes the likeliest token whatever the temperature.
        values["top_p"] = [1.0]
    if stops:
        values["stop"] = list(stops)
    guide = request.response_format
    if guide is not None and guide.kind == "json_object":
        values["guide_type"] = ["json"]
    elif guide is not None and guide.kind == "json_schema":
        values["guide_type"] = ["json_schema"]
        values["guide"] = [_schema(guide).decode()]
    return values


def _schema(guide: ResponseFormat) -> bytes:
    if guide.schema is None:
        raise Unsupported("a JSON schema is wanted, and none is given", param="response_format")
    return bytes(guide.schema)


def _add(
    message: pb.ModelInferRequest,
    tensor: Tensor,
    values: Sequence[str | float | bool],
    role: str,
    shape: ModelShape,
    dialect: TritonDialect,
) -> None:
    if tensor.name in dialect.csv_inputs and values != [""]:
        values = [_csv(values)]
    size = tensor.shape(len(values), is_batched=shape.is_batched)
    if size is None:
        if role == "stop":
            return  # it takes fewer: then it is the adapter alone that ends the answer there
        raise ProtocolViolation(f"input {tensor.name} has the shape {list(tensor.dims)}")
    try:
        contents = pack(tensor.datatype, values)
    except ValueError as error:
        raise BadRequest(f"{tensor.name}: {error}", param=role) from error
    message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=size)
    message.raw_input_contents.append(contents)


def _add_required(
    message: pb.ModelInferRequest, filled: set[str], shape: ModelShape, dialect: TritonDialect, model: str
) -> None:
    roles = {name: role for role, names in dialect.inputs.items() for name in names}
    for tensor in shape.inputs.values():
        if tensor.name in filled or tensor.optional:
            continue
        role = roles.get(tensor.name, "")
        if role in _NEUTRAL:  # also where nobody says whether it is optional, since it may not be
            _add(message, tensor, [_NEUTRAL[role]], role, shape, dialect)
        elif tensor.optional is False:
            raise ProtocolViolation(f"model {model} needs the input {tensor.name}, and nothing is known of it")


def _csv(words: Sequence[str | float | bool]) -> str:
    """Old ensembles read the words of a line; one with a comma or a quote in it is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()
