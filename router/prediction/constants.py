"""The constants of the physics prior: written by `python -m simulation.fit --write`, explained in docs/prior.md.

Decoding was fitted on public measurements of ML.ENERGY v3 (vLLM on H100 and B200), prefill on Splitwise (A100, H100).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Times in seconds, on the accelerator that `kernel_overhead` 1 is about; the others multiply a physical time.

    Decoding, of one step: `layer_s` launches per layer; `collective_s` more per layer where eight or more devices meet
    after it; `cast_s` more per layer where activations are cast to 8 bits; `expert_layer_s` more per layer of experts
    that are spread over devices. `weight_traffic`, `expert_traffic`, `kv_traffic` and `state_traffic` multiply bytes
    over nominal bandwidth; `cast_expert_traffic` is added to that of experts that are spread and stored at 8 bits.
    `arithmetic` multiplies FLOPs over peak. `sequence_s` is the host's work for one more sequence in a step.

    Prefill, of one prompt: `prefill_layer_s` per layer; `prefill_arithmetic` times FLOPs over peak; `prefill_hop_s` per
    layer, token and doubling of devices.
    """

    layer_s: float
    collective_s: float
    cast_s: float
    expert_layer_s: float
    weight_traffic: float
    expert_traffic: float
    cast_expert_traffic: float
    kv_traffic: float
    state_traffic: float
    arithmetic: float
    sequence_s: float
    prefill_layer_s: float
    prefill_arithmetic: float
    prefill_hop_s: float


FITTED = Constants(
    layer_s=7.59e-05,
    collective_s=2.54e-05,
    cast_s=4.81e-05,
    expert_layer_s=7.51e-05,
    weight_traffic=0.987,
    expert_traffic=1.17,
    cast_expert_traffic=0.611,
    kv_traffic=1.13,
    state_traffic=1.17,
    arithmetic=1.1,
    sequence_s=5.56e-05,
    prefill_layer_s=0.000315,
    prefill_arithmetic=1.54,
    prefill_hop_s=1.53e-07,
)
