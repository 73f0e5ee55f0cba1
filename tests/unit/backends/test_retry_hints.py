"""How long to wait, from each way in which an upstream says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.failures.retry_hints import duration_s, retry_after_s

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "delay", "text", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, None, "", 1.5),
        ({"retry-after": "1", "retry-after-ms": "0"}, None, "", 0.0),
        ({"retry-after": "2.5"}, "7s", "", 2.5),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, None, "", 30.0),
        ({"retry-after": "soon"}, None, "", None),
        ({"retry-after": "-5"}, None, "", 0.0),
        ({}, "17s", "resets in ~30s", 17.0),
        ({"x-ratelimit-reset-tokens": "17.39s"}, None, "", 17.39),
        ({"x-ratelimit-reset-requests": "1m12s"}, None, "", 72.0),
        ({"x-ratelimit-reset-requests": "26ms"}, None, "", 0.026),
        (
            {
                "x-ratelimit-reset-requests": "2h0m0s",
                "x-ratelimit-remaining-requests": "900",
                "x-ratelimit-reset-tokens": "3s",
                "x-ratelimit-remaining-tokens": "0",
            },
            None,
            "",
            3.0,
        ),
        ({"x-ratelimit-reset-requests": "2h0m0s", "x-ratelimit-reset-tokens": "3s"}, None, "", 3.0),
        ({"x-ratelimit-reset-requests-day": "33011.38"}, None, "", 33011.38),
        ({"x-ratelimit-reset": "1800000012"}, None, "", 12.0),
        ({"x-ratelimit-reset": "1800000012000"}, None, "", 12.0),
        ({"anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:09Z"}, None, "", 9.0),
        (
            {
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:01Z",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:40Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
            },
            None,
            "",
            40.0,
        ),
        ({"ratelimit-reset": "30"}, None, "", 30.0),
        ({"x-ratelimit-reset-tokens": "2027-01-15T08:00:09Z"}, None, "", 9.0),
        ({}, None, "request was throttled. your rate limit resets in ~30s.", 30.0),
        ({}, None, "please try again in 7m12.5s. visit us", 432.5),
        ({}, None, "try again in 20 seconds", 20.0),
        ({}, None, "try again in 250ms", 0.25),
        ({}, None, "come back later", None),
    ],
)
def test_the_most_exact_hint_wins(headers: dict[str, str], delay: str | None, text: str, seconds: float | None) -> None:
    """Each form is read, in the order of its exactness."""
    found = retry_after_s(headers, retry_delay=delay, text=text, now=NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=20), st.text(alphabet="0123456789hms.d ", max_size=12))
def test_no_header_breaks_the_reader(odd: str, almost: str) -> None:
    """Nonsense is no hint, and no crash; a hint is never negative."""
    for value in (odd, almost):
        headers = {"retry-after": value, "x-ratelimit-reset-tokens": value, "retry-after-ms": value}
        found = retry_after_s(headers, retry_delay=value, text=f"resets in {value}", now=NOW)
        assert found is None or found >= 0
        assert (duration_s(value) or 0.0) >= 0
