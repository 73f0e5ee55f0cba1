"""What a forecast is made of: prior, correction, queues, caches, the age of what is known, the spread of lengths."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.hardware import Hardware
from router.domain.length import Length
from router.domain.rows import Row
from router.prediction import learning
from router.prediction.predictor import forecast, p_within, predict
from tests.unit.prediction.rows import H100, make_row, shape

HOSTED = Hardware(id="api", name="API", kind="hosted", fixed_ttft_s=0.4, fixed_tpot_s=0.02, prior_sd_log=0.5)


def teach(row: Row, *, ttft: float, tpot: float, count: int = 60) -> None:
    """Answers whose times are the prior's times `ttft` and `tpot`, with some noise, at the row's load."""
    rng = random.Random(3)
    found = forecast(row, shape(), 100.0)
    for n in range(count):
        learning.observe(
            row.learned,
            prior_ttft_s=found.prior_ttft_s,
            prior_tpot_s=found.prior_tpot_s,
            ttft_s=found.prior_ttft_s * ttft * math.exp(rng.gauss(0.0, 0.2)),
            tpot_s=found.prior_tpot_s * tpot * math.exp(rng.gauss(0.0, 0.04)),
            now=float(n),
            batch=found.batch,
            prompt_tokens=found.prompt_tokens,
            context_tokens=1050.0,
        )


@pytest.mark.parametrize("hardware", [H100, HOSTED])
def test_a_forecast_is_the_prior_times_what_was_learnt(hardware: Hardware) -> None:
    """Times twice and three times the prior are predicted as such, with less spread than before any answer."""
    row = make_row(hardware=hardware)
    before = forecast(row, shape(), 100.0)
    teach(row, ttft=2.0, tpot=3.0)
    after = forecast(row, shape(), 100.0)
    assert after.ttft_s == pytest.approx(2.0 * before.prior_ttft_s, rel=0.1)
    assert after.tpot_s == pytest.approx(3.0 * before.prior_tpot_s, rel=0.03)
    assert after.ttft_sd < before.ttft_sd
    assert after.tpot_sd < before.tpot_sd


def test_an_api_starts_from_its_published_medians() -> None:
    """Without physics the prior is what was published, whatever the prompt, and it may be off by half or so."""
    found = forecast(make_row(hardware=HOSTED), shape(), 100.0)
    assert (found.prior_ttft_s, found.prior_tpot_s) == (0.4, 0.02)
    assert 0.5 <= found.ttft_sd < 0.8


times = st.floats(1e-3, 1e3)


@given(times, st.floats(1.0, 10.0), times, st.floats(0.01, 3.0))
def test_probabilities_never_fall_as_limits_rise(limit: float, more: float, mean: float, sd: float) -> None:
    """P(X <= limit) is monotone in the limit, and a probability."""
    low, high = p_within(limit, mean, sd), p_within(limit * more, mean, sd)
    assert 0.0 <= low <= high <= 1.0


@given(st.floats(1e-4, 1e3), st.floats(1.0, 10.0), st.integers(0, 40))
def test_the_chance_of_a_first_token_in_time_rises_with_the_limit(limit: float, more: float, answers: int) -> None:
    """Also where it comes from observed residuals."""
    row = make_row()
    teach(row, ttft=1.5, tpot=1.0, count=answers)
    low = forecast(row, shape(ttft_slo_s=limit), 100.0).p_ttft
    high = forecast(row, shape(ttft_slo_s=limit * more), 100.0).p_ttft
    assert 0.0 <= low <= high <= 1.0


def test_no_first_token_comes_within_no_time() -> None:
    """A limit of zero is never met."""
    assert forecast(make_row(), shape(ttft_slo_s=0.0), 100.0).p_ttft == 0.0


def test_cached_tokens_count_where_they_are() -> None:
    """A prompt that the backend has cached comes sooner there; one that another has cached does not."""
    row = make_row()
    cold = forecast(row, shape(input_tokens=8000.0), 100.0)
    warm = forecast(row, shape(input_tokens=8000.0, cached_on={"a": 7500.0}), 100.0)
    elsewhere = forecast(row, shape(input_tokens=8000.0, cached_on={"b": 7500.0}), 100.0)
    assert warm.ttft_s < 0.6 * cold.ttft_s
    assert elsewhere.ttft_s == cold.ttft_s
    assert warm.tpot_s == cold.tpot_s


def test_prompts_that_wait_are_worked_off_at_the_learnt_pace() -> None:
    """A backend that prefills at half the expected speed also takes twice as long for the prompts before this one."""
    row = make_row()
    teach(row, ttft=2.0, tpot=1.0)
    row.live.prefill_tokens = 4000.0
    found = forecast(row, shape(), 100.0)
    assert found.prefill_pace == pytest.approx(2.0, rel=0.25)
    assert found.ttft_s > 1.6 * found.prior_ttft_s
    assert found.prompt_tokens == 5000.0


def test_a_full_backend_frees_slots_at_the_learnt_pace() -> None:
    """When decoding turns out three times as slow, waiting for a slot does too."""
    row = make_row()
    row.live.in_flight = 64
    before = forecast(row, shape(), 100.0).prior_ttft_s
    teach(row, ttft=1.0, tpot=3.0)
    assert forecast(row, shape(), 100.0).prior_ttft_s > 2.0 * before


def test_old_state_widens_what_is_predicted() -> None:
    """Up to a second nothing changes; then TTFT and TPOT become less sure, within a bound."""
    row = make_row()
    fresh, second, old, ancient = (forecast(row, shape(state_age_s=age), 100.0) for age in (0.0, 1.0, 3.0, 1e6))
    assert second.ttft_sd == fresh.ttft_sd
    assert fresh.ttft_sd < old.ttft_sd < ancient.ttft_sd < fresh.ttft_sd + 0.5
    assert fresh.tpot_sd < old.tpot_sd < ancient.tpot_sd < fresh.tpot_sd + 0.3


def test_the_spread_of_lengths_is_part_of_the_whole_time() -> None:
    """End to end has the variance of its parts: first token, pace, and how many tokens there are."""
    row = make_row()
    teach(row, ttft=1.0, tpot=1.0)
    sure = predict(row, shape(), Length(200.0))
    unsure = predict(row, shape(), Length(200.0, variance=200.0 * 200.0))
    assert unsure.e2e_s == sure.e2e_s
    assert sure.e2e_var < 0.02
    assert unsure.e2e_var == pytest.approx(math.log(2.0), rel=0.1)


def test_the_moments_of_the_whole_time_are_those_of_a_sample() -> None:
    """Mean and variance of TTFT plus tokens times TPOT, against draws of the three."""
    row = make_row()
    teach(row, ttft=1.0, tpot=1.0)
    length = Length(200.0, variance=2500.0)
    found = predict(row, shape(), length)
    rng = random.Random(7)

    def draw(mean: float, sd: float) -> float:
        return mean * math.exp(rng.gauss(-0.5 * sd * sd, sd))

    totals = [
        draw(found.ttft_s, found.ttft_sd) + (rng.gauss(200.0, 50.0) - 1.0) * draw(found.tpot_s, found.tpot_sd)
        for _ in range(40_000)
    ]
    mean = sum(totals) / len(totals)
    variance = sum((t - mean) ** 2 for t in totals) / len(totals)
    assert found.e2e_s == pytest.approx(mean, rel=0.02)
    assert math.expm1(found.e2e_var) * found.e2e_s**2 == pytest.approx(variance, rel=0.1)


absurd = st.floats(0.0, 1e12)


@given(absurd, absurd, absurd, st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.floats(0.0, 1e9))
def test_forecasts_are_finite_for_absurd_loads_and_beliefs(
    prompt: float, waiting: float, batch: float, ttft_s: float, tpot_s: float, age: float
) -> None:
    """Whatever was observed and however much waits: finite times, and probabilities."""
    row = make_row()
    row.live.prefill_tokens, row.live.others = waiting, batch
    for n in range(5):
        learning.observe(
            row.learned,
            prior_ttft_s=0.1,
            prior_tpot_s=0.01,
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            now=float(n),
            batch=batch,
            prompt_tokens=waiting,
            context_tokens=prompt,
        )
    asked = shape(input_tokens=prompt, state_age_s=age, ttft_slo_s=1.0, tpot_slo_s=0.1, e2e_slo_s=10.0)
    found = forecast(row, asked, 100.0)
    assert all(math.isfinite(x) and x > 0.0 for x in (found.ttft_s, found.tpot_s, found.e2e_s))
    assert all(0.0 <= p <= 1.0 for p in (found.p_ttft, found.p_tpot, found.p_e2e))
