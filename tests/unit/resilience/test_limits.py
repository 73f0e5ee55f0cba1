"""Retry budget, rate limit and idempotency keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.live import Live
from router.errors import AlreadyExists
from router.resilience.admission import IdempotencyKeys
from router.resilience.rate_limit import RateLimit
from router.resilience.retry_budget import RetryBudget


@given(st.integers(0, 500), st.floats(0.0, 1.0))
def test_retries_never_exceed_the_share_and_the_reserve(requests: int, ratio: float) -> None:
    """With everything failing at one moment, retries are at most ratio * requests + the reserve."""
    budget = RetryBudget(ratio=ratio, reserve=10, window_s=10.0, now=0.0)
    retries = 0
    for _ in range(requests):
        budget.deposit()
        retries += budget.withdraw(0.0)
    assert retries <= ratio * requests + 10 + 1e-6


def test_the_reserve_comes_back_with_time() -> None:
    """A quiet router may retry again after a while."""
    budget = RetryBudget(ratio=0.0, reserve=2, window_s=10.0, now=0.0)
    assert [budget.withdraw(0.0) for _ in range(3)] == [True, True, False]
    assert budget.withdraw(5.0)
    assert not budget.withdraw(5.0)


def test_a_backends_own_limit_fills_up_again() -> None:
    """Sixty requests a minute: used up at once, one more after a second."""
    live = Live()
    limit = RateLimit(live, requests_per_minute=60, tokens_per_minute=None, now=0.0)
    for _ in range(60):
        limit.spend(4.0, 6.0)
    assert live.limit_requests < 1.0
    limit.refill(1.0)
    assert live.limit_requests >= 1.0
    assert live.limit_tokens < 0.0


def test_without_limits_there_is_no_bucket() -> None:
    """Negative means no limit, whatever is spent."""
    live = Live()
    limit = RateLimit(live, requests_per_minute=None, tokens_per_minute=None, now=0.0)
    limit.spend(1e9, 0.0)
    limit.refill(1.0)
    assert (live.limit_requests, live.limit_tokens) == (-1.0, -1.0)


def test_keys_are_bounded_and_forgotten() -> None:
    """The oldest key leaves when there are too many, all leave with time, and a second claim is refused."""
    keys = IdempotencyKeys(capacity=3, ttl_s=10.0)
    for n in range(5):
        keys.claim(f"k{n}", now=float(n))
    assert len(keys._seen) == 3
    with pytest.raises(AlreadyExists):
        keys.claim("k4", now=5.0)
    keys.claim("k4", now=20.0)
    keys.forget("k4")
    keys.claim("k4", now=20.0)
