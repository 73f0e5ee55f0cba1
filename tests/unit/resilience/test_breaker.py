"""The circuit breaker as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.live import Live
from router.resilience.breaker import Breaker, State


def breaker() -> tuple[Breaker, Live]:
    live = Live()
    return Breaker(live, open_after=3, open_base_s=5.0, open_max_s=40.0), live


def test_it_opens_after_consecutive_failures_and_closes_after_one_success() -> None:
    """Three failures open it, its time passes, one probe is let through, and its success closes it."""
    circuit, _ = breaker()
    for _ in range(3):
        assert circuit.permit(0.0)
        circuit.failure(0.0)
    assert circuit.state(4.9) is State.OPEN
    assert not circuit.permit(4.9)
    assert circuit.state(5.0) is State.HALF_OPEN
    assert circuit.permit(5.0)
    assert not circuit.permit(5.0)
    circuit.success(5.1)
    assert circuit.state(5.1) is State.CLOSED


def test_a_failed_probe_opens_it_for_longer() -> None:
    """Each trip doubles the time, up to the bound."""
    circuit, live = breaker()
    now, waits = 0.0, []
    for _ in range(3):
        circuit.failure(now)
    for _ in range(5):
        waits.append(live.open_until - now)
        now = live.open_until
        assert circuit.permit(now)
        circuit.failure(now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 40.0]


def test_a_steady_share_of_failures_opens_it_without_a_run() -> None:
    """Failing every other request never makes three in a row, and still opens it."""
    circuit, _ = breaker()
    opened = False
    for n in range(200):
        now = n * 0.1
        if not circuit.permit(now):
            opened = True
            break
        if n % 2:
            circuit.failure(now)
        else:
            circuit.success(now)
    assert opened


def test_the_failure_rate_fades_without_requests() -> None:
    """What failed is dear for a while and no longer: its rate falls to the prior though nothing is sent there."""
    circuit, live = breaker()
    at_first = live.failure_rate
    for second in range(10):
        circuit.failure(float(second))
    worst = live.failure_rate

    circuit.fade(10.0 + 120.0)
    halfway = live.failure_rate
    circuit.fade(10.0 + 3600.0)

    assert worst > halfway > at_first
    assert live.failure_rate == pytest.approx(at_first, rel=1e-3)


def test_who_was_busy_is_thought_hardly_more_reliable_than_who_was_not() -> None:
    """Otherwise the traffic of short requests would stay where it is though the price there doubles."""
    circuit, busy = breaker()
    _, idle = breaker()
    for second in range(200):
        circuit.success(float(second))

    assert 0.0 < idle.failure_rate - busy.failure_rate <= 1e-3


def test_one_failure_counts_whoever_it_befalls() -> None:
    """About a twentieth, where little else is known."""
    circuit, live = breaker()
    circuit.failure(0.0)

    assert live.failure_rate == pytest.approx(0.05, abs=0.01)


def test_no_verdict_frees_the_probe() -> None:
    """A probe that was cancelled lets another one through."""
    circuit, _ = breaker()
    for _ in range(3):
        circuit.failure(0.0)
    assert circuit.permit(10.0)
    circuit.no_verdict()
    assert circuit.permit(10.0)


@given(st.lists(st.tuples(st.sampled_from(["permit", "success", "failure", "none"]), st.floats(0.0, 30.0))))
def test_any_history_keeps_the_invariants(history: list[tuple[str, float]]) -> None:
    """CLOSED always permits, OPEN never does, HALF_OPEN permits one; a success always closes."""
    circuit, live = breaker()
    now = 0.0
    for event, elapsed in history:
        now += elapsed
        state, probing = circuit.state(now), live.half_open
        if event == "permit":
            allowed = circuit.permit(now)
            assert allowed == (state is State.CLOSED or (state is State.HALF_OPEN and not probing))
        elif event == "success":
            circuit.success(now)
            assert circuit.state(now) is State.CLOSED
        elif event == "failure":
            circuit.failure(now)
            if state is State.HALF_OPEN and probing:
                assert circuit.state(now) is State.OPEN
        else:
            circuit.no_verdict()
            assert not live.half_open
        assert live.open_until <= now + 40.0
        assert 0.0 < live.failure_rate < 1.0
