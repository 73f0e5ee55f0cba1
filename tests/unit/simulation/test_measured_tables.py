"""Other people's tables, where the folder of them exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.domain.catalogue import Catalogue
from simulation.fit.figures import catalogue
from simulation.measured import llamacpp, llmperf, mlenergy, mlperf, splitwise
from simulation.measured.folder import DEFAULT, folder, table
from simulation.measured.row import Measured, NoTable

needs_data = pytest.mark.skipif(not DEFAULT.is_dir(), reason=f"no folder of measurements at {DEFAULT}")


@pytest.fixture(scope="module")
def known() -> Catalogue:
    """The shipped accelerators and models."""
    return catalogue()


def test_a_missing_folder_names_the_option(tmp_path: Path) -> None:
    """And so does a folder that lacks a file."""
    with pytest.raises(NoTable, match="--data DIR"):
        folder(tmp_path / "none")
    with pytest.raises(NoTable, match=r"--data DIR.*facts/x.csv"):
        list(table(tmp_path, "facts/x.csv"))


@needs_data
def test_every_row_is_typed_and_plausible(known: Catalogue) -> None:
    """Ids of the catalogues, seconds between 0.1 ms and 10 s, one sequence or more."""
    rows = [*mlenergy.rows(DEFAULT, known), *splitwise.rows(DEFAULT, known), *llamacpp.rows(DEFAULT, known)]

    assert len(rows) > 700
    for row in rows:
        assert row.accelerator in known.hardware
        assert row.model in known.models
        assert 1e-4 < row.tpot_s < 10.0
        assert row.batch >= 1.0
        assert row.count >= 1
        assert row.ttft_s is None or row.ttft_s > 0.0


@needs_data
def test_the_published_points_are_those_of_the_decision(known: Catalogue) -> None:
    """230 of 16 models, and what is fitted to holds no replicas and no run that others contradict."""
    rows = mlenergy.rows(DEFAULT, known)
    chosen = mlenergy.published(rows)
    fitted = mlenergy.usual(rows)

    assert len(rows) == 565
    assert (len(chosen), len({row.name for row in chosen})) == (230, 16)
    assert all(row.data_parallel == 1 for row in fitted)
    assert not any(
        row.name == "Qwen3-8B" and row.task == "gpqa" and row.accelerator == "b200-sxm-180" for row in fitted
    )
    assert {row.expert_parallel for row in fitted if row.model == "gpt-oss-120b"} == {False}


@needs_data
def test_repeats_and_power_caps_count_once(known: Catalogue) -> None:
    """One row a setting of Splitwise, by the median."""
    rows = splitwise.rows(DEFAULT, known)
    settings = {(r.model, r.accelerator, r.count, r.batch, r.prompt_tokens, r.context_tokens) for r in rows}

    assert len(settings) == len(rows)
    assert {row.accelerator for row in rows} == {"a100-sxm-80", "h100-sxm-80"}


@needs_data
def test_tpot_of_apis_starts_at_the_first_token() -> None:
    """Not the whole time over the tokens, which that project calls inter-token latency: Groq's median is 3.7 ms."""
    groq = sorted(row.tpot_s for row in llmperf.rows(DEFAULT) if row.task == "groq" and "70b" in row.model)

    assert len(groq) > 100
    assert groq[len(groq) // 2] == pytest.approx(3.74e-3, rel=0.05)


@needs_data
def test_throughput_is_of_one_device(known: Catalogue) -> None:
    """Llama 2 70B on H200, Server: 4,274 tokens a second and device at most."""
    found = [
        row.tokens_per_s
        for row in mlperf.rows(DEFAULT, known)
        if (row.model, row.accelerator, row.scenario) == ("llama-2-70b", "h200-sxm-141", "Server")
    ]

    assert max(found) == pytest.approx(4274, rel=0.01)


@needs_data
def test_devices_are_of_one_stream(known: Catalogue) -> None:
    """Cards that are worked through one after the other are left out: they add memory, not bandwidth."""
    rows: list[Measured] = llamacpp.rows(DEFAULT, known)

    assert {row.count for row in rows} == {1}
    assert len({row.accelerator for row in rows}) > 15
