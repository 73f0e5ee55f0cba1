"""The prior knows what serves a model: precision, spread experts, windows, states, drafts and the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.hardware import Hardware, Model
from router.prediction.beginning import prior_sd_log
from router.prediction.physics import speed, tokens_per_step

H100 = Hardware(
    id="h100",
    name="H100",
    kind="gpu",
    memory_bytes=80e9,
    memory_bandwidth_bytes_per_s=3.35e12,
    flops_per_s=989e12,
    speedup_8bit=2.0,
    prior_sd_log=0.06,
)
DENSE = Model(id="dense", parameters=70e9, layers=80, attention_heads=64, head_size=128, kv_bytes_per_token=327680.0)
MIXTURE = replace(DENSE, id="mixture", active_parameters=10e9, shared_parameters=5e9, experts=128, experts_per_token=8)


def tpot(model: Model, batch: float = 32.0, context: float = 2000.0, hardware: Hardware = H100, **how: object) -> float:
    """Seconds per token on four devices."""
    given = {"count": 4, "bytes_per_weight": 2.0, **how}
    return speed(model, hardware, **given).tpot_s(batch, context)  # type: ignore[arg-type]


def test_eight_bits_are_faster_than_sixteen_and_four_than_eight() -> None:
    """Less is read; casting activations costs less than that saves."""
    assert tpot(DENSE, bytes_per_weight=0.53) < tpot(DENSE, bytes_per_weight=1.0) < tpot(DENSE)


def test_arithmetic_gains_only_where_the_hardware_has_it() -> None:
    """At a large batch, where arithmetic counts, weights that are only stored at 8 bits gain less."""
    stored = replace(H100, speedup_8bit=1.0)
    large = {"batch": 4096.0, "context": 1.0, "bytes_per_weight": 1.0}

    assert tpot(DENSE, **large) < tpot(DENSE, hardware=stored, **large)  # type: ignore[arg-type]


def test_a_quantised_cache_is_read_faster() -> None:
    """Half the bytes, half the time that grows with context."""
    full, half = (speed(DENSE, H100, count=4, bytes_per_weight=2.0, bytes_per_kv=size) for size in (2.0, 1.0))

    assert half.context_s == pytest.approx(full.context_s / 2)


def test_more_devices_share_traffic_and_not_launches() -> None:
    """Eight devices are faster than four, by less than half."""
    four, eight = tpot(DENSE), tpot(DENSE, count=8)

    assert 0.5 * four < eight < four


def test_a_batch_reads_the_experts_that_it_touches() -> None:
    """One sequence reads few of them, many sequences nearly all; spreading them costs exchanges."""
    assert tpot(MIXTURE, batch=1.0) < 0.5 * tpot(MIXTURE, batch=64.0)
    assert tpot(MIXTURE) < tpot(MIXTURE, expert_parallel=True)
    assert tpot(DENSE) == tpot(DENSE, expert_parallel=True)


def test_less_tuned_kernels_for_experts_slow_mixtures_only() -> None:
    """`expert_slowdown` leaves dense models as they are."""
    slower = replace(H100, expert_slowdown=1.5)

    assert tpot(MIXTURE, hardware=slower) > 1.2 * tpot(MIXTURE)
    assert tpot(DENSE, hardware=slower) == tpot(DENSE)


def test_windows_bound_what_context_costs() -> None:
    """Layers with a window read no more beyond it, and the same below it."""
    windowed = replace(DENSE, window_layers=60, window_tokens=1024)

    assert tpot(windowed, context=1024.0) == pytest.approx(tpot(DENSE, context=1024.0))
    growth = tpot(windowed, context=9216.0) - tpot(windowed, context=1024.0)
    assert growth == pytest.approx((tpot(DENSE, context=9216.0) - tpot(DENSE, context=1024.0)) / 4)


def test_states_are_read_and_written_for_each_sequence() -> None:
    """Their time grows with the batch and not with the context."""
    hybrid = replace(DENSE, attention_layers=8, kv_bytes_per_token=32768.0, state_bytes=70e6)
    plain = replace(hybrid, state_bytes=0.0)

    assert tpot(hybrid, batch=64.0) - tpot(plain, batch=64.0) == pytest.approx(
        2.0 * (tpot(hybrid, batch=32.0) - tpot(plain, batch=32.0))
    )


def test_drafts_that_are_right_make_tokens_and_wrong_ones_cost_a_little() -> None:
    """Three drafts with acceptance 0.8 yield 2.95 tokens a step; useless ones make a small batch 5 % slower at most."""
    assert tokens_per_step(3, 0.8) == pytest.approx(1 + 0.8 + 0.64 + 0.512)
    assert tokens_per_step(0, 0.8) == 1.0

    alone = {"batch": 1.0}
    assert tpot(DENSE, **alone, draft_tokens=3, draft_acceptance=0.8) < 0.4 * tpot(DENSE, **alone)  # type: ignore[arg-type]
    useless = tpot(DENSE, **alone, draft_tokens=3, draft_acceptance=0.0)  # type: ignore[arg-type]
    assert tpot(DENSE, **alone) < useless < 1.05 * tpot(DENSE, **alone)  # type: ignore[arg-type]


def test_an_engine_that_prepares_ahead_hides_launches() -> None:
    """Relative to the engine of the fit, which is also what an unknown one is taken for."""
    assert tpot(DENSE, engine="sglang") < tpot(DENSE, engine="vllm") == tpot(DENSE, engine="other")


def test_long_prompts_take_more_than_their_share() -> None:
    """Attention grows with the square."""
    prior = speed(DENSE, H100, count=4, bytes_per_weight=2.0)
    rest = prior.prefill_base_s

    assert prior.prefill_s(64000) - rest > 2.2 * (prior.prefill_s(32000) - rest)
    assert prior.prefill_s(64000) - rest < 4.0 * (prior.prefill_s(32000) - rest)


def test_over_a_whole_answer_the_prompts_of_others_count() -> None:
    """Alone nothing is added; in a batch more for long prompts and short answers."""
    prior = speed(DENSE, H100, count=4, bytes_per_weight=2.0)

    assert prior.answer_tpot_s(1, 1000, 1000, 100) == prior.tpot_s(1, 1000)
    assert prior.answer_tpot_s(32, 1000, 1000, 100) > prior.answer_tpot_s(32, 1000, 1000, 1000) > prior.tpot_s(32, 1000)


def test_less_is_believed_of_what_is_less_known() -> None:
    """Mixtures, other engines and models that only a name tells of are further off."""
    known = prior_sd_log(DENSE, H100, "vllm")

    assert known == H100.prior_sd_log
    assert prior_sd_log(MIXTURE, H100, "vllm") > known
    assert prior_sd_log(DENSE, H100, "sglang") > known
    assert prior_sd_log(replace(DENSE, guessed=True), H100) > 0.3
    assert prior_sd_log(MIXTURE, replace(H100, kind="hosted", prior_sd_log=0.5), "openai") == 0.5


@pytest.mark.parametrize("engine", ["llama_cpp", "llama_cpp_embedded", "ollama"])
def test_engines_that_go_layer_by_layer_gain_memory_and_no_speed_from_more_devices(engine: str) -> None:
    """Llama.cpp on four devices is as fast as on one; vLLM is not."""
    assert tpot(DENSE, engine=engine) == tpot(DENSE, engine=engine, count=1)
    assert tpot(DENSE, engine="vllm") < 0.5 * tpot(DENSE, engine="vllm", count=1)
