"""The store's clock as a replica estimates it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.clock import FakeClock
from router.state.store_time import StoreTime

UNIX = 1_800_000_000.0


def answer(subject: StoreTime, local: FakeClock, *, trip: float, server_ahead_s: float, asymmetry: float = 0.5) -> None:
    """One exchange with a server whose clock is `server_ahead_s` ahead of the true time, which is `UNIX` at 1,000."""
    sent = local.monotonic()
    local.advance(trip * asymmetry)
    server = UNIX + (local.monotonic() - 1_000.0) + server_ahead_s
    local.advance(trip * (1.0 - asymmetry))
    subject.sample(sent=sent, received=local.monotonic(), server=server)


def test_before_the_first_answer_it_is_the_local_clock() -> None:
    """A replica that has not reached the store uses its own clock, and says that it does."""
    local = FakeClock(unix=UNIX)
    subject = StoreTime(local)
    assert (subject.time(), subject.monotonic(), subject.known) == (UNIX, 1_000.0, False)
    assert subject.local_error_s == 0.0


@pytest.mark.parametrize("wrong_by", [-5.0, 5.0, 3_600.0])
def test_a_wrong_local_clock_does_not_matter(wrong_by: float) -> None:
    """However wrong the wall clock is, the time is the store's, to within half a round trip."""
    local = FakeClock(unix=UNIX + wrong_by)
    subject = StoreTime(local)
    answer(subject, local, trip=0.004, server_ahead_s=0.0, asymmetry=0.9)
    true = UNIX + local.monotonic() - 1_000.0
    assert subject.time() == pytest.approx(true, abs=0.002)
    assert subject.local_error_s == pytest.approx(wrong_by, abs=0.002)
    assert subject.uncertainty_s == pytest.approx(0.002)


def test_the_shortest_round_trip_counts() -> None:
    """A slow, lopsided exchange after a quick one does not move the time, until the quick one is 30 exchanges old."""
    local = FakeClock(unix=UNIX)
    subject = StoreTime(local)
    answer(subject, local, trip=0.0, server_ahead_s=0.0)
    for _ in range(29):
        answer(subject, local, trip=0.1, server_ahead_s=0.0, asymmetry=1.0)
        assert subject.time() == pytest.approx(UNIX + local.monotonic() - 1_000.0, abs=1e-6)
    answer(subject, local, trip=0.1, server_ahead_s=0.0, asymmetry=1.0)
    assert subject.uncertainty_s == pytest.approx(0.05)


def test_while_the_store_is_away_the_time_goes_on_evenly() -> None:
    """A minute without an answer is a minute, whatever happens to the local wall clock meanwhile."""
    local = FakeClock(unix=UNIX)
    subject = StoreTime(local)
    answer(subject, local, trip=0.002, server_ahead_s=7.0)
    before = subject.time()
    local.advance(60.0)
    local._unix -= 3_600.0
    assert subject.time() == pytest.approx(before + 60.0)


def test_a_server_with_another_clock_is_followed_at_once() -> None:
    """After a failover to a server whose clock is five seconds behind, one answer is enough."""
    local = FakeClock(unix=UNIX)
    subject = StoreTime(local)
    for _ in range(30):
        answer(subject, local, trip=0.001, server_ahead_s=0.0)
    answer(subject, local, trip=0.05, server_ahead_s=-5.0)
    assert subject.time() == pytest.approx(UNIX + local.monotonic() - 1_000.0 - 5.0, abs=0.025)


@given(
    trips=st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 1.0)), min_size=1, max_size=60),
    ahead=st.floats(-1e4, 1e4),
)
def test_the_error_is_never_more_than_it_says(trips: list[tuple[float, float]], ahead: float) -> None:
    """However long and lopsided the exchanges were, the true time is within the stated uncertainty."""
    local = FakeClock(unix=UNIX + 5.0)
    subject = StoreTime(local)
    for trip, asymmetry in trips:
        answer(subject, local, trip=trip, server_ahead_s=ahead, asymmetry=asymmetry)
    true = UNIX + local.monotonic() - 1_000.0 + ahead
    assert abs(subject.time() - true) <= subject.uncertainty_s + 1e-5
