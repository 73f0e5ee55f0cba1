"""The dialects of the OpenAI chat wire, as data.

Every server that calls itself OpenAI-compatible differs in which parameters it takes, how it counts reasoning, what its
503 means and where it may be probed. Those differences live in this table and nowhere else: a new dialect is one entry.
`generic` trusts an unknown server with everything it is asked for, and lets it refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from backends.metrics_text import GaugeNames

Prefill = Literal["none", "native", "continue_final_message", "prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """Where a server may be asked how it is, without generating, draining or billing.

    Attributes:
        liveness: answers 200 when it serves; None where only the models list can be asked.
        metrics: Prometheus text; None where there is none.
        gauges: the names in it.
        models_every_s: how old the list of models may get. Without `liveness` that list is the liveness.
    """

    liveness: str | None = None
    metrics: str | None = None
    gauges: GaugeNames | None = None
    models: str = "/v1/models"
    models_every_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One dialect.

    Attributes:
        parameters: sampling field -> its name on this wire. A field that is absent cannot be asked for.
        stream_options: sent with every request; empty where the server refuses the field.
        response_formats: kinds of structured output it takes.
        any_tool: its word for "call some tool".
        message_names: whether `messages[].name` is taken.
        short_tool_ids: ids of tool calls are exactly nine alphanumerics.
        end_user: its field for the caller's own user; None if it refuses one (it shapes no answer, so it is left out).
        prefill: how a trailing assistant message is continued instead of answered.
        reasoning_outside_output: `completion_tokens` leaves reasoning tokens out.
        busy_503: a 503 is a full queue, not an illness.
        aborts_when_full: a full queue may show as finish reason "abort".
        api_key_header: the credential's header when it is not a bearer token.
    """

    name: str
    parameters: Mapping[str, str]
    stream_options: tuple[tuple[str, bool], ...] = (("include_usage", True),)
    tools: bool = True
    parallel_tool_calls: bool = True
    response_formats: frozenset[str] = frozenset({"text", "json_object", "json_schema"})
    images: bool = True
    any_tool: str = "required"
    message_names: bool = True
    short_tool_ids: bool = False
    end_user: str | None = "user"
    prefill: Prefill = "none"
    reasoning_outside_output: bool = False
    busy_503: bool = False
    aborts_when_full: bool = False
    api_key_header: str | None = None
    probe: ProbePlan = ProbePlan()


class UnknownProfile(ValueError):
    """No dialect of that name."""


def _parameters(*names: str, **renamed: str) -> Mapping[str, str]:
    return MappingProxyType({**{name: name for name in names}, **renamed})


_COMMON = ("temperature", "top_p", "stop")
_PENALTIES = ("presence_penalty", "frequency_penalty")
_LOGPROBS = ("logprobs", "top_logprobs")
_OPEN_SAMPLERS = ("top_k", "min_p", "repetition_penalty")

_GENERIC = Profile(
    name="generic",
    parameters=_parameters(
        *_COMMON, *_PENALTIES, *_LOGPROBS, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
    ),
    probe=ProbePlan(models_every_s=5.0),
)

_HOSTED = Profile(
    name="openai",
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
        busy_503=True,
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
        busy_503=True,
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
    replace(_HOSTED, name="azure", api_key_header="api-key"),
    replace(
        _HOSTED,
        name="groq",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
        ),
        message_names=False,
        busy_503=True,
    ),
    replace(
        _HOSTED,
        name="cerebras",
        parameters=_parameters(
            *_COMMON, *_LOGPROBS, "seed", "reasoning_effort", max_output_tokens="max_completion_tokens"
        ),
        images=False,
        busy_503=True,
    ),
    replace(
        _HOSTED,
        name="together",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        busy_503=True,
    ),
    replace(
        _HOSTED,
        name="fireworks",
        parameters=_parameters(
            *_COMMON, *_PENALTIES, *_OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        busy_503=True,
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
    ),
    replace(
        _HOSTED,
        name="deepseek",
        parameters=_parameters(*_COMMON, *_PENALTIES, *_LOGPROBS, max_output_tokens="max_tokens"),
        parallel_tool_calls=False,
        response_formats=frozenset({"text", "json_object"}),
        images=False,
        busy_503=True,
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


def profile(name: str) -> Profile:
    """The dialect of that name.

    Raises:
        UnknownProfile: there is none.
    """
    found = PROFILES.get(name)
    if found is None:
        raise UnknownProfile(f"unknown profile {name!r}; known: {', '.join(sorted(PROFILES))}")
    return found
