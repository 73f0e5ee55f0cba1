"""What a model wants and gives, read from its own description: tensor names, types, and whether they are batched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.triton.dialects import Names
from backends.triton.tensors import DATA_TYPES
from backends.triton.v2 import inference_pb2 as pb

# The parameter by which a model of scripts (tensorrt_llm_bls) says that it repeats the text so far.
_ACCUMULATES = "accumulate_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input. `dims` are without the batch dimension, -1 for any size; `optional` None where nobody says."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool | None = None

    def shape(self, size: int, *, is_batched: bool) -> list[int] | None:
        """The shape of that many elements, None where the tensor cannot hold so many."""
        dims = list(self.dims) or [1]
        free = [at for at, dim in enumerate(dims) if dim < 0]
        for at in free:
            dims[at] = 1
        if free:
            dims[free[-1]] = size
        if math.prod(dims) != size:
            return None
        return [1, *dims] if is_batched else dims


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """One model.

    Attributes:
        inputs: by name.
        outputs: names.
        is_batched: shapes begin with a batch dimension.
        is_streaming: it can answer in pieces; None where nobody says.
        is_cumulative: each piece repeats the text so far.
    """

    inputs: Mapping[str, Tensor]
    outputs: frozenset[str]
    is_batched: bool
    is_streaming: bool | None = None
    is_cumulative: bool = False

    def input(self, names: Names, role: str) -> Tensor | None:
        """The tensor that plays this role, if the model has one."""
        return next((self.inputs[name] for name in names.get(role, ()) if name in self.inputs), None)

    def output(self, names: Names, role: str) -> str | None:
        return next((name for name in names.get(role, ()) if name in self.outputs), None)


def from_config(config: pb.ModelConfig) -> ModelShape:
    """By ModelConfig, which says everything."""
    # Triton works out for itself whether the steps of an ensemble stream; its configuration does not tell.
    is_ensemble = config.platform == "ensemble" and not config.model_transaction_policy.decoupled
    accumulates = config.parameters[_ACCUMULATES].string_value if _ACCUMULATES in config.parameters else ""
    return ModelShape(
        inputs={
            tensor.name: Tensor(
                name=tensor.name,
                datatype=DATA_TYPES[tensor.data_type] if 0 <= tensor.data_type < len(DATA_TYPES) else "",
                dims=tuple(tensor.dims),
                optional=tensor.optional,
            )
            for tensor in config.input
        },
        outputs=frozenset(tensor.name for tensor in config.output),
        is_batched=config.max_batch_size > 0,
        is_streaming=None if is_ensemble else config.model_transaction_policy.decoupled,
        is_cumulative=accumulates.strip().lower() == "true",
    )


def from_metadata(metadata: pb.ModelMetadataResponse, prompt: Sequence[str]) -> ModelShape:
    """By ModelMetadata, for servers that keep the configuration to themselves.

    Its shapes hold the batch dimension, as -1; the prompt is one string, so a second dimension gives that away.

    Args:
        metadata: the description.
        prompt: names of the tensor of the prompt.
    """
    shapes = {tensor.name: tuple(tensor.shape) for tensor in metadata.inputs}
    is_batched = next((len(shapes[name]) > 1 and shapes[name][0] == -1 for name in prompt if name in shapes), False)
    return ModelShape(
        inputs={
            tensor.name: Tensor(
                name=tensor.name,
                datatype=tensor.datatype,
                dims=tuple(tensor.shape)[1:] if is_batched else tuple(tensor.shape),
            )
            for tensor in metadata.inputs
        },
        outputs=frozenset(tensor.name for tensor in metadata.outputs),
        is_batched=is_batched,
    )
