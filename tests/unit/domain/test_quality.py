"""What is believed of a model's answers, and how grades move it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.quality import MAX_TASKS, MAX_WEIGHT, Quality


def test_a_task_without_a_figure_has_that_of_any_other() -> None:
    """And nothing at all counts as nothing."""
    known = Quality((("*", 0.7), ("code", 0.4)))
    assert (known.of("code"), known.of("chat"), Quality().of("chat")) == (0.4, 0.7, 0.0)


def test_grades_are_a_beta_posterior() -> None:
    """The catalogue's figure weighs as much as twenty grades; the belief narrows as they come."""
    belief = Quality((("code", 0.5),))
    wide = belief.sd("code")
    for grade in [1.0] * 15 + [0.0] * 5:
        belief.observe("code", grade)
    assert belief.of("code") == pytest.approx((0.5 * 20 + 15) / 40)
    assert belief.sd("code") < wide


def test_a_task_that_was_never_graded_keeps_what_it_had() -> None:
    """Grades of one task say nothing about another."""
    belief = Quality((("*", 0.7), ("code", 0.4)))
    for _ in range(50):
        belief.observe("chat", 0.0)
    assert belief.of("chat") < 0.3
    assert (belief.of("code"), belief.of("summary")) == (0.4, 0.7)


@given(st.lists(st.floats(-1.0, 2.0), max_size=50))
def test_a_belief_stays_a_share(grades: list[float]) -> None:
    """Whatever is reported, quality is between 0 and 1."""
    belief = Quality()
    for grade in grades:
        belief.observe("chat", grade)
        assert 0.0 <= belief.of("chat") <= 1.0


def test_memory_and_weight_are_bounded() -> None:
    """Tasks are callers' words, and a model may be replaced behind its name."""
    belief = Quality((("*", 0.5),))
    for n in range(10 * MAX_TASKS):
        belief.observe(f"task {n}", 1.0)
    assert len(belief.means) == MAX_TASKS
    for _ in range(2000):
        belief.observe("task 1", 1.0)
    assert max(belief.weights.values()) == MAX_WEIGHT
