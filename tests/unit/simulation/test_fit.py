"""The prior is what the tables say: fitted again it is the same, and it holds on what it was not fitted to."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from router.prediction.constants import FITTED
from simulation.fit import __main__ as program
from simulation.fit.figures import catalogue, predictor_rows
from simulation.fit.judge import Tables, across, after, by_architecture, fit, left_out, read
from simulation.fit.solve import solve
from simulation.fit.terms import DECODE, EXPECTED, NAMES, terms, vector
from simulation.fit.throughput import order, tau
from simulation.measured.folder import DEFAULT

needs_data = pytest.mark.skipif(not DEFAULT.is_dir(), reason=f"no folder of measurements at {DEFAULT}")


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The tables of the default folder."""
    return read(DEFAULT, catalogue())


def test_known_constants_are_found_again() -> None:
    """Of times made from constants, noise and a tenth of outliers, each constant comes back within a tenth."""
    rng = np.random.default_rng(1)
    names = ("layer_s", "weight_traffic", "sequence_s")
    made = rng.uniform(0.2, 1.0, (400, 3)) * np.array([60.0, 5e-3, 80.0])
    true = np.array([90e-6, 1.0, 60e-6])
    observed = made @ true * np.exp(rng.normal(0.0, 0.02, 400))
    observed[::10] *= 3.0

    assert solve(made, observed, names) == pytest.approx(true, rel=0.1)


def test_a_constant_that_no_point_speaks_of_stays_as_expected() -> None:
    """Not at zero, and not anywhere."""
    made = np.array([[1e3, 0.0], [2e3, 0.0]])
    found = solve(made, made @ np.array([80e-6, 0.0]), ("layer_s", "state_traffic"))

    assert found[1] == pytest.approx(EXPECTED["state_traffic"].median)


def test_every_constant_has_an_expectation_and_a_meaning() -> None:
    """None is left without a physical sense."""
    assert set(EXPECTED) == set(NAMES)
    assert all(expected.meaning for expected in EXPECTED.values())


def test_written_constants_replace_the_old_ones() -> None:
    """The file keeps everything else, and a constant that it lacks is an error."""
    source = program.CONSTANTS.read_text(encoding="utf-8")
    new = program.written(source, {"layer_s": 1.5e-05})

    assert "    layer_s=1.5e-05,\n" in new
    assert new.count("\n") == source.count("\n")
    with pytest.raises(ValueError, match="nonsense"):
        program.written(source, {"nonsense": 1.0})


def test_a_missing_folder_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With the option that names one."""
    assert program.main(["--data", "/nowhere"]) == 2
    assert "--data DIR" in capsys.readouterr().err


@needs_data
def test_the_terms_are_the_formula(tables: Tables) -> None:
    """The sum of terms times constants is what the router computes."""
    row = tables.decode[100]
    parts = terms([row], tables.catalogue) @ vector(DECODE)
    twice = terms([replace(row, batch=2 * row.batch)], tables.catalogue) @ vector(DECODE)

    assert parts[0] == pytest.approx(row.tpot_s, rel=0.5)
    assert parts[0] < twice[0] < 2 * parts[0]


@needs_data
def test_fitted_again_the_constants_are_the_committed_ones(tables: Tables) -> None:
    """Within what is written of them."""
    assert fit(tables) == pytest.approx(asdict(FITTED), rel=0.02)


@needs_data
def test_left_out_models_are_predicted_as_well_as_is_asked() -> None:
    """Each figure is within what is asked at least."""
    for what, value, at_least, _ in predictor_rows(DEFAULT):
        reached = float(value.removesuffix(" %"))
        low, _, high = at_least.removesuffix(" %").rpartition("-")
        assert float(low or 0) <= reached <= float(high), what


@needs_data
def test_left_out_architectures_are_predicted_too(tables: Tables) -> None:
    """Also over all points, and over those of an accelerator that nothing was fitted to."""
    assert after(left_out(tables, tables.decode, by_architecture), 0).mean_error < 0.12
    assert after(across(tables, tables.decode, from_="h100-sxm-80", to="b200-sxm-180"), 0).mean_error < 0.15


def test_tau_counts_pairs() -> None:
    """1 for the right order, -1 for the reverse."""
    assert tau([(1, 10), (2, 20), (3, 30)]) == 1.0
    assert tau([(1, 30), (2, 20), (3, 10)]) == -1.0
    assert tau([(1, 10), (2, 30), (3, 20)]) == pytest.approx(1 / 3)


@needs_data
def test_systems_that_nothing_was_fitted_to_are_in_the_right_order(tables: Tables) -> None:
    """MLPerf: of all pairs of accelerators, over models and scenarios, 85 % are in the right order."""
    found = order(DEFAULT, tables.catalogue)
    pairs = sum(n * (n - 1) / 2 for _, _, n, _, _ in found)

    assert sum(t * n * (n - 1) / 2 for _, _, n, t, _ in found) / pairs > 0.7


@needs_data
def test_the_page_is_of_these_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/prior.md is what the program prints."""
    assert program.main([]) == 0
    assert capsys.readouterr().out == program.PAGE.read_text(encoding="utf-8")
