"""Ids of tool calls that cross from one vendor to another."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from backends.call_ids import fitting_call_id, new_call_id

FORM = re.compile(r"[A-Za-z0-9_-]+")


def test_a_made_up_id_is_nine_alphanumerics() -> None:
    """The strictest vendor takes it."""
    assert re.fullmatch(r"[A-Za-z0-9]{9}", new_call_id())
    assert new_call_id() != new_call_id()


@given(st.text(min_size=1, max_size=40))
def test_an_id_becomes_the_same_id_every_time(call_id: str) -> None:
    """A call and its result still find each other, and an id of the right form is left alone."""
    fitted = fitting_call_id(call_id, FORM)
    assert FORM.fullmatch(fitted)
    assert fitted == fitting_call_id(call_id, FORM)
    assert (fitted == call_id) == bool(FORM.fullmatch(call_id))
