"""The normal distribution, against the one of the standard library."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.normal import below


@given(st.floats(-37.0, 37.0))
def test_both_tails_are_right_to_seven_digits(z: float) -> None:
    """The relative error is below 2e-7 on either side, far out too."""
    assert below(z) == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2.0)), rel=2e-7)
    assert 1.0 - below(-z) == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2.0)), abs=2e-7)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 10.0))
def test_it_never_falls_and_is_a_probability(z: float, more: float) -> None:
    """Anywhere on the line, also across zero."""
    assert 0.0 <= below(z) <= below(z + more) <= 1.0
