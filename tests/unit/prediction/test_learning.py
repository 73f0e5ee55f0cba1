"""The online correction: calibrated on streams, quick after a change, at the prior when idle, sane whatever comes."""

from __future__ import annotations

import math
import random
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.learned import RESIDUALS, Belief, Learned, Tail
from router.prediction import learning
from router.prediction.learning import LATE_SD, fade, flow_shift, observe, pace_shift, unfinished, waiting_shift

TTFT_NOISE, TPOT_NOISE = 0.25, 0.05


def ttft(learned: Learned, z: float, now: float, **at: float) -> None:
    """One observed TTFT whose ln(observed / prior) is `z`."""
    observe(learned, prior_ttft_s=0.2, prior_tpot_s=0.01, ttft_s=0.2 * math.exp(z), tpot_s=None, now=now, **at)


def tpot(learned: Learned, z: float, now: float, **at: float) -> None:
    """One observed TPOT whose ln(observed / prior) is `z`."""
    observe(learned, prior_ttft_s=0.2, prior_tpot_s=0.01, ttft_s=None, tpot_s=0.01 * math.exp(z), now=now, **at)


def coverage(rate: float, seed: int, requests: int) -> tuple[float, float]:
    """Shares of (TTFT, TPOT) within their 90 % intervals, one request ahead, on a backend with slopes of its own."""
    rng = random.Random(seed)
    learned = Learned(prior_sd_log=0.35)
    true = [rng.gauss(0.0, 0.3), rng.gauss(0.0, 0.1), rng.gauss(0.0, 0.1)]
    now, within = 0.0, [0, 0]
    for _ in range(requests):
        now += rng.expovariate(rate)
        batch, context, prompt = rng.randrange(64), rng.lognormvariate(7.0, 1.0), rng.lognormvariate(6.5, 1.0)
        fade(learned, now)
        x1, x2 = learning.ttft_features(prompt, batch)
        z = true[0] + true[1] * x1 + true[2] * x2 + rng.gauss(0.0, TTFT_NOISE)
        off = (z - learned.ttft.mean(x1, x2)) / math.sqrt(learned.ttft.variance(x1, x2))
        within[0] += 0.05 <= learned.tail.within(off) <= 0.95
        ttft(learned, z, now, batch=batch, prompt_tokens=prompt)
        x1, x2 = learning.tpot_features(batch, context)
        z = true[0] + true[1] * x1 + true[2] * x2 + rng.gauss(0.0, TPOT_NOISE)
        within[1] += abs(z - learned.tpot.mean(x1, x2)) <= LATE_SD * math.sqrt(learned.tpot.variance(x1, x2))
        tpot(learned, z, now, batch=batch, context_tokens=context)
    return within[0] / requests, within[1] / requests


@pytest.mark.parametrize("rate", [0.02, 0.5, 5.0])
def test_ninety_percent_intervals_cover_ninety_percent(rate: float) -> None:
    """At 0.02, 0.5 and 5 requests a second, 0.87 to 0.95 of TTFT and TPOT lie in their intervals."""
    found = [coverage(rate, seed, 600) for seed in range(4)]
    for quantity in (0, 1):
        assert 0.87 <= sum(one[quantity] for one in found) / len(found) <= 0.95


@pytest.mark.parametrize("step", [-0.55, math.log(1.5), math.log(3.0)])
def test_a_step_of_tpot_is_learnt_again_within_three_answers(step: float) -> None:
    """A well-known backend becomes faster or slower at once: three answers later it is predicted right."""
    for seed in range(20):
        rng = random.Random(seed)
        learned = Learned(prior_sd_log=0.35)
        for n in range(200):
            tpot(learned, rng.gauss(0.0, TPOT_NOISE), 0.5 * n)
        for n in range(200, 203):
            tpot(learned, step + rng.gauss(0.0, TPOT_NOISE), 0.5 * n)
        assert learned.tpot.mean(0.0, 0.0) == pytest.approx(step, abs=0.15)


def test_most_of_a_threefold_ttft_is_believed_within_five_answers() -> None:
    """TTFT is noisier: at least half of the step, in the logarithm, is believed after five answers."""
    for seed in range(20):
        rng = random.Random(seed)
        learned = Learned(prior_sd_log=0.35)
        for n in range(200):
            ttft(learned, rng.gauss(0.0, TTFT_NOISE), 0.5 * n)
        for n in range(200, 205):
            ttft(learned, math.log(3.0) + rng.gauss(0.0, TTFT_NOISE), 0.5 * n)
        assert learned.ttft.mean(0.0, 0.0) > 0.5 * math.log(3.0)


