"""Dialects of inference engines that somebody runs himself, one entry each.

They take more parameters than the vendors, tell their load, and differ most in what they do with a field they do not
know: vLLM and llama.cpp pass over it in silence, TensorRT-LLM refuses the request. So each has its own list.
"""

from __future__ import annotations

from dataclasses import replace

from backends.dialect import PAGED_CACHE, SLOT_CACHE, KeyHeader, parameters
from backends.failures.rules import BUSY_503
from backends.openai.local import GENERIC
from backends.openai.profile import Profile
from backends.openai.words import COMMON, EVERYTHING, LOGPROBS, OPEN_SAMPLERS, PENALTIES
from backends.probing.json_load import JsonLoad
from backends.probing.metrics_text import GaugeNames
from backends.probing.plan import Asleep, ProbePlan

_VLLM_PROBE = ProbePlan(
    liveness="/health",
    metrics="/metrics",
    gauges=GaugeNames(
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        kv_cache_usage=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    ),
)
# Reasoning goes back under its older name: what knows only the newer one turns the older into it.
_VLLM = replace(
    GENERIC,
    name="vllm",
    prefix_cache=PAGED_CACHE,
    prefill="continue_final_message",
    reasoning_back="reasoning_content",
    orca=True,
    failures=BUSY_503,
    probe=_VLLM_PROBE,
)

ENGINES: tuple[Profile, ...] = (
    _VLLM,
    # The first request of a new shape compiles for minutes: slow, not sick.
    replace(_VLLM, name="vllm_tpu"),
    # A fork that is versions behind: no ORCA, no prompt continuation by the newer field, static shapes. A schema goes
    # in `response_format`, which every version reads; the older `guided_json` is passed over by the newer ones.
    replace(
        _VLLM,
        name="vllm_neuron",
        orca=False,
        parameters=parameters(*COMMON, *PENALTIES, *OPEN_SAMPLERS, "seed", max_output_tokens="max_tokens"),
        capabilities=EVERYTHING,
        prefill="none",
    ),
    # One field it does not know and the request is refused. Its /metrics is JSON that a reader drains; the text is at
    # /prometheus/metrics, and only where the server was told to have it.
    Profile(
        name="trtllm",
        prefix_cache=PAGED_CACHE,
        capabilities=EVERYTHING,
        parameters=parameters(
            *COMMON, *PENALTIES, *LOGPROBS, *OPEN_SAMPLERS, "seed", "reasoning_effort", max_output_tokens="max_tokens"
        ),
        parallel_tool_calls=False,
        tool_choice_auto=True,
        end_user=None,
        failures=BUSY_503,
        probe=ProbePlan(
            liveness="/health",
            metrics="/prometheus/metrics",
            gauges=GaugeNames(
                running=("trtllm_num_requests_running",),
                waiting=("trtllm_num_requests_waiting",),
                kv_cache_usage=("trtllm_kv_cache_utilization",),
            ),
        ),
    ),
    # /health generates a token; /ping does not.
    replace(
        GENERIC,
        name="sglang",
        prefix_cache=PAGED_CACHE,
        prefill="continue_final_message",
        reasoning_back="reasoning_content",
        failures=BUSY_503,
        aborts_when_full=True,
        probe=ProbePlan(
            liveness="/ping",
            metrics="/metrics",
            gauges=GaugeNames(
                running=("sglang:num_running_reqs",),
                waiting=("sglang:num_queue_reqs",),
                kv_cache_usage=("sglang:token_usage",),
            ),
            loads=JsonLoad(
                path="/v1/loads?include=core",
                rows="loads",
                running="num_running_reqs",
                waiting="num_waiting_reqs",
                kv_cache_usage="token_usage",
            ),
        ),
    ),
    # Also Qualcomm's build for Hexagon. /slots is not asked: it counts as a task, and would keep a server that sleeps
    # when idle awake; /metrics and /props do not.
    replace(
        GENERIC,
        name="llama_cpp",
        prefix_cache=SLOT_CACHE,
        parameters=parameters(
            *COMMON,
            *PENALTIES,
            *LOGPROBS,
            "top_k",
            "min_p",
            "seed",
            max_output_tokens="max_tokens",
            repetition_penalty="repeat_penalty",
        ),
        prefill="native",
        reasoning_back="reasoning_content",
        probe=ProbePlan(
            liveness="/health",
            metrics="/metrics",
            gauges=GaugeNames(
                running=("llamacpp:requests_processing",),
                waiting=("llamacpp:requests_deferred",),
                kv_cache_usage=("llamacpp:kv_cache_usage_ratio",),
            ),
            asleep=Asleep(path="/props", field="is_sleeping"),
        ),
    ),
    # ExLlamaV2 and V3. The schema has a field of its own, and no seed is taken; its router's errors may hold paths.
    Profile(
        name="tabbyapi",
        key=KeyHeader(name="x-api-key", prefix=""),
        capabilities=EVERYTHING | {"assistant_prefill"},
        parameters=parameters(*COMMON, *PENALTIES, *OPEN_SAMPLERS, max_output_tokens="max_tokens"),
        schema_field="json_schema",
        prefill="continue_final_message",
        reasoning_back="reasoning_content",
        failures=BUSY_503,
        probe=ProbePlan(liveness="/health"),
    ),
    # Its /health may run a short generation; /info is only read.
    replace(
        GENERIC,
        name="tgi",
        parameters=parameters(*COMMON, *PENALTIES, *LOGPROBS, "seed", max_output_tokens="max_tokens"),
        capabilities=EVERYTHING,
        parallel_tool_calls=False,
        probe=ProbePlan(
            liveness="/info",
            metrics="/metrics",
            gauges=GaugeNames(running=("tgi_batch_current_size",), waiting=("tgi_queue_size",)),
        ),
    ),
    replace(GENERIC, name="mistralrs", probe=ProbePlan(liveness="/health")),
    # Counts its own speed inside usage; a stream may end without the marker once it has a finish reason.
    replace(GENERIC, name="gpustack"),
)
