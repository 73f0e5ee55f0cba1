"""Engines with an OpenAI-like face, emulated: what their source does, down to the blank before a line's end.

Each also serves the pages that must never be asked for (what generates or drains), so that a test can count that nobody
did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from simulation.wires import openai_problems as problems
from simulation.wires.openai_chunks import Told
from simulation.wires.openai_problems import Problem, encode
from simulation.wires.openai_shapes import whole_calls
from simulation.wires.openai_vendor import Events, Vendor, fields
from simulation.wires.openai_vendors import models_page

_TEXT = "text/plain; version=0.0.4"
_OK = (200, b"", "text/plain")
_TRTLLM_METRICS = (
    b'trtllm_num_requests_running{model_name="m"} 2.0\n'
    b'trtllm_num_requests_waiting{model_name="m"} 1.0\n'
    b'trtllm_kv_cache_utilization{model_name="m"} 0.5\n'
)
_LOADS = {
    "version": "emulated",
    "loads": [
        {"dp_rank": rank, "num_running_reqs": 2, "num_waiting_reqs": rank, "token_usage": 0.25 + rank / 2}
        for rank in range(2)
    ],
}


def _metrics(cache: str, more: str = "") -> tuple[int, bytes, str]:
    """A page of vLLM; older engines call the cache otherwise."""
    text = f"vllm:num_requests_running 2.0\nvllm:num_requests_waiting 1.0\nvllm:{cache} 0.5\n{more}"
    return 200, text.encode(), _TEXT


def _vllm(shaped: Events, told: Told) -> Events:
    for event in shaped:
        for choice in event["choices"]:
            choice["stop_reason"] = told.answer.stop
    return shaped


def _llama(shaped: Events, told: Told) -> Events:
    """Times and counts beside the usage."""
    counts = {"cache_n": told.cached, "prompt_n": told.prompt - told.cached, "predicted_n": told.output}
    shaped[-1]["timings"] = {**counts, "prompt_ms": 250.0, "predicted_ms": 2000.0}
    return shaped


def _sglang(shaped: Events, told: Told) -> Events:
    """`reasoning_content` in every delta, and what stopped it beside the finish reason."""
    for event in shaped:
        for choice in event["choices"]:
            choice["delta"] = {"reasoning_content": None, **choice["delta"]}
            choice["matched_stop"] = told.answer.stop if choice["finish_reason"] else None
    return shaped


def _sglang_usage(told: Told) -> dict[str, Any]:
    counts = told.usage()
    kept = {name: counts[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {**kept, "prompt_tokens_details": None, "reasoning_tokens": told.reasoning}


def _tabby(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    for event in shaped:
        for choice in event["choices"]:
            choice["delta"] = {"role": "assistant", **choice["delta"]}
    return shaped


def _trace(problem: Problem) -> dict[str, Any]:
    return {"error": {"message": problem.message, "trace": "File /srv/secret/place/model.py, line 12"}}


def _mlx(shaped: Events, told: Told) -> Events:  # noqa: ARG001 - the shape of a hook
    """The role in every delta and never alone, calls whole, and usage under a whole answer's name."""
    for event in shaped:
        if not event["choices"]:
            event["object"] = "chat.completion"
        for choice in event["choices"]:
            choice["delta"] = {"role": "assistant", **choice["delta"]}
            del choice["logprobs"]
    return whole_calls(shaped[1:], at=0)


_VLLM = Vendor(
    name="vllm",
    thought_field="reasoning",
    shape=_vllm,
    error=problems.vllm,
    stream_error=problems.coded,
    done_after_error=True,
    words={503: Problem(status=503, message="The request queue is full.", kind="ServiceUnavailableError")},
    pages={"/health": _OK, "/v1/models": models_page(), "/metrics": _metrics("kv_cache_usage_perc")},
)

_TABLE = (
    _VLLM,
    replace(
        _VLLM,
        name="vllm_tpu",
        pages={**_VLLM.pages, "/metrics": _metrics("kv_cache_usage_perc", "vllm:tpu_hbm_usage_perc 0.75\n")},
    ),
    # A version that is behind: older names, and errors without a nest.
    replace(
        _VLLM,
        name="vllm_neuron",
        thought_field="reasoning_content",
        error=problems.flat_object,
        pages={**_VLLM.pages, "/metrics": _metrics("gpu_cache_usage_perc")},
    ),
    Vendor(
        name="llama_cpp",
        shape=_llama,
        error=problems.coded,
        stream_error=problems.coded,
        any_model=True,
        pages={
            "/health": (200, encode({"status": "ok"}), "application/json"),
            "/props": (200, encode({"total_slots": 1, "is_sleeping": False}), "application/json"),
            "/v1/models": models_page(),
            "/slots": (200, encode([{"id": 0, "is_processing": False}]), "application/json"),
        },
    ),
    # As LM Studio is.
    Vendor(name="local", key_header="", error=problems.words, pages={"/v1/models": models_page()}),
    Vendor(
        name="trtllm",
        key_header="",
        fields=fields(
            "messages model frequency_penalty logprobs top_logprobs max_tokens n presence_penalty response_format seed "
            "stop stream stream_options temperature top_p tools tool_choice top_k min_p repetition_penalty "
            "reasoning_effort"
        ),
        error=problems.flat_object,
        stream_error=problems.flat_object,
        frame=(b"data: ", b" \n\n"),
        pages={
            "/health": _OK,
            "/v1/models": models_page(),
            "/prometheus/metrics": (200, _TRTLLM_METRICS, _TEXT),
            "/metrics": (200, encode([{"iter": 1}]), "application/json"),
            "/health_generate": _OK,
        },
    ),
    Vendor(
        name="sglang",
        usage=_sglang_usage,
        shape=_sglang,
        error=problems.flat_object,
        stream_error=problems.nested,
        done_after_error=True,
        words={503: Problem(status=503, message="The request queue is full.", kind="service_unavailable")},
        pages={
            "/ping": _OK,
            "/health": _OK,
            "/health_generate": _OK,
            "/v1/models": models_page(),
            "/v1/loads": (200, encode(_LOADS), "application/json"),
        },
    ),
    Vendor(
        name="tabbyapi",
        key_header="x-api-key",
        key_prefix="",
        shape=_tabby,
        error=problems.detail,
        stream_error=_trace,
        frame=(b"data: ", b"\r\n\r\n"),
        pages={
            "/health": (200, encode({"status": "healthy", "issues": []}), "application/json"),
            "/v1/models": models_page(),
        },
    ),
    Vendor(
        name="mlx",
        key_header="",
        thought_field="reasoning",
        shape=_mlx,
        error=problems.words,
        http10=True,
        pages={"/health": (200, encode({"status": "ok"}), "application/json"), "/v1/models": models_page()},
    ),
)

ENGINES: Mapping[str, Vendor] = MappingProxyType({vendor.name: vendor for vendor in _TABLE})
