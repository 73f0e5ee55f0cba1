"""The arithmetic of the benchmarks' tables."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import show
from bench.figures import ROUTER, Figure, Section, quantile

RUN = show.Run(
    date="2026-01-01", machine="m", versions="v", decision_core="compiled", rounds=3, quick=False, notes=("a note",)
)


def figure(**rounds: list[float]) -> Figure:
    return Figure("f", "a figure", "us", 100.0, rounds=rounds)


def test_the_median_of_the_rounds_is_shown() -> None:
    """One round in which the machine was busy does not move a figure."""
    assert figure(router=[90.0, 1000.0, 80.0]).median(ROUTER) == 90.0


@pytest.mark.parametrize(("rounds", "reached"), [([100.0], True), ([101.0], False), ([], None)])
def test_a_target_is_reached_missed_or_not_measured(rounds: list[float], *, reached: bool | None) -> None:
    """A figure that meets its target exactly reaches it; one that was not measured is neither."""
    assert figure(router=rounds).reached is reached


def test_a_ratio_over_one_means_that_the_router_is_better() -> None:
    """For costs and for rates alike."""
    cost = figure(router=[50.0], other=[100.0])
    rate = Figure("f", "a rate", "/s", better="more", rounds={"router": [200.0], "other": [100.0]})

    assert cost.ratio("other") == rate.ratio("other") == 2.0
    assert cost.ratio("absent") is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0.0, 1.0))
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    """The least of the values that at least that share of them do not exceed."""
    found = quantile(values, share)

    assert found in values
    assert sum(v <= found for v in values) >= share * len(values)
    assert all(sum(v <= lesser for v in values) < share * len(values) for lesser in values if lesser < found)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.4444, "0.44"), (12.345, "12.3"), (-0.1, "-0.10"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str) -> None:
    """A table shows no more digits than a noisy machine can mean."""
    assert show.number(value) == text


def test_a_missed_target_is_said_plainly() -> None:
    """The row names the target and by how much it is missed."""
    section = Section("s", "Costs", (ROUTER, "other"), [figure(router=[150.0], other=[300.0])])

    assert show.cells(section, section.figures[0]) == [
        "a figure",
        "us",
        "150",
        "<= 100",
        "MISSED by 50%",
        "300 (2.00x)",
    ]


def test_markdown_and_json_say_the_same() -> None:
    """A program finds in JSON every round of what a person reads in the tables."""
    section = Section("s", "Costs", (ROUTER,), [figure(router=[1.0, 3.0, 2.0])], ["beware"])
    page, data = show.markdown(RUN, [section]), json.loads(show.json_text(RUN, [section]))

    assert "| a figure | us | 2.00 | <= 100 | reached |" in page
    assert "- beware" in page
    assert data["sections"][0]["figures"][0]["rounds"] == {"router": [1.0, 3.0, 2.0]}
    assert data["sections"][0]["figures"][0]["reached"] is True
    assert data["run"]["notes"] == ["a note"]
