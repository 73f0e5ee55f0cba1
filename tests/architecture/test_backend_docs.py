"""docs/backends.md: every example is a fleet that loads, and every wire, profile and option is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from backends.registry import WIRES
from router.app.wires import wire_facts
from router.settings import load

# For tests and drills only.
UNTOLD = frozenset({"scripted"})


@pytest.fixture
def text(root: Path) -> str:
    return (root / "docs/backends.md").read_text("utf-8")


def test_every_example_can_be_registered(text: str, root: Path, tmp_path: Path) -> None:
    """All examples together are a fleet.yaml that breaks no rule, once the credentials are there."""
    blocks = [yaml.safe_load(block)["backends"] for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    fleet = {name: entry for block in blocks for name, entry in block.items()}
    assert len(fleet) == sum(map(len, blocks)) > 12
    secret = tmp_path / "secret"
    secret.write_text("token")
    env: dict[str, str] = {}
    for entry in fleet.values():
        credential = entry.get("credential", "")
        if credential.startswith("env:"):
            env[credential.removeprefix("env:")] = "value"
        elif credential:
            entry["credential"] = f"file:{secret}"
    folder = tmp_path / "config"
    folder.mkdir()
    for file in (root / "config").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "fleet.yaml").write_text(yaml.safe_dump({"backends": fleet}))
    (folder / "prices.yaml").write_text("prices: []\n")

    settings = load(folder, env, wires=wire_facts())

    assert {backend.id for backend in settings.seed.backends} == set(fleet)
    assert {backend.wire for backend in settings.seed.backends} == set(WIRES) - UNTOLD


def test_every_wire_profile_and_option_is_told(text: str) -> None:
    """Whoever looks for a name that check-config offers finds it."""
    for wire in WIRES.values():
        if wire.name in UNTOLD:
            continue
        names = {wire.name, *wire.options, *(name for name in wire.dialects if name != "generic")}
        assert not {name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)}, wire.name
