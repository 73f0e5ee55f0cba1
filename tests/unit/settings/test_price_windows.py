"""Windows of time in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.price_rules import contradictions
from router.domain.pricing import Price, Window
from router.settings.price_windows import parse_window, window_text

WINDOWS = st.builds(
    Window,
    start_minute=st.integers(0, 1439),
    end_minute=st.integers(0, 1440),
    factor=st.sampled_from([0.25, 0.5, 1.5, 3.0]),
    days=st.frozensets(st.integers(0, 6)).map(lambda days: tuple(sorted(days))),
    zone=st.sampled_from(["UTC", "+05:30", "-03:00", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
).filter(lambda window: window.start_minute != window.end_minute)


@given(WINDOWS)
def test_a_window_is_read_as_it_is_written(window: Window) -> None:
    """Every valid window survives its line."""
    assert parse_window(window_text(window)) == window


@given(st.text("montuewdfri ,-:0123456789x.UTC+", max_size=40))
def test_any_line_is_a_valid_window_or_a_message(text: str) -> None:
    """Whatever is typed, the result keeps the rules of a price, or there is a ValueError and nothing else."""
    try:
        window = parse_window(text)
    except ValueError:
        return
    assert not list(contradictions(Price(backend="a", usd_per_hour=1.0, schedule=(window,))))


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("fri-mon 22:00-06:00 x2", Window(start_minute=1320, end_minute=360, factor=2.0, days=(0, 4, 5, 6))),
        ("00:00-24:00 Asia/Tokyo x0.5", Window(start_minute=0, end_minute=1440, factor=0.5, zone="Asia/Tokyo")),
        ("Sat,sun 08:00-09:00 x1.1", Window(start_minute=480, end_minute=540, factor=1.1, days=(5, 6))),
    ],
)
def test_days_may_be_ranges_and_absent(text: str, window: Window) -> None:
    """A range may go round the week; no days are every day, no zone is UTC."""
    assert parse_window(text) == window
