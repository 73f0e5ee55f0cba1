"""What a model's name says of it, where the catalogue says nothing: "Foo-70B-A12B-FP8" has 70e9 weights, 12e9 active.

Layers, heads and cache follow from the sizes by rules fitted to the models of config/models.yaml: within a third for
nine of ten of them, so that the guess is good for a prior and for nothing else. A guessed model is marked as such.
"""

from __future__ import annotations

import re
from typing import Final

from router.domain.hardware import Model

_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bmt])(?![a-z])", re.IGNORECASE)
_ACTIVE = re.compile(r"(?<![a-z0-9])a(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)
_EXPERTS = re.compile(r"(?<![a-z0-9.])(\d+)x(\d+(?:\.\d+)?)b(?![a-z])", re.IGNORECASE)
_UNIT: Final = {"m": 1e6, "b": 1e9, "t": 1e12}
# The more special one of two first: "nvfp4" before "fp4".
_BYTES: Final = (
    (r"mxfp4|nvfp4|fp4|w4a4", 0.53),
    (r"int4|w4a16|4.?bit|awq|gptq|q4_?[k01]|q4(?!\d)|nf4", 0.56),
    (r"q5_", 0.69),
    (r"q6_", 0.82),
    (r"int8|w8a8|8.?bit|q8_|fp8|e4m3", 1.0),
    (r"bf16|fp16|f16|float16|half", 2.0),
    (r"fp32|f32|float32", 4.0),
)
# Of a mixture whose name says no more: what most of those in the catalogue have.
EXPERTS: Final = 128
EXPERTS_PER_TOKEN: Final = 8
HEAD_SIZE: Final = 128
KV_HEADS: Final = 8


def bytes_per_weight(name: str) -> float | None:
    """Bytes of a weight by a format in the name ("fp8", "Q4_K_M", "bfloat16"), or None."""
    plain = name.lower()
    for pattern, size in _BYTES:
        if re.search(pattern, plain):
            return size
    return None


def parameters(name: str) -> tuple[float, float] | None:
    """(Weights, active weights) by the name, or None where it says no size."""
    mixture = _EXPERTS.search(name)
    if mixture:
        # Experts share their attention: 8x7B has 47e9 weights, not 56e9, and two of eight experts work on a token.
        each = float(mixture[2]) * 1e9
        return 0.84 * int(mixture[1]) * each, 1.8 * each
    sizes = [float(size) * _UNIT[unit.lower()] for size, unit in _SIZE.findall(name)]
    if not sizes:
        return None
    active = _ACTIVE.search(name)
    total = max(sizes)
    return total, min(total, float(active[1]) * _UNIT[active[2].lower()]) if active else total


def guessed(name: str) -> Model | None:
    """The model that a name describes, marked as guessed, or None where it says no size."""
    sizes = parameters(name)
    if sizes is None:
        return None
    total, active = sizes
    mixture = active < 0.9 * total
    # Fitted: 32 to 36 layers at 8e9, 80 at 70e9; mixtures are as deep as what is active in them.
    layers = round(40.0 * (active / 5e9) ** 0.2) if mixture else round(34.0 * (total / 8e9) ** 0.37)
    shared = max(0.02 * total, active - EXPERTS_PER_TOKEN / EXPERTS * total) if mixture else 0.0
    return Model(
        id=name,
        parameters=total,
        active_parameters=active if mixture else 0.0,
        shared_parameters=min(shared, active),
        experts=EXPERTS if mixture else 0,
        experts_per_token=EXPERTS_PER_TOKEN if mixture else 0,
        layers=max(1, layers),
        attention_heads=max(8, 8 * round(layers / 10)),
        kv_heads=KV_HEADS,
        head_size=HEAD_SIZE,
        kv_bytes_per_token=4.0 * max(1, layers) * KV_HEADS * HEAD_SIZE,
        guessed=True,
    )
