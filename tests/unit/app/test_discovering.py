"""What was found at an address, in the words of fleet.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from backends.contract import LoadReport
from backends.discovery.discover import Discovery
from backends.discovery.facts import Facts, FoundModel
from router.app.discovering import as_yaml, match
from router.app.wires import wire_facts
from router.settings import load

CONFIG = Path(__file__).parents[3] / "config"
CATALOGUE = load(CONFIG, {}).catalogue


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", None),
        ("llama-3.3-70b-versatile", "llama-3.3-70b"),
        ("gpt-4o-2024-08-06", None),
        ("Qwen/Qwen3-32B-FP8", "qwen3-32b"),
        ("smollm2-135m.Q4_1.gguf", "smollm2-135m"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("tiny-chat", "smollm2-135m"),
        ("My Own Model!", None),
    ],
)
def test_models_are_matched_by_what_is_left_without_packing(name: str, model: str | None) -> None:
    """Owner, precision and file endings do not count; a model that is not there gets a name that could be."""
    (found,) = match([FoundModel(name=name)], CATALOGUE)
    if model is not None:
        assert (found.model, found.is_known) == (model, True)
    else:
        assert found.model == found.model.lower().strip()


def test_the_yaml_can_be_registered(tmp_path: Path) -> None:
    """What is printed is a fleet.yaml that loads, with the wire's rules held."""
    found = Discovery(
        address="http://10.0.0.1:8000",
        title="vLLM",
        wire="openai_chat",
        profile="vllm",
        facts=Facts(
            models=(FoundModel(name="meta-llama/Llama-3.1-8B-Instruct", context_tokens=4096),), max_concurrency=64
        ),
        place="own",
        emulated=True,
        report=LoadReport(healthy=True, running=0),
    )
    text = as_yaml(found, match(found.facts.models, CATALOGUE), backend_id="found", credential=None)
    entry = yaml.safe_load(text)["backends"]["found"]
    assert entry["emulated"] is True
    assert entry["privacy"] == "own_hardware"
    assert entry["models"] == [
        {"model": "llama-3.1-8b", "upstream_name": "meta-llama/Llama-3.1-8B-Instruct", "context_tokens": 4096}
    ]
    for file in CONFIG.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "fleet.yaml").write_text(text)
    (tmp_path / "prices.yaml").write_text("prices: []\n")
    settings = load(tmp_path, {}, wires=wire_facts())
    assert [backend.id for backend in settings.seed.backends] == ["found"]
