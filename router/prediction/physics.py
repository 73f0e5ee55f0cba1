"""The prior: how fast a model runs on an accelerator, from the two catalogues alone.

Decoding is bound by memory traffic and by launch overheads, prefill by arithmetic. The coefficients are those of a
non-negative relative least-squares fit on 230 published points (16 models of 8B to 405B, H100 and B200, 1 to 8 GPUs):
11.9 % mean error when a model is left out. The pure roofline is off by 60 % on the same points, because tensor
parallelism does not divide the per-layer overhead.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.hardware import Hardware, Model
from router.domain.speed import Speed

LAYER_OVERHEAD_S: Final = 81.4e-6
WEIGHT_TRAFFIC: Final = 0.995
KV_TRAFFIC: Final = 1.80
DECODE_ARITHMETIC: Final = 0.382
LAYER_COMMUNICATION_S: Final = 27.0e-6
SEQUENCE_OVERHEAD_S: Final = 45.1e-6
MOE_LAYER_SEQUENCE_S: Final = 0.757e-6
PREFILL_LAYER_S: Final = 369e-6
PREFILL_ARITHMETIC: Final = 1.57
PREFILL_COMMUNICATION_S: Final = 174e-9


def speed(model: Model, hardware: Hardware, *, count: int, bytes_per_weight: float) -> Speed:
    """The prior for `count` accelerators that hold one replica of `model`.

    Hardware without figures (a hosted API) has only its fixed times, which are published medians.
    """
    if hardware.flops_per_s <= 0.0 or hardware.memory_bandwidth_bytes_per_s <= 0.0 or model.parameters <= 0.0:
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
    flops = hardware.flops_per_s * hardware.flops_efficiency * count
    bandwidth = hardware.memory_bandwidth_bytes_per_s * hardware.bandwidth_efficiency * count
    hops = math.log2(count) if count > 1 else 0.0
    overhead = hardware.kernel_overhead
    active = model.active_parameters or model.parameters
    moe = model.experts > 1 and model.experts_per_token > 0
    weight_bytes = bytes_per_weight * model.parameters
    expert_share = 0.0
    if moe:
        expert_share = max(0.0, model.parameters - model.shared_parameters) / model.parameters
    return Speed(
        fixed_s=hardware.fixed_tpot_s + overhead * model.layers * (LAYER_OVERHEAD_S + LAYER_COMMUNICATION_S * hops),
        weights_s=WEIGHT_TRAFFIC * weight_bytes / bandwidth,
        sequence_s=DECODE_ARITHMETIC * 2.0 * active / flops
        + overhead * (SEQUENCE_OVERHEAD_S + (MOE_LAYER_SEQUENCE_S * model.layers if moe else 0.0)),
        context_s=KV_TRAFFIC * model.kv_bytes_per_token / bandwidth,
        expert_share=expert_share,
        expert_miss=1.0 - model.experts_per_token / model.experts if moe else 0.0,
        prefill_base_s=hardware.fixed_ttft_s + overhead * PREFILL_LAYER_S * model.layers,
        prefill_token_s=PREFILL_ARITHMETIC * 2.0 * active / flops
        + overhead * PREFILL_COMMUNICATION_S * model.layers * hops,
    )
