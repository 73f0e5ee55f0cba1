"""The two backends of Triton that generate text, and what their tensors have been called over the years.

A name that a model has is used, a name that it lacks is not: which of them it has is read from the model's own
configuration, since ensembles are put together by whoever deploys them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from backends.dialect import PAGED_CACHE, Dialect, parameters
from backends.errors import ContextTooLong, ModelNotServed, Overloaded, Warming
from backends.probing.metrics_text import GaugeNames
from backends.probing.plan import ProbePlan
from backends.rpc.rules import with_words

Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonDialect(Dialect):
    """One backend of Triton.

    Attributes:
        inputs: what is said -> the tensors that say it, newest name first. Fields of `Sampling` are said by theirs.
        csv_inputs: tensors that take several strings as one line of CSV.
        sampling_as_json: all of `Sampling` goes into one tensor, as JSON.
        trims_stop: the server takes the stop sequence off the text.
    """

    inputs: Names
    csv_inputs: frozenset[str] = frozenset()
    sampling_as_json: bool = False
    trims_stop: bool = False
    outputs: Names = field(default_factory=lambda: _OUTPUTS)


_OUTPUTS: Names = MappingProxyType(
    {
        "text": ("text_output", "OUTPUT_0"),
        "finish_reason": ("finish_reason",),
        "input_tokens": ("num_input_tokens",),
        "output_tokens": ("num_output_tokens",),
        "logprobs": ("logprobs",),
    }
)
_FAILURES = with_words(
    (r"unknown model|model .{0,200}is not found|failed to find .{0,80}model", ModelNotServed),
    (r"exceeds maximum queue size|maximum queue size|queue is full", Overloaded),
    (r"not (?:at )?ready|is unavailable|still loading", Warming),
    (
        r"(?:prompt|input|sequence) length .{0,80}(?:exceeds|longer|greater)|exceeds? max\w* (?:input|seq)",
        ContextTooLong,
    ),
    (r"longer than the maximum model length|max_seq_len|max_model_len", ContextTooLong),
)
_COMMON_INPUTS: Names = MappingProxyType(
    {
        "prompt": ("text_input", "INPUT_0"),
        "stream": ("stream", "streaming"),
        "exclude_input": ("exclude_input_in_output", "sampling_param_exclude_input_from_output"),
        "return_finish_reason": ("return_finish_reason",),
        "return_input_tokens": ("return_num_input_tokens",),
        "return_output_tokens": ("return_num_output_tokens",),
    }
)
_CAPABILITIES = frozenset({"text_completion", "assistant_prefill", "json_object", "json_schema"})
_TENSORRTLLM = TritonDialect(
    name="tensorrtllm",
    parameters=parameters(
        *("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        max_output_tokens="max_tokens",
        stop="stop_words",
        seed="random_seed",
    ),
    capabilities=_CAPABILITIES,
    failures=_FAILURES,
    probe=ProbePlan(
        metrics="/metrics",  # on a port of its own: the option metrics_url has the whole address
        models=None,
        gauges=GaugeNames(
            running=('nv_trt_llm_request_metrics{request_type="scheduled"}',),
            waiting=('nv_trt_llm_request_metrics{request_type="waiting"}',),
            kv_cache_usage=('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',),
        ),
    ),
    inputs=MappingProxyType(
        {
            **_COMMON_INPUTS,
            "max_output_tokens": ("max_tokens", "request_output_len", "sampling_param_max_tokens", "INPUT_1"),
            "bad_words": ("bad_words", "INPUT_2"),
            "stop": ("stop_words", "sampling_param_stop", "INPUT_3"),
            "temperature": ("temperature", "sampling_param_temperature"),
            "top_k": ("top_k", "runtime_top_k", "sampling_param_top_k"),
            "top_p": ("top_p", "runtime_top_p", "sampling_param_top_p"),
            "repetition_penalty": ("repetition_penalty", "sampling_param_repetition_penalty"),
            "presence_penalty": ("presence_penalty", "sampling_param_presence_penalty"),
            "frequency_penalty": ("frequency_penalty", "sampling_param_frequency_penalty"),
            "seed": ("random_seed", "seed", "sampling_param_seed"),
            "beam_width": ("beam_width",),
            "guide_type": ("guided_decoding_guide_type",),
            "guide": ("guided_decoding_guide",),
        }
    ),
    csv_inputs=frozenset({"INPUT_2", "INPUT_3"}),
)
_VLLM = TritonDialect(
    prefix_cache=PAGED_CACHE,
    name="vllm",
    parameters=parameters(
        *("temperature", "top_p", "top_k", "min_p", "stop", "seed"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty", "logprobs"),
        max_output_tokens="max_tokens",
        top_logprobs="logprobs",
    ),
    capabilities=_CAPABILITIES,
    failures=_FAILURES,
    probe=ProbePlan(
        metrics="/metrics",  # on a port of its own: the option metrics_url has the whole address
        models=None,
        gauges=GaugeNames(
            running=("vllm:num_requests_running",),
            waiting=("vllm:num_requests_waiting", "nv_inference_pending_request_count"),
            kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        ),
    ),
    inputs=MappingProxyType(
        {**_COMMON_INPUTS, "sampling": ("sampling_parameters",), "return_logprobs": ("return_logprobs",)}
    ),
    sampling_as_json=True,
    trims_stop=True,
)
DIALECTS: Mapping[str, TritonDialect] = MappingProxyType({d.name: d for d in (_TENSORRTLLM, _VLLM)})
