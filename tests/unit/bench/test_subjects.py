"""How the router, LiteLLM and the decision worker are set up."""

from __future__ import annotations

from pathlib import Path

import yaml

from bench import decision_worker, gateways, litellm_peer
from bench.copies import ROOT, environment
from bench.decision_job import Sizes
from router.settings import load


def test_the_configuration_that_is_measured_is_valid(tmp_path: Path) -> None:
    """The router reads it without a notice and finds four backends, each with a price."""
    gateways.write_config(tmp_path, "127.0.0.1:1")
    settings = load(tmp_path, {})

    assert len(settings.seed.backends) == len(settings.seed.prices) == 4
    assert {backend.address for backend in settings.seed.backends} == {"http://127.0.0.1:1"}
    assert not settings.notices


def test_litellm_gets_as_many_deployments(tmp_path: Path) -> None:
    """Both gateways choose among four entries that are the same upstream."""
    listed = yaml.safe_load(litellm_peer.config("127.0.0.1:1"))["model_list"]
    gateways.write_config(tmp_path, "127.0.0.1:1")

    assert len(listed) == len(load(tmp_path, {}).seed.backends)
    assert {entry["litellm_params"]["api_base"] for entry in listed} == {"http://127.0.0.1:1/v1"}


def test_litellm_learns_nothing_of_our_environment(tmp_path: Path) -> None:
    """No variable of ours reaches it, a credential least of all."""
    secrets = {"OPENAI_API_KEY": "x", "AWS_SECRET_ACCESS_KEY": "x", "REDIS_URL": "x", "PYTHONPATH": "x"}

    assert not secrets.keys() & litellm_peer.environment(tmp_path, secrets).keys()


def test_litellm_is_no_dependency() -> None:
    """Neither the project nor any lock names it."""
    texts = [ROOT / "pyproject.toml", *(ROOT / "requirements").iterdir()]

    assert not [path.name for path in texts if "litellm" in path.read_text("utf-8").lower()]


def test_a_copy_comes_before_the_working_tree(tmp_path: Path) -> None:
    """A process on a copy of the sources imports that copy."""
    assert environment(tmp_path)["PYTHONPATH"] == str(tmp_path)


def test_a_decision_is_timed_over_those_that_serve() -> None:
    """The fleet has backends of another model too; they are registered and no candidates."""
    settings = load(ROOT / "config", {})
    times = decision_worker.measure(settings, settings.policies, Sizes(12, 5, 0.001))

    assert times.candidates == 5
    assert times.plan_us > 0.0
    assert times.snapshot_us > 0.0


def test_one_price_changes_and_nothing_else() -> None:
    """The second snapshot differs from the first in its version and in one price."""
    before = decision_worker.snapshot(load(ROOT / "config", {}), Sizes(5, 5))
    after = decision_worker.with_one_price(before)

    assert after.version == before.version + 1
    assert after.backends is before.backends
    assert [key for key, price in after.prices.items() if before.prices[key] is not price] == [("b00000", "")]
