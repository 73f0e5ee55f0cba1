"""Load out of Prometheus text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.openai.profiles import PROFILES
from backends.probing.metrics_text import EngineLoad, GaugeNames, read_load


def names(profile: str) -> GaugeNames:
    found = PROFILES[profile].probe.gauges
    assert found is not None
    return found


VLLM = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a{b} c"} 3.0
vllm:num_requests_running{engine="1",model_name="a{b} c"} 4.0 1700000000000
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:num_requests_running_total{engine="0"} 99.0
"""


@pytest.mark.parametrize(
    ("profile", "text", "load"),
    [
        pytest.param("vllm", VLLM, EngineLoad(running=7, waiting=0, kv_cache_usage=0.375), id="engines are summed"),
        pytest.param("vllm", "vllm:gpu_cache_usage_perc 0.5", EngineLoad(kv_cache_usage=0.5), id="older name"),
        pytest.param(
            "vllm",
            "vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.25",
            EngineLoad(kv_cache_usage=0.25),
            id="newer name wins",
        ),
        pytest.param("vllm", "", EngineLoad(), id="missing is unknown"),
        pytest.param("vllm", "vllm:num_requests_running NaN", EngineLoad(), id="not a number is unknown"),
        pytest.param("vllm", "vllm:num_requests_running{a=", EngineLoad(), id="cut line"),
        pytest.param(
            "llama_cpp",
            "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n",
            EngineLoad(running=2, waiting=1),
            id="llama.cpp",
        ),
        pytest.param(
            "sglang",
            'sglang:num_running_reqs{tp_rank="0",dp_rank="0"} 2\nsglang:num_running_reqs{tp_rank="1",dp_rank="0"} 2\n'
            'sglang:num_running_reqs{tp_rank="0",dp_rank="1"} 5\nsglang:token_usage{tp_rank="0"} 0.1',
            EngineLoad(running=7, kv_cache_usage=0.1),
            id="parallel ranks are not counted twice",
        ),
    ],
)
def test_load_is_read_by_exact_names(profile: str, text: str, load: EngineLoad) -> None:
    """Only the gauges that are named count; what is absent stays unknown."""
    assert read_load(text, names(profile)) == load


@given(st.text(max_size=80), st.text(alphabet='{}"\\= 0123', max_size=30))
def test_no_text_breaks_the_reader(text: str, tail: str) -> None:
    """Metrics come from a server that may send anything."""
    found = read_load(f"{text}\nvllm:kv_cache_usage_perc{tail}", names("vllm"))
    assert found.kv_cache_usage is None or 0 <= found.kv_cache_usage <= 1


def test_labels_tell_apart_what_one_gauge_counts() -> None:
    """A name with labels reads the samples that have them, whatever other labels there are and in any order."""
    text = """
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{request_type="scheduled",model="tensorrt_llm",version="1"} 4
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
"""
    gauges = GaugeNames(
        running=('nv_trt_llm_request_metrics{request_type="scheduled"}',),
        waiting=('nv_trt_llm_request_metrics{request_type="waiting"}',),
        kv_cache_usage=('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',),
    )
    assert read_load(text, gauges) == EngineLoad(running=4, waiting=3)


@pytest.mark.parametrize(
    ("profile", "text", "load"),
    [
        (
            "trtllm",
            'trtllm_num_requests_running{model_name="m"} 2\ntrtllm_kv_cache_utilization 0.5\n',
            EngineLoad(running=2, kv_cache_usage=0.5),
        ),
        ("tgi", "tgi_batch_current_size 3\ntgi_queue_size 1\n", EngineLoad(running=3, waiting=1)),
        ("vllm_neuron", "vllm:gpu_cache_usage_perc 0.25\n", EngineLoad(kv_cache_usage=0.25)),
        ("vllm_tpu", "vllm:num_requests_running 1\n", EngineLoad(running=1)),
        (
            "llama_cpp",
            "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:kv_cache_usage_ratio 0.5\n",
            EngineLoad(running=1, waiting=2, kv_cache_usage=0.5),
        ),
    ],
)
def test_each_engine_has_its_own_names(profile: str, text: str, load: EngineLoad) -> None:
    """Current ones and older ones; a gauge that is not there is unknown."""
    assert read_load(text, names(profile)) == load
