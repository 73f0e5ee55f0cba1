"""Accelerators and models by the names that people give them."""

from __future__ import annotations

import pytest

from router.domain.catalogue import Catalogue
from simulation.fit.figures import catalogue
from simulation.measured.accelerators import NAMES, accelerator
from simulation.measured.models import Names, weight_bytes


@pytest.fixture(scope="module")
def known() -> Catalogue:
    """The shipped accelerators and models."""
    return catalogue()


@pytest.mark.parametrize(
    ("name", "device", "count"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80", None),
        ("h100", "h100-sxm-80", None),
        ("H100-SXM", "h100-sxm-80", None),
        ("H100 PCIe 80GB", "h100-pcie-80", None),
        ("H200-NVL-141GB", "h200-nvl-141", None),
        ("8xH100", "h100-sxm-80", 8),
        ("H100x8", "h100-sxm-80", 8),
        ("3090 24GB * 4", "rtx3090", 4),
        ("mi300x", "mi300x", None),
        ("AMD Instinct MI300X 192GB HBM3", "mi300x", None),
        ("mi355x_x8", "mi355x", 8),
        ("gb200", "gb200-nvl72", None),
        ("NVIDIA B200-SXM-180GB", "b200-sxm-180", None),
        ("TPU v7", "tpu-v7", None),
        ("tpuv7_x4", "tpu-v7", 4),
        ("TPU v6e", "tpu-v6e", None),
        ("gaudi3", "gaudi3", None),
        ("L40S 48GB", "l40s", None),
        ("NVIDIA L4", "l4", None),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40", None),
        ("Apple M2 Ultra", "m2-ultra", None),
        ("m4", "m4", None),
        ("trn2", "trainium2", None),
    ],
)
def test_an_accelerator_is_known_by_its_names(name: str, device: str, count: int | None) -> None:
    """Data sheets, drivers, tables and shorthand; a number of devices in the name is one."""
    assert accelerator(name) == (device, count)


def test_what_is_no_accelerator_is_not_taken_for_one() -> None:
    """Unknown stays unknown."""
    assert accelerator("Foo 9000") is None


def test_every_accelerator_that_has_names_is_in_the_catalogue(known: Catalogue) -> None:
    """No name leads nowhere."""
    assert {device for _, device in NAMES} <= set(known.hardware)


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("DSR1 FP8", "deepseek-r1"),
        ("llama3.3-70b", "llama-3.3-70b"),
        ("llama2-70b-chat-hf", "llama-2-70b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4-scout"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "qwen3-235b-a22b"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3-coder-30b-a3b"),
        ("Qwen3.5-397B", "qwen3.5-397b-a17b"),
        ("Qwen3-Next-80B-A3B-Instruct", "qwen3-next-80b-a3b"),
        ("GLM-4.7 355B-A32B", "glm-4.7"),
        ("gptoss120b", "gpt-oss-120b"),
        ("google/gemma-2-27b-it", "gemma-2-27b"),
        ("DeepSeek-R1-Distill-Llama-70B", "deepseek-r1-distill-llama-70b"),
        ("Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
    ],
)
def test_a_model_is_known_by_its_names(name: str, model_id: str, known: Catalogue) -> None:
    """Repositories, tables and shorthand."""
    model = Names(known).find(name)

    assert model is not None
    assert model.id == model_id


def test_another_size_of_a_known_model_is_guessed(known: Catalogue) -> None:
    """A name holds a known one and says another size: the size decides, and the guess is marked."""
    model = Names(known).find("Llama-3.1-8B-upscaled-20B")

    assert model is not None
    assert model.guessed
    assert model.parameters == 20e9


def test_a_model_of_unknown_size_is_none(known: Catalogue) -> None:
    """Nothing is made up."""
    assert Names(known).find("gpt-5-turbo") is None


def test_weights_are_as_said_or_native_or_what_fits(known: Catalogue) -> None:
    """What stands beside the model, its name, its maker's format, 16 bits, and half of it where that cannot be held."""
    models, tpu = known.models, known.hardware["tpu-v7"]
    r1, qwen, llama = models["deepseek-r1"], models["qwen3.5-397b-a17b"], models["llama-3.1-8b"]

    assert weight_bytes("dsr1", r1, tpu, 8, "fp4") == 0.53
    assert weight_bytes("Llama-3.1-8B-FP8", llama, tpu, 1) == 1.0
    assert weight_bytes("dsr1", r1, tpu, 8) == 1.0
    assert weight_bytes("llama-3.1-8b", llama, tpu, 1) == 2.0
    assert weight_bytes("Qwen3.5-397B", qwen, tpu, 4) == 1.0
