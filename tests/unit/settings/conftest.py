"""A configuration directory to break: the shipped one, with files replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from router.domain.fleet import Capability
from router.domain.wires import Features, WireFacts, Wires
from router.settings import Settings, load
from router.settings.strict import ConfigError

CONFIG = Path(__file__).parents[3] / "config"
CHATTY = Features(capabilities=frozenset(Capability) - {Capability.AUDIO})


def check_options(options: Mapping[str, str]) -> list[tuple[str, str]]:
    """One option there is, and it is a number."""
    wrong = [(name, "unknown option; wire 'openai_chat' has replicas") for name in options if name != "replicas"]
    return wrong + [("replicas", "not a valid value") for value in options.values() if not value.isdigit()]


WIRES = {
    "openai_chat": WireFacts(
        profiles={"generic": CHATTY, "vllm": CHATTY, "llama_cpp": CHATTY}, check_options=check_options
    ),
    "scripted": WireFacts(profiles={"generic": Features()}),
    "tensors": WireFacts(
        profiles={"generic": Features(capabilities=frozenset({Capability.BATCH}))},
        schemes=frozenset({"grpc", "grpcs"}),
    ),
    "embedded": WireFacts(profiles={"generic": Features()}, schemes=frozenset({"file"})),
}
NAMES = ("router", "hardware", "models", "fleet", "prices", "policies")

SMALL = {
    "router.yaml": "host: 127.0.0.1\n",
    "hardware.yaml": """\
hardware:
  h100:
    {name: H100, kind: gpu, memory_bytes: 80 GB, memory_bandwidth_bytes_per_s: 3.35 TB/s,
     flops_per_s: 989 TFLOPS, tdp_w: 700}
  hosted:
    {name: hosted, kind: hosted, memory_bytes: 0, memory_bandwidth_bytes_per_s: 1e15, flops_per_s: 1e17, tdp_w: 0}
""",
    "models.yaml": """\
models:
  llama-8b: {parameters: 8.03e9, layers: 32, kv_bytes_per_token: 131072, context_tokens: 8192}
  llama-70b: {parameters: 70.6e9, layers: 80, kv_bytes_per_token: 327680, context_tokens: 8192}
  gpt-x: {context_tokens: 128000}
aliases: {fast: llama-8b}
classes: {chat: [llama-8b, llama-70b]}
""",
    "fleet.yaml": """\
backends:
  one:
    wire: openai_chat
    profile: vllm
    address: http://127.0.0.1:8000
    hardware: h100
    models: [{model: llama-8b}]
""",
    "prices.yaml": "prices: [{backend: one, usd_per_hour: 2.95 USD/h}]\n",
    "policies.yaml": "classes: {interactive: {}}\n",
}

Write = Callable[..., Path]
Problems = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a small valid configuration with some files replaced (None: absent); returns its directory."""

    def _write(files: Mapping[str, str | None] | None = None) -> Path:
        for name, text in (SMALL | dict(files or {})).items():
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return _write


@pytest.fixture
def problems(write: Write) -> Problems:
    """The lines that loading such a configuration ends with; none when it loads."""

    def _problems(files: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None) -> list[str]:
        try:
            load(write(files), env or {}, wires=WIRES)
        except ConfigError as error:
            return str(error).splitlines()
        return []

    return _problems


@pytest.fixture
def wires() -> Wires:
    """Four wires: two over HTTP, one over gRPC that can do little, one that reads a file."""
    return WIRES


@pytest.fixture
def shipped() -> Settings:
    """The configuration that the project ships, without any credential."""
    return load(CONFIG, {})


@pytest.fixture
def shipped_copy(tmp_path: Path) -> Path:
    for name in NAMES:
        shutil.copy(CONFIG / f"{name}.yaml", tmp_path)
    return tmp_path