def test_a_slope_is_learnt() -> None:
    """Where the prior is wrong about how load slows a backend down, another batch is predicted better than the mean."""
    rng = random.Random(5)
    learned = Learned(prior_sd_log=0.35)
    for n in range(300):
        batch = rng.choice([0.0, 7.0, 31.0])
        x1, _ = learning.tpot_features(batch, 2000.0)
        tpot(learned, 0.3 + 0.2 * x1 + rng.gauss(0.0, TPOT_NOISE), float(n), batch=batch)
    x1, x2 = learning.tpot_features(63.0, 2000.0)
    assert learned.tpot.mean(x1, x2) == pytest.approx(0.3 + 0.2 * x1, abs=0.08)


def known_sd(belief: Belief) -> float:
    return math.sqrt(belief.p00)


def test_what_was_learnt_fades_to_the_prior_and_never_beyond() -> None:
    """After a half-life of silence half of the prior's variance is back, after hours all of it, and its mean."""
    rng = random.Random(2)
    learned = Learned(prior_sd_log=0.25)
    for n in range(500):
        tpot(learned, 0.8 + rng.gauss(0.0, TPOT_NOISE), 0.2 * n)
    assert known_sd(learned.tpot) < 0.03
    fade(learned, 100.0 + learning.HALF_LIFE_S)
    assert known_sd(learned.tpot) == pytest.approx(0.25 / math.sqrt(2.0), abs=0.01)
    fade(learned, 1e6)
    assert known_sd(learned.tpot) == pytest.approx(0.25)
    assert abs(learned.tpot.mean(1.0, 1.0)) < 0.01


def test_fading_in_steps_comes_to_the_same() -> None:
    """However often time is looked at, an idle backend is where it would be anyway."""
    ends = []
    for steps in (1, 7, 500):
        learned = Learned(prior_sd_log=0.35)
        for n in range(50):
            tpot(learned, 0.5, float(n))
        for n in range(1, steps + 1):
            fade(learned, 50.0 + 1000.0 * n / steps)
        ends.append((learned.tpot.w0, learned.tpot.p00, learned.tpot.scale))
    assert ends[1] == pytest.approx(ends[0])
    assert ends[2] == pytest.approx(ends[0])


def test_one_outlier_does_not_ruin_the_belief() -> None:
    """A single answer that took a hundred times as long moves the mean by a bounded amount."""
    rng = random.Random(1)
    learned = Learned(prior_sd_log=0.2)
    for n in range(50):
        tpot(learned, rng.gauss(0.0, TPOT_NOISE), float(n))
    tpot(learned, math.log(100.0), 51.0)
    assert learned.tpot.mean(0.0, 0.0) < 0.15


@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=30), st.integers(0, 2**32))
def test_tail_probabilities_never_fall_and_stay_within_zero_and_one(at: list[float], seed: int) -> None:
    """P(residual <= t) rises with t, also where no residual ever was."""
    tail = Tail()
    rng = random.Random(seed)
    for _ in range(rng.randrange(300)):
        tail.add(rng.gauss(0.0, 1.0) * rng.choice([0.1, 1.0, 10.0]))
    points = [-40.0, *sorted(at), 40.0]
    found = [tail.within(t) for t in points]
    assert found == sorted(found)
    assert found[0] >= 0.0
    assert found[-1] <= 1.0


@pytest.mark.parametrize("freedom", [2, 3, 30])
def test_conformal_quantiles_are_right_on_heavy_tails(freedom: int) -> None:
    """With Student-t noise of few degrees 90 % intervals hold 0.87 to 0.93, and the 90 % quantile nine in ten."""
    rng = random.Random(freedom)
    learned = Learned(prior_sd_log=0.5)
    inside = below = 0
    for n in range(3000):
        noise = rng.gauss(0.0, 0.3) / math.sqrt(rng.gammavariate(freedom / 2.0, 2.0) / freedom)
        off = (0.4 + noise - learned.ttft.mean(0.0, 0.0)) / math.sqrt(learned.ttft.variance(0.0, 0.0))
        p = learned.tail.within(off)
        inside += 0.05 <= p <= 0.95
        below += p <= 0.9
        ttft(learned, 0.4 + noise, float(n))
    assert 0.87 <= inside / 3000 <= 0.93
    assert 0.88 <= below / 3000 <= 0.92


