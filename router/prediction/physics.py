"""The prior: how fast a model runs on an accelerator, from the two catalogues alone.

Decoding is bound by memory traffic and by launch overheads, prefill by arithmetic. A step costs a fixed time per layer,
the weights that its batch touches, and for each sequence its cache, its arithmetic and the host's work. The roofline
alone is 2.5 times too fast, because tensor parallelism does not divide the time per layer. Constants are fitted
(`constants`), their errors are in docs/prior.md.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.speed import Speed
from router.prediction.constants import FITTED, Constants

# Devices after which a collective operation takes noticeably longer: one board's mesh in the tables of the fit.
COLLECTIVE_FROM: Final = 8
# Weights of this many bytes are computed at 8 bits; below it they are stored at 4, above it everything is at 16.
EIGHT_BITS_FROM: Final = 0.75
EIGHT_BITS_TO: Final = 1.25
# Head size where the catalogue has none (latent attention), for the arithmetic of attention in a prefill.
HEAD_SIZE: Final = 128
# Estimated: engines that prepare the next step while the accelerator works hide part of the launches and of the host's
# work. Relative to vLLM, on which the constants were fitted: 0.55 where SGLang is published (DeepSeek-R1 on eight
# MI355X, 18.3 ms with 64 sequences), and moved half of the way there.
ENGINE_OVERHEAD: Final = {"sglang": 0.75, "trtllm": 0.75, "tensorrtllm": 0.75}

# Engines that work through several devices one after the other: those add memory, and neither bandwidth nor FLOP/s.
LAYER_BY_LAYER: Final = frozenset({"llama_cpp", "llama_cpp_embedded", "ollama"})


def speed(
    model: Model,
    hardware: Hardware,
    *,
    count: int,
    bytes_per_weight: float,
    bytes_per_kv: float = 2.0,
    expert_parallel: bool = False,
    draft_tokens: int = 0,
    draft_acceptance: float = 0.0,
    engine: str = "",
    constants: Constants = FITTED,
) -> Speed:
    """The prior for `count` accelerators that hold one replica of `model`.

    `bytes_per_kv` are of one cached value (2 at 16 bits, 1 at 8). With `expert_parallel` a device holds whole experts.
    With `draft_tokens` guessed at every step, each right with probability `draft_acceptance` given the one before, a
    step yields more than one token. Hardware without figures (a hosted API) has only its fixed times.
    """
    if hardware.flops_per_s <= 0.0 or hardware.memory_bandwidth_bytes_per_s <= 0.0 or model.parameters <= 0.0:
        return _hosted(hardware)
    if engine in LAYER_BY_LAYER:
        count = 1
    c = constants
    eight_bits = EIGHT_BITS_FROM < bytes_per_weight <= EIGHT_BITS_TO
    speedup = 1.0
    if bytes_per_weight <= EIGHT_BITS_TO:
        speedup = hardware.speedup_8bit if eight_bits else max(hardware.speedup_8bit, hardware.speedup_4bit)
    flops = hardware.flops_per_s * hardware.flops_efficiency * speedup * count
    bandwidth = hardware.memory_bandwidth_bytes_per_s * hardware.bandwidth_efficiency * count
    overhead = hardware.kernel_overhead * ENGINE_OVERHEAD.get(engine, 1.0)
    casts = eight_bits and hardware.speedup_8bit > 1.0
    experts = max(0.0, model.parameters - model.shared_parameters) if _mixture(model) else 0.0
    spread = expert_parallel and experts > 0.0 and count > 1

    layer_s = c.layer_s
    if count >= COLLECTIVE_FROM:
        layer_s += c.collective_s
    if casts:
        layer_s += c.cast_s
    slowdown = hardware.expert_slowdown if experts > 0.0 else 1.0
    launches_s = model.layers * layer_s * slowdown
    expert_traffic = c.expert_traffic
    if spread:
        # That share of tokens has its experts elsewhere.
        launches_s += (model.moe_layers or model.layers) * c.expert_layer_s * (1.0 - 1.0 / count)
        expert_traffic += c.cast_expert_traffic if casts else 0.0
    dense_s = c.weight_traffic * bytes_per_weight * (model.parameters - experts) / bandwidth
    experts_s = slowdown * expert_traffic * bytes_per_weight * experts / bandwidth
    arithmetic_s = 2.0 * (model.active_parameters or model.parameters) / flops
    cache_s = c.kv_traffic * model.kv_bytes_per_token * 0.5 * bytes_per_kv / bandwidth
    windowed = model.window_layers / (model.attention_layers or model.layers) if model.layers else 0.0

    # A step with drafts checks each of them like one more token, reads each cache once, and runs a layer per draft.
    tokens = tokens_per_step(draft_tokens, draft_acceptance)
    drafting = 1.0 + (draft_tokens / model.layers if model.layers else 0.0)
    checked = 1 + max(0, draft_tokens)
    sequence_s = (
        checked * c.arithmetic * arithmetic_s
        + c.state_traffic * 2.0 * model.state_bytes / bandwidth
        + overhead * c.sequence_s
    )
    return Speed(
        fixed_s=hardware.fixed_tpot_s + overhead * launches_s * drafting / tokens,
        weights_s=(dense_s + experts_s) * drafting / tokens,
        sequence_s=sequence_s / tokens,
        context_s=cache_s * (1.0 - windowed) / tokens,
        window_s=cache_s * windowed / tokens,
        window_tokens=float(model.window_tokens),
        expert_share=experts_s / (dense_s + experts_s) if experts_s > 0.0 else 0.0,
        expert_miss=(1.0 - model.experts_per_token / model.experts) ** checked if experts_s > 0.0 else 0.0,
        prefill_base_s=hardware.fixed_ttft_s + overhead * c.prefill_layer_s * model.layers,
        prefill_token_s=c.prefill_arithmetic * arithmetic_s
        + overhead * c.prefill_hop_s * model.layers * _doublings(count),
        prefill_square_s=c.prefill_arithmetic * (1.0 - windowed) * _attention_flops(model) / flops,
    )


def served_speed(model: Model, hardware: Hardware, backend: Backend, served: ServedModel) -> Speed:
    """The prior of a model as a backend of the fleet serves it."""
    return speed(
        model,
        hardware,
        count=backend.hardware_count,
        bytes_per_weight=served.bytes_per_weight or 2.0,
        bytes_per_kv=served.bytes_per_kv or 2.0,
        expert_parallel=served.expert_parallel,
        draft_tokens=served.draft_tokens,
        draft_acceptance=served.draft_acceptance,
        engine=backend.profile or backend.wire,
    )


def tokens_per_step(draft_tokens: int, draft_acceptance: float) -> float:
    """Tokens that one step yields: 1 + a + a^2 + ... + a^k, the drafts up to the first wrong one and one more."""
    return sum(min(max(draft_acceptance, 0.0), 1.0) ** n for n in range(max(0, draft_tokens) + 1))


def _hosted(hardware: Hardware) -> Speed:
    """The published medians of an API: nothing else is known of it."""
    return Speed(
        fixed_s=hardware.fixed_tpot_s,
        weights_s=0.0,
        sequence_s=0.0,
        context_s=0.0,
        expert_share=0.0,
        expert_miss=0.0,
        prefill_base_s=hardware.fixed_ttft_s,
        prefill_token_s=0.0,
    )


def _mixture(model: Model) -> bool:
    return model.experts > 1 and model.experts_per_token > 0


def _doublings(count: int) -> float:
    return math.log2(count) if count > 1 else 0.0


def _attention_flops(model: Model) -> float:
    """FLOPs of attention per squared prompt token: scores and values, half of each because of the causal mask."""
    return 2.0 * (model.attention_layers or model.layers) * model.attention_heads * (model.head_size or HEAD_SIZE)
