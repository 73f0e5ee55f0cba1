"""Models that an emulated Triton serves: their configurations, as the backends' own repositories have them.

Two generations of NVIDIA's ensembles, its model of scripts (which may repeat the text so far), its newer model on the
LLM API, and what the vllm backend completes a model's configuration to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.triton.v2 import inference_pb2 as pb

# Numbers of the enum inference.DataType.
TYPES: Mapping[str, int] = {"BOOL": 1, "UINT32": 4, "UINT64": 5, "INT32": 8, "FP32": 11, "BYTES": 13}
NAMES = {number: name for name, number in TYPES.items()}
WINDOW = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonModel:
    """One model.

    Attributes:
        config: as ModelConfig tells it.
        roles: what this emulation reads -> the input that says it.
        output: the tensor of the text.
        is_decoupled: it can answer in pieces, whether or not its configuration says so (an ensemble's does not).
        is_csv: stop words are one line.
        ends_with_text: the last piece is the final answer; otherwise an empty one follows.
        window: prompts of more tokens are refused.
        ready: it is loaded.
    """

    config: pb.ModelConfig
    roles: Mapping[str, str]
    output: str = "text_output"
    is_decoupled: bool = True
    is_csv: bool = False
    ends_with_text: bool = False
    window: int = WINDOW
    ready: bool = True

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_vllm(self) -> bool:
        return self.config.backend == "vllm"

    @property
    def accumulates(self) -> bool:
        """Each piece repeats the text so far."""
        return self.config.parameters["accumulate_tokens"].string_value == "True"

    @property
    def metadata(self) -> pb.ModelMetadataResponse:
        """The same without what is optional; shapes with the batch dimension."""
        batch = [-1] if self.config.max_batch_size else []
        found = pb.ModelMetadataResponse(
            name=self.name, versions=["1"], platform=self.config.platform or self.config.backend
        )
        for tensor in self.config.input:
            found.inputs.add(name=tensor.name, datatype=NAMES[tensor.data_type], shape=[*batch, *tensor.dims])
        for output in self.config.output:
            found.outputs.add(name=output.name, datatype=NAMES[output.data_type], shape=[*batch, *output.dims])
        return found


_Inputs = Sequence[tuple[str, str, int, bool]]
_ROLES = {
    "prompt": "text_input",
    "max_tokens": "max_tokens",
    "stop": "stop_words",
    "stream": "stream",
    "exclude": "exclude_input_in_output",
    "seed": "random_seed",
    "guide_type": "guided_decoding_guide_type",
    "guide": "guided_decoding_guide",
}
_FLOATS = ("temperature", "top_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
_TENSORRTLLM: _Inputs = (
    ("text_input", "BYTES", 1, False),
    ("max_tokens", "INT32", 1, False),
    ("bad_words", "BYTES", -1, True),
    ("stop_words", "BYTES", -1, True),
    ("exclude_input_in_output", "BOOL", 1, True),
    ("top_k", "INT32", 1, True),
    *((name, "FP32", 1, True) for name in _FLOATS),
    ("random_seed", "UINT64", 1, True),
    ("beam_width", "INT32", 1, True),
    ("stream", "BOOL", 1, True),
    ("guided_decoding_guide_type", "BYTES", 1, True),
    ("guided_decoding_guide", "BYTES", 1, True),
)
_OLD: _Inputs = (
    *(("INPUT_0", "BYTES", -1, False), ("INPUT_1", "UINT32", -1, False)),
    *(("INPUT_2", "BYTES", -1, False), ("INPUT_3", "BYTES", -1, False)),
    *((name, "UINT32", 1, True) for name in ("end_id", "pad_id", "runtime_top_k", "min_length", "beam_width")),
    *((name, "FP32", 1, True) for name in ("runtime_top_p", "temperature", "len_penalty", "repetition_penalty")),
    *(("presence_penalty", "FP32", 1, True), ("random_seed", "UINT64", 1, True), ("streaming", "BOOL", 1, True)),
)
_LLM_API: _Inputs = (
    *(("text_input", "BYTES", -1, False), ("streaming", "BOOL", 1, True), ("sampling_param_top_k", "INT32", 1, True)),
    *(("sampling_param_max_tokens", "INT32", 1, True), ("sampling_param_seed", "UINT64", 1, True)),
    *((f"sampling_param_{name}", "FP32", 1, True) for name in _FLOATS),
    *(("sampling_param_stop", "BYTES", -1, True), ("exclude_input_in_output", "BOOL", 1, True)),
    ("return_finish_reason", "BOOL", 1, True),
)
_VLLM: _Inputs = (
    *(("text_input", "BYTES", 1, False), ("image", "BYTES", -1, True), ("sampling_parameters", "BYTES", 1, True)),
    *((name, "BOOL", 1, True) for name in ("stream", "exclude_input_in_output", "return_finish_reason")),
    *((f"return_{name}", "BOOL", 1, True) for name in ("cumulative_logprob", "logprobs")),
    *((f"return_num_{name}_tokens", "BOOL", 1, True) for name in ("input", "output")),
)


def ensemble(name: str = "ensemble") -> TritonModel:
    """Of the tensorrtllm backend; it streams, and its configuration does not tell."""
    config = _config(name, _TENSORRTLLM, [("text_output", "BYTES", -1), ("sequence_index", "INT32", 1)], batch=8)
    config.platform = "ensemble"
    return TritonModel(config=config, roles=_ROLES)


def bls(name: str = "tensorrt_llm_bls", *, accumulates: bool = False, is_decoupled: bool = True) -> TritonModel:
    """The model of scripts."""
    config = _config(name, _TENSORRTLLM, [("text_output", "BYTES", -1)], batch=8)
    config.backend = "python"
    config.model_transaction_policy.decoupled = is_decoupled
    config.parameters["accumulate_tokens"].string_value = str(accumulates)
    return TritonModel(config=config, roles=_ROLES, is_decoupled=is_decoupled)


def old_ensemble(name: str = "old") -> TritonModel:
    """As of 2023: other names and types, nothing to leave the prompt out with, words as lines of CSV."""
    config = _config(name, _OLD, [("OUTPUT_0", "BYTES", -1)], batch=128)
    config.platform = "ensemble"
    roles = {"prompt": "INPUT_0", "max_tokens": "INPUT_1", "stop": "INPUT_3", "stream": "streaming"}
    return TritonModel(config=config, roles={**roles, "seed": "random_seed"}, output="OUTPUT_0", is_csv=True)


def llm_api(name: str = "tensorrt_llm") -> TritonModel:
    """As of 2025: tensors by the names of SamplingParams, and a finish reason."""
    config = _config(name, _LLM_API, [("text_output", "BYTES", -1), ("finish_reason", "BYTES", -1)], batch=0)
    config.backend = "python"
    config.model_transaction_policy.decoupled = True
    roles = {role: f"sampling_param_{role}" for role in ("max_tokens", "stop", "seed")}
    shared = {"prompt": "text_input", "stream": "streaming", "exclude": "exclude_input_in_output"}
    return TritonModel(config=config, roles={**roles, **shared}, ends_with_text=True)


def vllm(name: str = "vllm_model", *, window: int = WINDOW) -> TritonModel:
    """Without a batch dimension; parameters are JSON in one string."""
    texts = [(name, "BYTES", -1) for name in ("text_output", "finish_reason", "logprobs")]
    counts = [
        ("cumulative_logprob", "FP32", -1),
        ("num_input_tokens", "UINT32", 1),
        ("num_output_tokens", "UINT32", -1),
    ]
    config = _config(name, _VLLM, texts + counts, batch=0)
    config.backend = "vllm"
    config.model_transaction_policy.decoupled = True
    roles = {"prompt": "text_input", "stream": "stream", "exclude": "exclude_input_in_output"}
    return TritonModel(config=config, roles=roles, ends_with_text=True, window=window)


def _config(name: str, inputs: _Inputs, outputs: Sequence[tuple[str, str, int]], *, batch: int) -> pb.ModelConfig:
    config = pb.ModelConfig(name=name, max_batch_size=batch)
    for tensor, datatype, size, optional in inputs:
        config.input.add(name=tensor, data_type=TYPES[datatype], dims=[size], optional=optional)
    for tensor, datatype, size in outputs:
        config.output.add(name=tensor, data_type=TYPES[datatype], dims=[size])
    return config
