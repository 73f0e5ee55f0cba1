"""How long answers are: learnt per tenant, class and model, leaning on what is known of more, cut off by the limit."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.length import Length
from router.domain.rows import Shape
from router.prediction.output_length import MAX_HISTORIES, PRIOR_SD_LOG, PRIOR_TOKENS, OutputLength, cut


def shape(*, limit: float = 1e6, expected: float = 0.0, tenant: str = "t", workload: str = "chat") -> Shape:
    return Shape(
        input_tokens=100.0,
        cached_tokens=0.0,
        max_output_tokens=limit,
        expected_output_tokens=expected,
        ttft_slo_s=math.inf,
        tpot_slo_s=math.inf,
        e2e_slo_s=math.inf,
        probability=0.9,
        batch=False,
        quality_task="*",
        tenant=tenant,
        workload=workload,
    )


def taught(
    count: int, *, mean: float, sd: float, tenant: str = "t", workload: str = "chat", limit: int = 10**9, seed: int = 1
) -> OutputLength:
    """After `count` answers whose ln(tokens) is normal, cut off at `limit`."""
    rng = random.Random(seed)
    lengths = OutputLength()
    for _ in range(count):
        tokens = max(1, round(rng.lognormvariate(mean, sd)))
        cut_off = tokens >= limit
        lengths.observe("m", min(tokens, limit), workload=workload, tenant=tenant, cut_off=cut_off)
    return lengths


def test_before_any_answer_the_prior_holds() -> None:
    """An unknown model is expected to answer as long as models do, with a wide spread."""
    found = OutputLength().of("m", shape())
    assert (found.mean_log, found.sd_log) == pytest.approx((math.log(PRIOR_TOKENS), PRIOR_SD_LOG))


def test_mean_and_spread_are_learnt() -> None:
    """After a few hundred answers both are the stream's own, and so is the expectation."""
    found = taught(600, mean=5.0, sd=0.5).of("m", shape())
    assert found.mean_log == pytest.approx(5.0, abs=0.1)
    assert found.sd_log == pytest.approx(0.5, abs=0.08)
    assert found.tokens == pytest.approx(math.exp(5.0 + 0.125), rel=0.15)
    assert found.p90 == pytest.approx(math.exp(5.0 + 1.2816 * 0.5), rel=0.15)


def test_who_is_new_is_like_the_others_of_the_class_and_then_of_the_model() -> None:
    """Nothing known of a tenant: its class decides; nothing of the class: the model; ten answers count half."""
    lengths = taught(200, mean=6.0, sd=0.3, workload="agentic")
    for _ in range(200):
        lengths.observe("m", 20, workload="chat", tenant="t")
    agentic = lengths.of("m", shape(tenant="new", workload="agentic")).mean_log
    chat = lengths.of("m", shape(tenant="new", workload="chat")).mean_log
    other = lengths.of("m", shape(tenant="new", workload="other")).mean_log
    assert agentic == pytest.approx(5.9, abs=0.4)
    assert chat == pytest.approx(math.log(20.0), abs=0.3)
    assert chat < other < agentic
    for _ in range(10):
        lengths.observe("m", 2000, workload="chat", tenant="long")
    assert chat + 1.5 < lengths.of("m", shape(tenant="long")).mean_log < math.log(2000.0) - 1.0


def test_answers_that_were_cut_off_count_as_longer() -> None:
    """Half of the answers are cut off at the median: the mean is found all the same."""
    found = taught(600, mean=5.0, sd=0.8, limit=round(math.exp(5.0)), seed=3).of("m", shape())
    assert found.mean_log == pytest.approx(5.0, abs=0.2)
    assert found.sd_log == pytest.approx(0.8, abs=0.25)


def test_limits_far_below_the_usual_teach_nothing() -> None:
    """A thousand answers of one token that might not be longer leave the estimate where it was."""
    lengths = taught(200, mean=6.0, sd=0.3)
    before = lengths.of("m", shape()).mean_log
    for _ in range(1000):
        lengths.observe("m", 1, workload="chat", tenant="t", cut_off=True)
    assert lengths.of("m", shape()).mean_log == before


def test_the_caller_knows_better() -> None:
    """A caller's own guess is the mean; what is known of the spread stays."""
    found = taught(300, mean=5.0, sd=0.5).of("m", shape(expected=1000.0))
    assert found.tokens == pytest.approx(1000.0)
    assert found.sd_log == pytest.approx(0.5, abs=0.08)


means, spreads, limits = st.floats(-2.0, 12.0), st.floats(0.05, 3.0), st.floats(1.0, 1e6)


@given(means, spreads, limits)
def test_a_cut_length_is_within_its_limit(mean: float, sd: float, limit: float) -> None:
    """0 < mean <= p90 or so <= limit, and the variance is that of something between nothing and the limit."""
    found = cut(mean, sd, limit)
    assert 0.0 < found.tokens <= limit
    assert found.tokens <= found.p90 <= limit
    assert 0.0 <= found.variance <= limit * limit


@given(means, spreads, limits, st.floats(1.0, 10.0))
def test_a_higher_limit_never_makes_an_answer_shorter(mean: float, sd: float, limit: float, more: float) -> None:
    """E[min(o, limit)] rises with the limit."""
    assert cut(mean, sd, limit).tokens <= cut(mean, sd, limit * more).tokens * (1.0 + 1e-9)


def test_moments_are_those_of_a_sample() -> None:
    """Mean, variance and 90 % quantile of min(o, limit), against a hundred thousand draws."""
    rng = random.Random(6)
    draws = sorted(min(400.0, rng.lognormvariate(5.0, 0.8)) for _ in range(100_000))
    mean = sum(draws) / len(draws)
    found = cut(5.0, 0.8, 400.0)
    assert found.tokens == pytest.approx(mean, rel=0.02)
    assert found.variance == pytest.approx(sum((d - mean) ** 2 for d in draws) / len(draws), rel=0.03)
    assert found.p90 == pytest.approx(draws[90_000], rel=0.02)


@given(st.lists(st.tuples(st.integers(-5, 10**7), st.booleans(), st.sampled_from("ab")), max_size=200))
def test_estimates_are_finite_whatever_is_observed(seen: list[tuple[int, bool, str]]) -> None:
    """Any lengths, cut off or not, of any tenants."""
    lengths = OutputLength()
    for tokens, cut_off, tenant in seen:
        lengths.observe("m", tokens, workload="chat", tenant=tenant, cut_off=cut_off)
    for tenant in "abc":
        found: Length = lengths.of("m", shape(tenant=tenant, limit=4096.0))
        assert 0.0 < found.tokens <= 4096.0
        assert math.isfinite(found.variance)


def test_histories_are_bounded_and_the_busy_ones_stay() -> None:
    """Ten thousand tenants pass by: the table stays within its bound, and who goes on answering is still known."""
    lengths = OutputLength()
    for n in range(10_000):
        lengths.observe("m", 20, workload="chat", tenant=f"t{n}")
        lengths.observe("m", 2000, workload="chat", tenant="busy")
    assert len(lengths) <= MAX_HISTORIES
    assert lengths.of("m", shape(tenant="busy")).mean_log == pytest.approx(math.log(2000.0), abs=0.2)
    forgotten, last = shape(tenant="t0"), shape(tenant="t9999")
    assert lengths.of("m", last).mean_log < lengths.of("m", forgotten).mean_log
