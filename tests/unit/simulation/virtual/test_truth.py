"""What backends do in the simulation, from measured tables; these tests need ../shared/data."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.routing.line import CONFIG, CONVERSATION, FLEET
from router.cli.main import main
from simulation.virtual.scenario import site
from simulation.virtual.tables import load
from simulation.virtual.truth import EngineTruth, HostedTruth

DATA = Path(__file__).parents[4].parent / "shared" / "data"
RIGHT = ["simulate", "--trace", str(DATA / CONVERSATION), "--fleet", str(FLEET), "--data", str(DATA)]
RIGHT += ["--config", str(CONFIG)]
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")


def test_engines_are_as_fast_as_was_measured() -> None:
    """Llama-3.1-70B on four H100 (ML.ENERGY, DECISION 6), its prefill (splitwise), and Groq's times (LLMPerf)."""
    found, left_out = site(FLEET, model=None, tables=load(DATA), config=CONFIG)
    h100, groq = found.truths["h100"], found.truths["groq"]

    assert not left_out
    assert isinstance(h100, EngineTruth)
    assert h100.tpot_s[8] == pytest.approx(0.0166, rel=0.01)
    assert h100.tpot_s[256] == pytest.approx(0.0398, rel=0.01)
    assert h100.prefill_s(1024) == pytest.approx(0.1056, rel=0.01)
    assert h100.prefill_s(16384) > h100.prefill_s(8192)
    assert isinstance(groq, HostedTruth)
    times = sorted(call.ttft_s for call in groq.calls)
    assert times[len(times) // 2] == pytest.approx(0.222, abs=0.002)


def test_what_was_not_measured_says_so() -> None:
    """Inferentia is scaled from a measured machine and labelled a guess; so is every such backend of config/."""
    found, _ = site(FLEET, model=None, tables=load(DATA), config=CONFIG)
    assert "guessed" in found.truths["inferentia2"].note
    assert "guessed" not in found.truths["h100"].note
    shipped, _ = site(CONFIG, model="llama-3.1-8b", tables=load(DATA), config=CONFIG)
    assert "guessed" in shipped.truths["inferentia2-neuron"].note


def test_the_command_prints_a_table() -> None:
    """A line for each policy, and where the truth comes from."""
    result = CliRunner().invoke(
        main,
        [*RIGHT, "--policy", "router", "--policy", "random", "--limit", "60", "--load", "2", "--workers", "1"],
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "random" in result.output
    assert "measured: LLMPerf, groq" in result.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--policy", "best"], "--policy: no policy is called 'best'"),
        (["--load", "0"], "'--load': '0' must be greater than 0"),
        (["--event", "slow:nobody:3@1"], "--event: 'slow:nobody:3@1': no backend 'nobody'"),
        (["--fleet", "/nowhere/fleet.yaml", "--config", "/nowhere"], "--fleet"),
        (["--model", "gpt-9"], "--fleet"),
        (["--data", "/nowhere"], "--data: /nowhere/facts/mlenergy_v3_llm.csv"),
    ],
)
def test_a_wrong_option_is_named(options: list[str], told: str) -> None:
    """With its value, and what it may be; exit code 2."""
    right = [
        "simulate",
        "--trace",
        str(DATA / CONVERSATION),
        "--fleet",
        str(FLEET),
        "--config",
        str(CONFIG),
        "--data",
        str(DATA),
    ]
    result = CliRunner().invoke(main, [*right, "--limit", "10", *options])

    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
