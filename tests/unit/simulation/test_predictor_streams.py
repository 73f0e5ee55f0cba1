"""How good prediction is on calls of real APIs, where the recordings are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.predictor_streams import DEFAULT, FILE, FIRST, LIMITS_S, figures, report, rivals, streams

needs_data = pytest.mark.skipif(not (DEFAULT / FILE).exists(), reason="the recordings are not here")


@needs_data
def test_intervals_hold_what_they_say_and_probabilities_beat_the_base_rate() -> None:
    """On the first calls of every stream: 87 to 93 % covered, a better Brier score than any rival at every limit."""
    scores = report(DEFAULT, first=FIRST)
    for covered in (scores.ttft_covered, scores.tpot_covered):
        assert 0.87 <= sum(covered) / len(covered) <= 0.93
    for limit in LIMITS_S:
        best = min(sum(table[limit]) for table in scores.rivals.values())
        assert sum(scores.brier[limit]) < best


@needs_data
def test_every_figure_is_there() -> None:
    """One line each, with a name of its own."""
    found = figures()
    assert len({figure.what for figure in found}) == len(found) == 8
    assert len(streams(DEFAULT / FILE)) == 16


def test_without_recordings_there_are_no_figures(tmp_path: Path) -> None:
    """An empty folder is no error."""
    assert figures(tmp_path) == []


def test_rivals_begin_at_a_half_and_follow_what_they_saw() -> None:
    """Before anything was seen all say a half; then shares of it."""
    assert set(rivals([])["running base rate"]) == {0.5}
    assert rivals([0.1] * 9)["running base rate"][0] == pytest.approx(0.95)