def test_a_quantile_is_where_its_probability_is() -> None:
    """`quantile` is the inverse of `within`, before and after there are enough residuals."""
    tail = Tail()
    rng = random.Random(4)
    for _ in range(60):
        for q in (0.01, 0.1, 0.5, 0.9, 0.99):
            assert tail.within(tail.quantile(q)) == pytest.approx(q, abs=1e-6)
        tail.add(rng.expovariate(1.0) - 1.0)


@pytest.mark.parametrize(
    ("t", "freedom", "expected"), [(-2.353, 3, 0.05), (-5.841, 3, 0.005), (1.0, 3, 0.804), (-1.943, 6, 0.05)]
)
def test_few_residuals_have_the_tails_of_students_t(t: float, freedom: int, expected: float) -> None:
    """The values of printed tables; far out it goes on falling."""
    tail = Tail()
    for _ in range(freedom - 3):
        tail.add(0.0)
    assert tail.within(t) == pytest.approx(expected, abs=0.003)
    assert 0.0 < tail.within(-1e3) < 1e-4


def test_the_ring_holds_the_last_residuals_only() -> None:
    """After twice as many others nothing is left of the first ones."""
    tail = Tail()
    for _ in range(RESIDUALS):
        tail.add(-3.0)
    assert tail.within(-2.0) > 0.9
    for _ in range(RESIDUALS):
        tail.add(3.0)
    assert tail.within(2.0) < 0.1
    assert len(tail) == RESIDUALS


times = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(1e-9, 1e9))
steps = st.lists(
    st.tuples(times, times, st.floats(-10.0, 1e6), st.floats(0.0, 1e9), st.floats(0.0, 1e9), st.floats(0.0, 1e9)),
    max_size=60,
)


@given(seen=steps, sd=st.floats(0.01, 2.0), late=st.booleans())
def test_a_belief_stays_a_belief_whatever_is_observed(
    seen: list[tuple[float | None, float | None, float, float, float, float]], sd: float, *, late: bool
) -> None:
    """P stays positive definite and within the prior, all is finite: any times, loads and gaps, broken clocks too."""
    learned = Learned(prior_sd_log=sd)
    now = 0.0
    for first, each, gap, batch, prompt, context in seen:
        now += gap
        if late and first is not None:
            unfinished(learned, prior_ttft_s=0.1, waited_s=first, prompt_tokens=prompt, batch=batch, now=now)
        observe(
            learned,
            prior_ttft_s=0.1,
            prior_tpot_s=0.01,
            ttft_s=first,
            tpot_s=each,
            now=now,
            batch=batch,
            prompt_tokens=prompt,
            context_tokens=context,
        )
        for belief in (learned.ttft, learned.tpot):
            assert_sane(belief)
    assert 0.0 <= learned.tail.within(0.0) <= 1.0


def assert_sane(belief: Belief) -> None:
    """All leading minors of P are positive, no diagonal is above the prior's, and predictions are finite."""
    p00, p01, p02, p11, p12, p22 = belief.p00, belief.p01, belief.p02, belief.p11, belief.p12, belief.p22
    assert p00 > 0.0
    assert p00 * p11 - p01 * p01 > 0.0
    assert p00 * (p11 * p22 - p12 * p12) - p01 * (p01 * p22 - p12 * p02) + p02 * (p01 * p12 - p11 * p02) > 0.0
    assert p00 <= belief.intercept_var + 1e-6
    assert max(p11, p22) <= belief.slope_var + 1e-6
    for x1, x2 in ((0.0, 0.0), (8.0, -7.0), (-7.0, 8.0)):
        assert math.isfinite(belief.mean(x1, x2))
        assert 0.0 < belief.variance(x1, x2) < 1e4


def test_a_thousand_equal_answers_at_one_moment_do_not_break_it() -> None:
    """No time passes and nothing new is said: P shrinks, and stays positive definite."""
    learned = Learned(prior_sd_log=0.5)
    for n in range(20_000):
        tpot(learned, 0.5, 0.0, batch=float(n % 2), context_tokens=5000.0)
    assert_sane(learned.tpot)


