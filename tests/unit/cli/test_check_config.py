"""`check-config`, in process and as the program that people run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The shipped configuration with two mistakes."""
    directory = tmp_path / "config"
    shutil.copytree(ROOT / "config", directory)
    fleet = directory / "fleet.yaml"
    text = fleet.read_text(encoding="utf-8")
    fleet.write_text(text.replace("profile: llama_cpp", "profile: lama_cpp").replace("cpu-small", "cpu-smal"))
    return directory


def test_a_good_configuration_is_exit_code_0() -> None:
    """The program checks the shipped configuration, shows its fleet, and says what is emulated and what is skipped."""
    result = subprocess.run(
        [sys.executable, "-m", "router", "check-config", "config/"],
        cwd=ROOT,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "backend 'openai-cloud' skipped: environment variable OPENAI_API_KEY is not set" in result.stdout
    assert "4x NVIDIA H100 SXM 80GB (emulated)" in result.stdout
    assert re.search(r"ok: \d{2,} accelerators, \d{2,} models", result.stdout)


def test_a_bad_configuration_is_exit_code_1(broken: Path) -> None:
    """Every mistake is a line, held against the adapters that there are."""
    result = CliRunner().invoke(main, ["check-config", str(broken)])

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "fleet.yaml: backends.device-llamacpp.profile: unknown profile 'lama_cpp' (did you mean 'llama_cpp'?)",
        "fleet.yaml: backends.device-llamacpp.hardware: unknown hardware 'cpu-smal' (did you mean 'cpu-small'?)",
        f"2 problems in {broken}",
    ]


def test_json_has_file_path_and_line(broken: Path) -> None:
    """--json gives an editor what it needs to mark the place."""
    bad = json.loads(CliRunner().invoke(main, ["check-config", str(broken), "--json"]).stdout)
    good = json.loads(CliRunner().invoke(main, ["check-config", str(ROOT / "config"), "--json"]).stdout)

    assert bad["ok"] is False
    assert bad["problems"][0]["path"] == "backends.device-llamacpp.profile"
    assert bad["problems"][0]["line"] > 1
    assert good["ok"] is True
    assert {"id": "h100-vllm", "emulated": True}.items() <= good["backends"][1].items()


def test_serving_a_bad_configuration_starts_nothing(broken: Path) -> None:
    """`serve` ends with the same lines and exit code 1."""
    result = CliRunner().invoke(main, ["serve", "--config", str(broken)])

    assert result.exit_code == 1
    assert "unknown profile 'lama_cpp'" in result.stderr


@pytest.mark.parametrize("command", [*([name] for name in COMMANDS), ["admin", "backends"], ["admin", "prices"]])
def test_every_command_has_help(command: list[str]) -> None:
    """Each command explains itself."""
    result = CliRunner().invoke(main, [*command, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_an_unknown_command_is_exit_code_2() -> None:
    """A command that there is none of is wrong usage."""
    assert CliRunner().invoke(main, ["serv"]).exit_code == 2
