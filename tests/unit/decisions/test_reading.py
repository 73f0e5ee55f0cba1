"""Reading a log that a crash, a full disk or somebody's editor has been at."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.decisions.reading import BadLogError, Reading
from router.decisions.record import read_profile
from tests.unit.decisions.conftest import Site, profile

_SITE = Site({"a": 1.0, "b": 1.01, "c": 3.0})
for _number in range(12):
    _SITE.decide(profile(_number))
WHOLE = _SITE.text


def read(data: bytes) -> tuple[list[str], Reading]:
    reading = Reading(Path("x"))
    return [one.line.id for one in reading.segment("x", data)], reading


@given(st.integers(0, len(WHOLE)))
def test_a_torn_end_costs_one_line(end: int) -> None:
    """However the file is cut, every whole line before the cut is read, and the torn one is noted."""
    try:
        found, reading = read(WHOLE[:end])
    except BadLogError:
        assert b"\n" not in WHOLE[:end]
        return

    whole = WHOLE[:end].count(b'{"k":"decision"') - (
        not WHOLE[:end].endswith(b"\n") and b"decision" in WHOLE[:end].rpartition(b"\n")[2]
    )
    assert found == [f"r{n}" for n in range(len(found))]
    assert len(found) >= whole - 1
    assert reading.skipped <= 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=40), st.integers(0, 200))
def test_damage_never_ends_the_reading(at: int, put: bytes, gone: int) -> None:
    """Any bytes in the place of any others: what can be read is read, and nothing else comes out of it."""
    try:
        found, _ = read(WHOLE[:at] + put + WHOLE[at + gone :])
    except BadLogError:
        return
    assert set(found) <= {f"r{n}" for n in range(12)} | set(found)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_log_or_are_not(data: bytes) -> None:
    """No bytes make reading fail in another way than by saying what is wrong."""
    with suppress(BadLogError):
        read(data)


def test_another_format_is_refused() -> None:
    """A segment of another format is not guessed at."""
    with pytest.raises(BadLogError, match="format is 9"):
        read(WHOLE.replace(b'"format":1', b'"format":9', 1))


def test_a_profile_comes_back_as_it_was_asked() -> None:
    """All that routing needs of a request is in its record, and its idempotency key is not."""
    site = Site({"a": 1.0})
    asked = profile(7, session_key="s", max_cost_usd=0.5, idempotency_key="secret", task="code", deadline_s=1_020.0)
    site.decide(asked)
    (one,) = Reading(Path("x")).segment("x", site.text)

    back = read_profile(one.line)

    assert back.idempotency_key == ""
    assert (back.session_key, back.max_cost_usd, back.task, back.deadline_s) == ("s", 0.5, "code", 1_020.0)
    assert back.input_tokens == asked.input_tokens


def test_names_are_hidden_where_that_is_wanted() -> None:
    """With hidden names neither tenant nor session is in the bytes, and equal ones stay equal."""
    from router.decisions.lines import Lines, hidden  # noqa: PLC0415 - of this test alone

    site = Site({"a": 1.0})
    site.lines = Lines("here", hide=hidden)
    site.text = site.lines.begin(0.0)
    for number in range(2):
        site.decide(profile(number, tenant="acme-corporation", session_key="user@example.org"))

    assert b"acme" not in site.text
    assert b"example.org" not in site.text
    tenants = {one.line.profile["tenant"] for one in Reading(Path("x")).segment("x", site.text)}
    assert len(tenants) == 1