def test_one_late_attempt_says_little_and_several_say_it_all() -> None:
    """Just beyond the 95 % quantile one attempt hardly matters; five at once, or one far beyond, do."""
    learned = Learned(prior_sd_log=0.2)
    rng = random.Random(3)
    for n in range(100):
        ttft(learned, rng.gauss(0.0, TTFT_NOISE), float(n))
    assert waiting_shift(learned.tail, [(0.45, 0.25)]) < 0.15
    assert waiting_shift(learned.tail, [(0.45, 0.25)] * 5) > 0.4
    assert waiting_shift(learned.tail, [(1.5, 0.25)]) > 0.7
    assert waiting_shift(learned.tail, [(5.0, 0.25)] * 100) > 1.5


@given(
    st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.01, 3.0)), max_size=40), st.floats(0, 1e6), st.floats(0, 1e6)
)
def test_shifts_are_finite_and_only_slow_down(seen: list[tuple[float, float]], expected: float, came: float) -> None:
    """Whatever is waited for, the shift is between nothing and the slowest that is thought of."""
    learned = Learned(prior_sd_log=0.3)
    for shift in (waiting_shift(Tail(), seen), pace_shift(seen), flow_shift(learned, expected, came, 0.01)):
        assert 0.0 <= shift <= math.log(100.0) + 1e-9


def test_the_pace_of_an_answer_on_its_way_says_how_slow_it_is() -> None:
    """Tokens three times as slow are believed; those that are as slow as one in five are not."""
    assert pace_shift([(math.log(3.0), 0.06)]) == pytest.approx(math.log(3.0), abs=0.1)
    assert pace_shift([(0.05, 0.06)]) < 0.01


def test_the_flow_of_answers_on_their_way_says_how_slow_a_backend_is() -> None:
    """A third of the tokens that should come mean three times slower, once the flow is known to be steady."""
    learned = Learned(prior_sd_log=0.2)
    rng = random.Random(1)
    for _ in range(300):
        assert flow_shift(learned, 50.0, 50.0 * math.exp(rng.gauss(0.0, 0.08)), 0.003) < 0.1
    assert flow_shift(learned, 60.0, 20.0, 0.003) == pytest.approx(math.log(3.0), abs=0.3)
    assert flow_shift(learned, 4.0, 0.0, 0.003) == 0.0


def test_a_flow_that_always_stops_and_goes_alarms_nobody() -> None:
    """Where every third moment brings next to nothing, such a moment says nothing."""
    learned = Learned(prior_sd_log=0.2)
    alarms = [flow_shift(learned, 30.0, 3.0 if n % 3 == 0 else 40.0, 0.003) for n in range(600)]
    assert max(alarms[300:]) < 0.5


def test_an_attempt_that_was_given_up_says_that_it_takes_longer() -> None:
    """A wait of ten times the usual that ended without a token moves the mean; one that was cut off early does not."""
    rng = random.Random(9)
    learned = Learned(prior_sd_log=0.35)
    for n in range(50):
        ttft(learned, rng.gauss(0.0, TTFT_NOISE), float(n))
    before = learned.ttft.mean(0.0, 0.0)
    unfinished(learned, prior_ttft_s=0.2, waited_s=0.2, prompt_tokens=1744.0, batch=31.0, now=51.0)
    assert learned.ttft.mean(0.0, 0.0) == pytest.approx(before, abs=1e-3)
    for n in range(3):
        unfinished(learned, prior_ttft_s=0.2, waited_s=2.0, prompt_tokens=1744.0, batch=31.0, now=52.0 + n)
    assert learned.ttft.mean(0.0, 0.0) > before + 1.0


def size_of(thing: object, seen: set[int]) -> int:
    """Bytes of an object and of everything that it alone holds."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    total = sys.getsizeof(thing)
    if isinstance(thing, Learned | Belief | Tail):
        total += sum(size_of(getattr(thing, name), seen) for name in getattr(type(thing), "__slots__", ()))
    if isinstance(thing, list):
        total += sum(size_of(value, seen) for value in thing)
    return total


def test_all_that_is_learnt_of_a_backend_with_a_model_fits_into_four_kilobytes() -> None:
    """Every object counted, with full rings, uncompiled (compiled it is less)."""
    rng = random.Random(8)
    learned = Learned(prior_sd_log=0.2)
    for n in range(3 * RESIDUALS):
        ttft(learned, rng.gauss(0.0, 1.0), float(n), batch=rng.random() * 9.0, prompt_tokens=rng.random() * 999.0)
        tpot(learned, rng.gauss(0.0, 1.0), float(n), batch=rng.random() * 9.0, context_tokens=rng.random() * 999.0)
        learned.tail.within(0.5)
    assert isinstance(learned.tail._ring, array)
    assert size_of(learned, set()) <= 4096
