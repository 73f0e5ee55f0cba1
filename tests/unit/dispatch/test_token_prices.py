"""What tokens have cost over time: sums by the minute and the half hour, bounded, and where a price goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch.token_prices import HALF_HOURS, MINUTES, Spent, TokenPrices
from router.domain.outcome import AttemptOutcome, TokenUsage


def paid(usd: float, *, fed: int = 300, made: int = 100, amortised: float = 0.0, backend: str = "a") -> AttemptOutcome:
    return AttemptOutcome(
        backend=backend,
        model="m",
        result="OK",
        usage=TokenUsage(input=fed, output=made),
        cost_usd=usd,
        cost_amortised_usd=amortised or usd,
    )


def test_dollars_per_million_tokens_are_of_the_mix_that_came() -> None:
    """Two answers of 400 tokens for 0.1 and 0.3 cents come to $5 a million; amortised is told apart."""
    kept = TokenPrices()
    kept.record(paid(0.001, amortised=0.01), 100.0)
    kept.record(paid(0.003, amortised=0.01), 130.0)

    hour = kept.hour("a", 200.0)

    assert (hour.input_tokens, hour.output_tokens) == (600.0, 200.0)
    assert hour.usd_per_mtok == pytest.approx(5.0)
    assert hour.usd_per_mtok_amortised == pytest.approx(25.0)


def test_an_hour_ago_is_over_and_a_day_ago_is_forgotten() -> None:
    """The hour holds what came in it; the history half hours of a day, then minutes, no token twice."""
    kept = TokenPrices()
    for minute in range(26 * 60):
        kept.record(paid(0.001), 60.0 * minute)
    now = 26 * 3600.0 - 1.0

    history = kept.history("a", now)

    assert kept.hour("a", now).tokens == 60 * 400
    assert [point.at for point in history] == sorted({point.at for point in history})
    assert len(history) <= MINUTES + HALF_HOURS
    assert history[-1].at + 60.0 >= now
    assert history[0].at >= now - 25 * 3600.0
    assert sum(point.spent.tokens for point in history) <= 25 * 60 * 400


def test_a_price_that_rises_shows_in_its_trend() -> None:
    """The last quarter of an hour against the three quarters before; nothing to say with one of them empty."""
    kept = TokenPrices()
    assert kept.trend("a", 0.0) is None
    for minute in range(45):
        kept.record(paid(0.001), 60.0 * minute)
    assert kept.trend("a", 44 * 60.0) == pytest.approx(1.0)
    for minute in range(45, 60):
        kept.record(paid(0.0015), 60.0 * minute)

    assert kept.trend("a", 59 * 60.0) == pytest.approx(1.5, rel=0.05)


def test_nothing_is_kept_of_what_had_no_tokens_or_left() -> None:
    """A refused attempt makes no entry, and a removed backend leaves none."""
    kept = TokenPrices()
    kept.record(AttemptOutcome(backend="a", model="m", result="OVERLOADED"), 0.0)
    assert kept.backends == ()
    kept.record(paid(0.001), 0.0)
    kept.forget("a")

    assert (kept.backends, kept.hour("a", 0.0), kept.history("a", 0.0)) == ((), Spent(), ())


@given(st.lists(st.tuples(st.integers(0, 7000), st.integers(1, 10_000), st.floats(0.0, 1.0)), max_size=40))
def test_the_last_hour_is_what_was_recorded_in_it(events: list[tuple[int, int, float]]) -> None:
    """Whatever came when: the sums are those of the minutes of the last hour, to seven digits."""
    kept = TokenPrices()
    for second, made, usd in sorted(events):
        kept.record(paid(usd, fed=0, made=made), float(second))
    now = 7199.0

    within = [(made, usd) for second, made, usd in events if second // 60 > now // 60 - 60]

    hour = kept.hour("a", now)
    assert hour.output_tokens == pytest.approx(sum(made for made, _ in within))
    assert hour.usd == pytest.approx(sum(usd for _, usd in within), rel=1e-5, abs=1e-9)
