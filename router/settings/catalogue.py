"""hardware.yaml and models.yaml: what the physics prior knows, and the names that callers may use."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from router.domain.catalogue import Catalogue
from router.domain.hardware import Hardware, Model
from router.settings.strict import (
    Bytes,
    BytesPerSecond,
    FlopsPerSecond,
    NonNegative,
    Problem,
    Seconds,
    Share,
    Strict,
    Watts,
    nearest,
)

BYTES_OF_16_BITS = 2
NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")

_HARDWARE = Hardware(id="", name="", kind="")
_MODEL = Model(id="")
Modality = Literal["text", "image", "audio", "video"]
Count = Annotated[int, Field(ge=0)]


def _text_only() -> list[Modality]:
    return ["text"]


class HardwareEntry(Strict):
    """One accelerator; every figure is of one device, FLOP/s dense at 16 bit."""

    synonyms: ClassVar = {
        "memory": "memory_bytes",
        "bandwidth": "memory_bandwidth_bytes_per_s",
        "memory_bandwidth_gbs": "memory_bandwidth_bytes_per_s",
        "tflops": "flops_per_s",
        "tdp": "tdp_w",
    }

    name: Annotated[str, Field(min_length=1)]
    kind: Literal["gpu", "tpu", "asic", "lpu", "wafer", "device", "hosted"]
    memory_bytes: Bytes
    memory_bandwidth_bytes_per_s: BytesPerSecond
    flops_per_s: FlopsPerSecond
    tdp_w: Watts
    prior_sd_log: Annotated[float, Field(gt=0, le=2)] = _HARDWARE.prior_sd_log
    kernel_overhead: NonNegative = _HARDWARE.kernel_overhead
    bandwidth_efficiency: Annotated[float, Field(gt=0, le=1)] = _HARDWARE.bandwidth_efficiency
    flops_efficiency: Annotated[float, Field(gt=0, le=1)] = _HARDWARE.flops_efficiency
    speedup_8bit: Annotated[float, Field(ge=1, le=8)] = _HARDWARE.speedup_8bit
    speedup_4bit: Annotated[float, Field(ge=1, le=16)] = _HARDWARE.speedup_4bit
    expert_slowdown: Annotated[float, Field(ge=1, le=4)] = _HARDWARE.expert_slowdown
    fixed_ttft_s: Seconds = _HARDWARE.fixed_ttft_s
    fixed_tpot_s: Seconds = _HARDWARE.fixed_tpot_s


class HardwareFile(Strict):
    hardware: dict[str, HardwareEntry]


class ModelEntry(Strict):
    """One model; `parameters` 0 is "not published", which only hosted backends can serve."""

    synonyms: ClassVar = {"params": "parameters", "context": "context_tokens", "kv_bytes": "kv_bytes_per_token"}

    parameters: NonNegative = _MODEL.parameters
    active_parameters: NonNegative = _MODEL.active_parameters
    shared_parameters: NonNegative = _MODEL.shared_parameters
    experts: Count = _MODEL.experts
    experts_per_token: Count = _MODEL.experts_per_token
    layers: Count = _MODEL.layers
    moe_layers: Count = _MODEL.moe_layers
    attention_layers: Count = _MODEL.attention_layers
    window_layers: Count = _MODEL.window_layers
    window_tokens: Count = _MODEL.window_tokens
    attention_heads: Count = _MODEL.attention_heads
    kv_heads: Count = _MODEL.kv_heads
    head_size: Count = _MODEL.head_size
    kv_bytes_per_token: Bytes = _MODEL.kv_bytes_per_token
    state_bytes: Bytes = _MODEL.state_bytes
    context_tokens: Annotated[int, Field(gt=0)]
    modalities: Annotated[list[Modality], Field(min_length=1)] = Field(default_factory=_text_only)
    quality: dict[str, Share] = Field(default_factory=dict)
    quality_source: str = _MODEL.quality_source


class ModelsFile(Strict):
    """models.yaml."""

    models: dict[str, ModelEntry]
    aliases: dict[str, str] = Field(default_factory=dict)
    classes: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(default_factory=dict)


def build_catalogue(
    hardware: HardwareFile | None,
    models: ModelsFile | None,
    problems: list[Problem],
    *,
    hardware_file: str = "hardware.yaml",
    models_file: str = "models.yaml",
) -> Catalogue:
    """The catalogue of what parsed, with every broken reference among the problems."""
    devices: dict[str, Hardware] = {}
    for name, device in (hardware.hardware if hardware else {}).items():
        _check_name(hardware_file, "hardware", name, problems)
        devices[name] = Hardware(id=name, **device.model_dump())
    known: dict[str, Model] = {}
    for name, entry in (models.models if models else {}).items():
        _check_name(models_file, "models", name, problems)
        _check_experts(models_file, name, entry, problems)
        _check_layers(models_file, name, entry, problems)
        _check_heads(models_file, name, entry, problems)
        parts = {"quality": tuple(entry.quality.items()), "modalities": tuple(entry.modalities)}
        known[name] = Model(id=name, **entry.model_dump() | parts)
    aliases = models.aliases if models else {}
    classes = {name: tuple(members) for name, members in (models.classes if models else {}).items()}
    if models:
        _check_names(models_file, known, aliases, classes, problems)
    return Catalogue(hardware=devices, models=known, aliases=aliases, classes=classes)


def _check_name(file: str, section: str, name: str, problems: list[Problem]) -> None:
    if not NAME.match(name):
        problems.append(
            Problem(file, f"{section}.{name}", "a name is lower case letters, digits, '.', '_' and '-', at most 63")
        )


def _check_experts(file: str, name: str, entry: ModelEntry, problems: list[Problem]) -> None:
    path = f"models.{name}"
    if entry.active_parameters > entry.parameters:
        problems.append(Problem(file, f"{path}.active_parameters", "must not exceed parameters"))
    if entry.shared_parameters > entry.parameters:
        problems.append(Problem(file, f"{path}.shared_parameters", "must not exceed parameters"))
    if entry.experts_per_token > entry.experts:
        problems.append(Problem(file, f"{path}.experts_per_token", "must not exceed experts"))
    if entry.parameters and not entry.layers:
        problems.append(Problem(file, f"{path}.layers", "required where parameters are given"))


def _check_layers(file: str, name: str, entry: ModelEntry, problems: list[Problem]) -> None:
    path = f"models.{name}"
    for key, of in (("moe_layers", "layers"), ("attention_layers", "layers")):
        if getattr(entry, key) > getattr(entry, of):
            problems.append(Problem(file, f"{path}.{key}", f"must not exceed {of}"))
    if entry.window_layers > (entry.attention_layers or entry.layers):
        problems.append(Problem(file, f"{path}.window_layers", "must not exceed the layers that keep a cache"))
    if bool(entry.window_layers) != bool(entry.window_tokens):
        problems.append(Problem(file, f"{path}.window_tokens", "window_layers and window_tokens go together"))


def _check_heads(file: str, name: str, entry: ModelEntry, problems: list[Problem]) -> None:
    """The cache of a token is 2 * layers * KV heads * head size values of 16 bits; figures that disagree are a slip."""
    by_heads = 2 * (entry.attention_layers or entry.layers) * entry.kv_heads * entry.head_size * BYTES_OF_16_BITS
    if by_heads and entry.kv_bytes_per_token and abs(entry.kv_bytes_per_token - by_heads) > 0.01 * by_heads:
        problems.append(
            Problem(file, f"models.{name}.kv_bytes_per_token", f"layers, kv_heads and head_size make it {by_heads}")
        )


def _check_names(
    file: str,
    models: dict[str, Model],
    aliases: dict[str, str],
    classes: dict[str, tuple[str, ...]],
    problems: list[Problem],
) -> None:
    for alias, target in aliases.items():
        _check_name(file, "aliases", alias, problems)
        if alias in models:
            problems.append(Problem(file, f"aliases.{alias}", "is the name of a model already"))
        if target not in models:
            problems.append(Problem(file, f"aliases.{alias}", f"unknown model '{target}'{nearest(target, models)}"))
    for name, members in classes.items():
        _check_name(file, "classes", name, problems)
        if name in models or name in aliases:
            problems.append(Problem(file, f"classes.{name}", "is the name of a model or alias already"))
        for index, member in enumerate(members):
            if member not in models:
                what = f"unknown model '{member}'{nearest(member, models)}"
                problems.append(Problem(file, f"classes.{name}[{index}]", what))
            elif member in members[:index]:
                problems.append(Problem(file, f"classes.{name}[{index}]", f"'{member}' is listed twice"))
