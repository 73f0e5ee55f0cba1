"""The dialects of the OpenAI chat wire, as data.

Every server that calls itself OpenAI-compatible differs in which parameters it takes, how it counts reasoning, what its
503 means and where it may be probed. Those differences live in this table and nowhere else: a new dialect is one entry.
`generic` trusts an unknown server with everything it is asked for, and lets it refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from backends.dialect import KeyHeader
from backends.failures.rules import BUSY_503
from backends.openai.profile import Profile
from backends.probing.metrics_text import GaugeNames
from backends.probing.plan import ProbePlan

_STRUCTURED = frozenset({"json_object", "json_schema"})
_EVERYTHING = _STRUCTURED | {"tools", "vision", "text_completion", "batch"}


def _parameters(*names: str, **renamed: str) -> Mapping[str, str]:
    return MappingProxyType({**{name: name for name in names}, **renamed})


_COMMON = ("temperature", "top_p", "stop")
_PENALTIES = ("presence_penalty", "frequency_penalty")
_LOGPROBS = ("logprobs", "top_logprobs")
_OPEN_SAMPLERS = ("top_k", "min_p", "repetition_penalty")

_GENERIC = Profile(
    name="generic",
    capabilities=_EVERYTHING | {"assistant_prefill"},
    parameters=_parameters(
        *_COMMON, *_PENALTIES, *_LOGPROBS, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
    ),
    probe=ProbePlan(models_every_s=5.0),
)

_HOSTED = Profile(
    name="openai",
    capabilities=_EVERYTHING,
    parameters=_parameters(
        *_COMMON, *_PENALTIES, *_LOGPROBS, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
    ),
)

_TABLE = (
    _GENERIC,
    replace(
        _GENERIC,
        name="vllm",
        prefill="continue_final_message",
        failures=BUSY_503,
        probe=ProbePlan(
            liveness="/health",
            metrics="/metrics",
            gauges=GaugeNames(
                running=("vllm:num_requests_running",),
                waiting=("vllm:num_requests_waiting",),
                kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
            ),
        ),
    ),
    replace(
        _GENERIC,
        name="llama_cpp",
        parameters=_parameters(
            *_COMMON,
            *_PENALTIES,
            *_LOGPROBS,
            "top_k",
            "min_p",
            "seed",
            max_output_tokens="max_tokens",
            repetition_penalty="repeat_penalty",
        ),
        prefill="native",
        probe=ProbePlan(
            liveness="/health",
            metrics="/metrics",
            gauges=GaugeNames(
                running=("llamacpp:requests_processing",),
                waiting=("llamacpp:requests_deferred",),
                kv_cache_usage=("llamacpp:kv_cache_usage_ratio",),
            ),
        ),
    ),
    replace(
        _GENERIC,
        name="sglang",
        prefill="continue_final_message",
        failures=BUSY_503,
        aborts_when_full=True,
        probe=ProbePlan(
            liveness="/ping",  # its /health generates a token
            metrics="/metrics",
            gauges=GaugeNames(
                running=("sglang:num_running_reqs",),
                waiting=("sglang:num_queue_reqs",),
                kv_cache_usage=("sglang:token_usage",),
            ),
        ),
    ),
    replace(_HOSTED, stream_options=(("include_usage", True), ("include_obfuscation", False))),
    replace(_HOSTED, name="azure", key=KeyHeader(name="api-key", prefix="")),
    replace(
        _HOSTED,
        name="groq",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
        ),
        message_names=False,
        failures=BUSY_503,
    ),
    replace(
        _HOSTED,
        name="cerebras",
        parameters=_parameters(
            *_COMMON, *_LOGPROBS, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
        ),
        capabilities=_EVERYTHING - {"vision"},
        failures=BUSY_503,
    ),
    replace(
        _HOSTED,
        name="together",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        failures=BUSY_503,
    ),
    replace(
        _HOSTED,
        name="fireworks",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        failures=BUSY_503,
    ),
    replace(
        _HOSTED,
        name="mistral",
        parameters=_parameters(*_COMMON, *_PENALTIES, max_output_tokens="max_tokens", seed="random_seed"),
        stream_options=(),
        any_tool="any",
        short_tool_ids=True,
        end_user=None,
        prefill="prefix",
        capabilities=_EVERYTHING | {"assistant_prefill"},
    ),
    replace(
        _HOSTED,
        name="deepseek",
        parameters=_parameters(*_COMMON, *_PENALTIES, *_LOGPROBS, max_output_tokens="max_tokens"),
        parallel_tool_calls=False,
        capabilities=_EVERYTHING - {"json_schema", "vision"},
        failures=BUSY_503,
    ),
    replace(
        _HOSTED,
        name="openrouter",
        parameters=_parameters(
            *_COMMON,
            *_PENALTIES,
            *_LOGPROBS,
            *_OPEN_SAMPLERS,
            "seed",
            "reasoning_effort",
            max_output_tokens="max_tokens",
        ),
    ),
    replace(_HOSTED, name="xai", reasoning_outside_output=True),
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _TABLE})
