"""The shipped catalogues give the physics prior published speeds, and say where each figure is from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from router.prediction.physics import speed
from router.settings import Settings

CONFIG = Path(__file__).parents[3] / "config"
Q4_BYTES = 4.92e9 / 8.03e9


class Anchor(NamedTuple):
    """A published speed in tokens a second per sequence, of a single stream unless `batch` says more."""

    source: str
    tokens_per_s: float
    model: str
    hardware: str
    devices: int = 1
    bytes_per_weight: float = 2.0
    batch: int = 1
    context: float = 300.0

    def __str__(self) -> str:
        return f"{self.devices}x {self.hardware}, {self.model}, batch {self.batch}, {self.source}"


ANCHORS = [
    Anchor("measured", 267, "llama-2-70b", "groq-lpu-v1", 576, 1.0),
    Anchor("vendor", 750, "llama-3.1-8b", "groq-lpu-v1", 576, 1.0),
    Anchor("vendor", 1800, "llama-3.1-8b", "cerebras-wse3", 4),
    Anchor("vendor", 2100, "llama-3.3-70b", "cerebras-wse3", 4),
    Anchor("measured", 76.3, "llama-3-8b", "m2-ultra", 1, Q4_BYTES),
    Anchor("measured", 50.7, "llama-3-8b", "m3-max", 1, Q4_BYTES),
    Anchor("measured", 20.9, "llama-3.1-8b", "m4", 1, Q4_BYTES),
    Anchor("measured", 127.7, "llama-3-8b", "rtx4090", 1, Q4_BYTES),
    Anchor("measured", 54.3, "llama-3-8b", "rtx4090"),
    Anchor("measured", 113.6, "llama-3-8b", "l40s", 1, Q4_BYTES),
    Anchor("measured", 1 / 7.3e-3, "llama-3.1-8b", "h100-sxm-80", 1, 2.0, 8, 700),
    Anchor("measured", 1 / 11.5e-3, "llama-3.1-8b", "h100-sxm-80", 1, 2.0, 63, 700),
    Anchor("measured", 1 / 26.1e-3, "llama-3.1-8b", "h100-sxm-80", 1, 2.0, 255, 700),
    Anchor("measured", 1 / 16.6e-3, "llama-3-70b", "h100-sxm-80", 4, 2.0, 8, 700),
    Anchor("measured", 1 / 22.4e-3, "llama-3-70b", "h100-sxm-80", 4, 2.0, 63, 700),
    Anchor("measured", 1 / 39.8e-3, "llama-3-70b", "h100-sxm-80", 4, 2.0, 255, 700),
    Anchor("measured", 1 / 33.2e-3, "llama-3.1-405b", "h100-sxm-80", 8, 1.0, 8, 450),
    Anchor("measured", 1 / 39.3e-3, "llama-3.1-405b", "h100-sxm-80", 8, 1.0, 63, 450),
    Anchor("measured", 1 / 66.9e-3, "llama-3.1-405b", "h100-sxm-80", 8, 1.0, 255, 450),
    Anchor("measured", 1 / 18.3e-3, "deepseek-r1", "mi355x", 8, 1.0, 64, 1536),
    Anchor("measured", 1 / 7.6e-3, "qwen3.5-397b-a17b", "tpu-v7", 4, 1.0, 4, 1500),
    Anchor("measured", 1 / 52.9e-3, "glm-4.7", "gaudi3", 8, 2.0, 1, 1500),
    Anchor("measured", 1 / 160e-3, "glm-4.7", "gaudi3", 8, 2.0, 128, 1500),
    Anchor("estimated", 80, "smollm2-135m", "cpu-small", 1, 0.68),
]


@pytest.mark.parametrize("anchor", ANCHORS, ids=str)
def test_the_prior_lands_within_forty_percent_of_published_speed(anchor: Anchor, shipped: Settings) -> None:
    """With no observation at all, decoding is predicted within 40 % of what was published."""
    model, hardware = shipped.catalogue.models[anchor.model], shipped.catalogue.hardware[anchor.hardware]
    prior = speed(model, hardware, count=anchor.devices, bytes_per_weight=anchor.bytes_per_weight)

    assert 1.0 / prior.tpot_s(anchor.batch, anchor.context) == pytest.approx(anchor.tokens_per_s, rel=0.4)


def test_first_tokens_land_near_published_ones(shipped: Settings) -> None:
    """TTFT of a short prompt: about 0.15 s on the small CPU, 0.22 s on the LPU pool with its network."""
    catalogue = shipped.catalogue
    cpu = speed(catalogue.models["smollm2-135m"], catalogue.hardware["cpu-small"], count=1, bytes_per_weight=0.68)
    lpu = speed(catalogue.models["llama-2-70b"], catalogue.hardware["groq-lpu-v1"], count=576, bytes_per_weight=1)
    network = next(b.network_rtt_s for b in shipped.seed.backends if b.id == "groq-lpu")

    assert cpu.prefill_s(40) == pytest.approx(0.15, rel=0.4)
    assert lpu.prefill_s(550) + network == pytest.approx(0.222, rel=0.4)


def test_every_shipped_backend_has_a_speed(shipped: Settings) -> None:
    """Every served model has finite, positive times, and Inferentia2 is slower than the H100s and cheaper an hour."""
    tpot: dict[tuple[str, str], float] = {}
    for backend in shipped.seed.backends:
        hardware = shipped.catalogue.hardware[backend.hardware]
        for served in backend.models:
            model = shipped.catalogue.models[served.model]
            prior = speed(
                model, hardware, count=backend.hardware_count, bytes_per_weight=served.bytes_per_weight or 2.0
            )
            assert 0.0 < prior.prefill_s(100.0) < 10.0
            assert 0.0 < prior.tpot_s(1.0, 500.0) < 1.0
            tpot[backend.id, served.model] = prior.tpot_s(1.0, 500.0)
    hourly = {price.backend: price.usd_per_hour for price in shipped.seed.prices if price.usd_per_hour}

    assert tpot["inferentia2-neuron", "llama-3.1-8b"] > 2 * tpot["h100-vllm", "llama-3.1-8b"]
    assert hourly["inferentia2-neuron"] < hourly["h100-vllm"]


def test_the_catalogue_knows_every_named_accelerator_and_model(shipped: Settings) -> None:
    """Each accelerator and model that the product names is in the catalogues."""
    assert set(shipped.catalogue.hardware) >= {
        "a100-sxm-80", "h100-sxm-80", "h200-sxm-141", "b200-sxm-180", "gb200-nvl72", "mi300x", "mi325x", "mi355x",
        "l40s", "l4", "rtx4090", "gaudi3", "inferentia2", "trainium2", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e",
        "tpu-v7", "groq-lpu-v1", "cerebras-wse3", "maia100", "m2-ultra", "m3-max", "m4", "snapdragon-x-elite",
        "cpu-small", "hosted", "b300-sxm-288", "gb300-nvl72", "h20-96", "h100-pcie-80", "h100-nvl-94", "a10g", "a6000",
        "rtx3090", "rtx5090", "mi210", "mi250x", "mi350x", "gaudi2", "trainium1", "trainium3", "m1", "m1-max",
    }  # fmt: skip
    assert set(shipped.catalogue.models) >= {
        "smollm2-135m", "phi-3-mini", "phi-4", "llama-3-8b", "llama-3.1-8b", "mixtral-8x7b", "llama-2-70b",
        "llama-3-70b", "llama-3.3-70b", "llama-4-maverick", "deepseek-r1", "gpt-oss-120b",
        "qwen3-235b-a22b", "qwen3-8b", "qwen3-next-80b-a3b", "qwen3-coder-480b-a35b", "qwen3.5-397b-a17b", "glm-4.5",
        "glm-4.7", "kimi-k2", "minimax-m2", "deepseek-v3", "deepseek-v3.1", "gpt-oss-20b", "gemma-2-27b", "gemma-3-12b",
        "nemotron-nano-9b-v2", "command-r-35b", "yi-34b", "falcon-40b", "mistral-7b", "llama-4-scout", "gpt-4",
        "gpt-4o", "gpt-5",
        "claude-3.5-sonnet", "claude-sonnet-4.5", "gemini-1.5-pro", "gemini-3-pro",
    }  # fmt: skip


def test_every_model_says_what_it_reads_and_what_its_quality_is(shipped: Settings) -> None:
    """No quality without a source, and no open model without its layers, heads and cache."""
    for model in shipped.catalogue.models.values():
        assert "text" in model.modalities
        assert model.quality
        assert model.quality_source
        if model.parameters:
            assert model.layers
            assert model.attention_heads
            assert model.kv_bytes_per_token


@pytest.mark.parametrize("name", ["hardware", "models", "prices"])
def test_every_figure_says_where_it_is_from(name: str) -> None:
    """Each line of the catalogues that holds a figure is marked vendor, measured, derived or estimated."""
    text = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.partition("\nfeeds:")[0].splitlines()  # how often a feed is read is no figure of a catalogue
    figures = [line for line in lines if re.match(r"^\s+(- )?(?!name)[a-z_0-9]+: *([{\d.])", line)]
    unmarked = [line for line in figures if not re.search(r"# (vendor|measured|derived|estimated)\b", line)]

    assert len(figures) > 30
    assert unmarked == []


def test_every_value_of_the_policies_says_unit_and_reason() -> None:
    """Each value of policies.yaml has a comment beside it."""
    lines = (CONFIG / "policies.yaml").read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if re.match(r"^\s+[a-z_0-9]+: *[{\w]", line)]

    assert len(values) > 60
    assert [line for line in values if " # " not in line] == []
