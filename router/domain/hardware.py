"""Accelerators and models, as the catalogues describe them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One accelerator. FLOP/s are dense, never sparse; bandwidth is of one device.

    `kind` is "gpu", "tpu", "asic", "lpu", "wafer", "device" or "hosted". `prior_sd_log` is how far off the physics
    prior is expected to be on it: 0.05 where it was fitted, 0.15 for its family, 0.35 for others, 0.50 for an API.
    `kernel_overhead` scales the per-layer launch overhead: statically scheduled chips have next to none.
    `bandwidth_efficiency` is the share of the nominal bandwidth that decoding reaches. `speedup_8bit` and
    `speedup_4bit` are its arithmetic at 8 and 4 bits over `flops_per_s` at 16: 1 where weights are only stored so.
    `expert_slowdown` is by how much mixtures of experts do worse there than dense models: less tuned kernels.
    """

    id: str
    name: str
    kind: str
    memory_bytes: float = 0.0
    memory_bandwidth_bytes_per_s: float = 0.0
    flops_per_s: float = 0.0
    tdp_w: float = 0.0
    prior_sd_log: float = 0.35
    kernel_overhead: float = 1.0
    bandwidth_efficiency: float = 1.0
    flops_efficiency: float = 1.0
    speedup_8bit: float = 1.0
    speedup_4bit: float = 1.0
    expert_slowdown: float = 1.0
    fixed_ttft_s: float = 0.0
    fixed_tpot_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. `active_parameters` differs from `parameters` for mixtures of experts only.

    `moe_layers` and `attention_layers` are how many of the `layers` have experts and keep a cache of tokens; 0 is all.
    `window_layers` of those see the last `window_tokens` only. `state_bytes` is what one sequence keeps in layers
    without such a cache (Mamba, linear attention): it is read and written at every step, whatever the context.
    `kv_heads` and `head_size` are 0 where the cache is not one of heads (latent attention) or nothing is published.
    `guessed` says that the figures follow from the model's name alone.
    `modalities` are what it reads: "text", "image", "audio", "video". `quality` is 0 to 1 by task, "*" the default;
    `quality_source` says what these numbers are.
    """

    id: str
    parameters: float = 0.0
    active_parameters: float = 0.0
    shared_parameters: float = 0.0
    experts: int = 0
    experts_per_token: int = 0
    layers: int = 0
    moe_layers: int = 0
    attention_layers: int = 0
    window_layers: int = 0
    window_tokens: int = 0
    attention_heads: int = 0
    kv_heads: int = 0
    head_size: int = 0
    kv_bytes_per_token: float = 0.0
    state_bytes: float = 0.0
    context_tokens: int = 0
    modalities: tuple[str, ...] = ("text",)
    quality: tuple[tuple[str, float], ...] = ()
    quality_source: str = ""
    guessed: bool = False

    def quality_for(self, task: str) -> float | None:
        """The quality on a task, the default where the task is unknown, None where neither is."""
        table = dict(self.quality)
        return table.get(task, table.get("*"))
