"""What people see of the last minute: rates that forget, and memory that goes with its backend."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.scripted import Finish
from router.clock import FakeClock
from router.dispatch.feedback import Feedback
from router.dispatch.traffic import IDLE, SLOT_S, WINDOW_S, Rates, Traffic
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.rows import Forecast
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.telemetry.metrics import Metrics
from tests.unit.dispatch.conftest import MakeRig

# What it says is not looked at where nothing was timed.
NOTHING_PREDICTED = Forecast.__new__(Forecast)
OUTCOME = AttemptOutcome(
    backend="a", model="m", result="OK", ttft_s=0.2, tpot_s=0.01, usage=TokenUsage(input=10, output=30), cost_usd=0.5
)


@pytest.fixture
def forecast(make_rig: MakeRig) -> Forecast:
    """What was predicted of each attempt: 100 ms and 5 ms a token."""
    row = make_rig({"a": [[Finish()]]}).fleet.row("a", "m")
    assert row is not None
    predicted = Forecast(row)
    predicted.ttft_s, predicted.tpot_s = 0.1, 0.005
    return predicted


def test_rates_are_of_the_last_minute(forecast: Forecast) -> None:
    """A request a second is shown as that once a minute has gone by, with its tokens, money and failures."""
    traffic = Traffic(now=0.0)
    for second in range(200):
        traffic.record(forecast, replace(OUTCOME, counts_against_health=second % 4 == 0), second + 0.5)

    rates = traffic.rates("a", 200.0)

    assert rates.requests_per_s == pytest.approx(1.0)
    assert rates.tokens_per_s == pytest.approx(30.0)
    assert rates.usd_per_hour == pytest.approx(1800.0)
    assert rates.failure_rate == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("offset", [0.0, 0.4, 2.5, 4.9])
def test_a_steady_rate_does_not_depend_on_when_one_looks(forecast: Forecast, offset: float) -> None:
    """A slot that has only begun does not make the rate look smaller."""
    traffic = Traffic(now=0.0)
    for tenth in range(3_000):
        traffic.record(forecast, OUTCOME, tenth / 10.0)

    assert traffic.rates("a", 300.0 + offset - 1e-6).requests_per_s == pytest.approx(10.0, rel=0.1)


def test_a_young_replica_divides_by_its_age(forecast: Forecast) -> None:
    """Ten requests in the first five seconds are two a second, and one in the first instant is not a thousand."""
    traffic = Traffic(now=7.0)
    traffic.record(forecast, OUTCOME, 7.001)
    assert traffic.rates("a", 7.001).requests_per_s == 1.0
    for _ in range(9):
        traffic.record(forecast, OUTCOME, 11.0)

    assert traffic.rates("a", 12.0).requests_per_s == pytest.approx(2.0)


@given(at=st.floats(0.0, 1e6), later=st.floats(0.0, 1e5))
def test_what_was_is_seen_for_most_of_a_minute_and_not_after_it(at: float, later: float) -> None:
    """Whenever it happened, a request counts for 55 seconds, and after 60 nothing of it is left."""
    traffic = Traffic(now=0.0)
    traffic.record(NOTHING_PREDICTED, replace(OUTCOME, ttft_s=None, tpot_s=None), at)

    assert traffic.rates("a", at + WINDOW_S - SLOT_S - 0.01).requests_per_s > 0.0
    assert traffic.rates("a", at + WINDOW_S + later) is IDLE


def test_an_hour_of_silence_leaves_nothing_stale(forecast: Forecast) -> None:
    """After an hour without traffic no rate and no time is shown, and what comes then is shown as it is."""
    traffic = Traffic(now=0.0)
    for _ in range(50):
        traffic.record(forecast, OUTCOME, 10.0)

    assert traffic.rates("a", 10.0 + 3600.0) == Rates()

    traffic.record(forecast, replace(OUTCOME, ttft_s=3.0, tpot_s=None), 10.0 + 3600.0)
    rates = traffic.rates("a", 11.0 + 3600.0)
    assert (rates.ttft_predicted_s, rates.ttft_actual_s) == (0.1, 3.0)
    assert (rates.tpot_predicted_s, rates.tpot_actual_s) == (None, None)


def test_times_are_means_of_what_had_them(forecast: Forecast) -> None:
    """Predicted and actual are averaged over the attempts that got so far; a refused one has no time."""
    traffic = Traffic(now=0.0)
    traffic.record(forecast, OUTCOME, 1.0)
    traffic.record(forecast, replace(OUTCOME, ttft_s=0.4, tpot_s=None), 6.0)
    traffic.record(forecast, replace(OUTCOME, result="OVERLOADED", ttft_s=None, tpot_s=None), 12.0)

    rates = traffic.rates("a", 13.0)

    assert rates.ttft_predicted_s == pytest.approx(0.1)
    assert rates.ttft_actual_s == pytest.approx(0.3)
    assert rates.tpot_predicted_s == pytest.approx(0.005)
    assert rates.tpot_actual_s == pytest.approx(0.01)


def test_a_forgotten_backend_leaves_no_memory(forecast: Forecast) -> None:
    """Memory is of the backends that had traffic, however much, and goes when one is forgotten."""
    traffic = Traffic(now=0.0)
    for second in range(10_000):
        traffic.record(forecast, replace(OUTCOME, backend=f"b{second % 3}"), float(second))
    assert traffic.backends == ("b0", "b1", "b2")

    for name in traffic.backends:
        traffic.forget(name)
        traffic.forget(name)

    assert not traffic.backends
    assert traffic.rates("b0", 10_000.0) is IDLE


def test_an_attempt_that_outlives_its_backend_is_not_remembered(make_rig: MakeRig) -> None:
    """An attempt that ends after its backend was removed puts nothing back that nobody would remove."""
    rig = make_rig({"a": [[Finish()]]})
    feedback = Feedback(fleet=rig.fleet, lengths=OutputLength(), metrics=Metrics(), clock=FakeClock())
    row = rig.fleet.row("a", "m")
    assert row is not None
    early, late = feedback.begin(Forecast(row)), feedback.begin(Forecast(row))
    assert early is not None
    assert late is not None
    early.close("OK")
    assert feedback.traffic.backends == ("a",)
    feedback.traffic.forget("a")
    rig.fleet.apply(FleetSnapshot(version=8))

    late.close("OK")

    assert not feedback.traffic.backends
