"""What headers say of limits and load: each vendor's names, every form of a reset, and what is not there."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Headroom, LoadReport, Window
from backends.openai.profiles import PROFILES
from backends.signals import read_orca, read_signals

NOW = 1_790_000_000.0


def headroom(profile: str, headers: dict[str, str]) -> Headroom | None:
    signals = read_signals(headers, PROFILES[profile].limits, now=lambda: NOW)
    return signals.headroom if signals is not None else None


def triple(name: str, limit: str, remaining: str, reset: str | None = None) -> dict[str, str]:
    values = {"limit": limit, "remaining": remaining} | ({"reset": reset} if reset is not None else {})
    return {f"x-ratelimit-{what}{name}": value for what, value in values.items()}


@pytest.mark.parametrize(
    ("profile", "headers", "said"),
    [
        (
            "openai",
            triple("-requests", "10000", "9999", "12ms") | triple("-tokens", "200000", "199992", "1m12s"),
            Headroom(
                requests=Window(remaining=9999, limit=10000, reset_s=0.012),
                tokens=Window(remaining=199992, limit=200000, reset_s=72),
            ),
        ),
        (
            "openai",
            triple("-tokens", "1000", "900", "1s") | triple("-project-tokens", "500", "50", "2s"),
            Headroom(tokens=Window(remaining=50, limit=500, reset_s=2)),
        ),
        (
            "azure",
            triple("-requests", "250", "249", "1") | {"x-ratelimit-renewalperiod-requests": "60"},
            Headroom(requests=Window(remaining=249, limit=250, reset_s=1)),
        ),
        (
            "groq",  # requests of a day, tokens of a minute
            triple("-requests", "14400", "14370", "2m59.56s") | triple("-tokens", "18000", "17997", "7.66s"),
            Headroom(
                requests=Window(remaining=14370, limit=14400, reset_s=179.56),
                tokens=Window(remaining=17997, limit=18000, reset_s=7.66),
            ),
        ),
        (
            "cerebras",  # the day is nearly used up, the minute is not
            triple("-requests-minute", "30", "29", "11.24")
            | triple("-requests-day", "14400", "3", "33011.38")
            | triple("-tokens-hour", "1000", "500", "60.5"),
            Headroom(
                requests=Window(remaining=3, limit=14400, reset_s=33011.38),
                tokens=Window(remaining=500, limit=1000, reset_s=60.5),
            ),
        ),
        (
            "mistral",
            triple("-req-minute", "100", "96") | triple("-tokens-minute", "100000", "99867"),
            Headroom(
                requests=Window(remaining=96, limit=100, reset_s=60),
                tokens=Window(remaining=99867, limit=100000, reset_s=60),
            ),
        ),
        (
            "mistral",
            triple("-req-10-second", "10", "1") | triple("-tokens-month", "1000000", "10"),
            Headroom(
                requests=Window(remaining=1, limit=10, reset_s=10),
                tokens=Window(remaining=10, limit=1000000, reset_s=2_592_000),
            ),
        ),
        (
            "mistral",
            {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499900", "ratelimitbysize-reset": "7"},
            Headroom(tokens=Window(remaining=499900, limit=500000, reset_s=7)),
        ),
        (
            "mistral",
            {"x-ratelimitbysize-limit-minute": "500000", "x-ratelimitbysize-remaining-minute": "1"},
            Headroom(tokens=Window(remaining=1, limit=500000, reset_s=60)),
        ),
        ("together", triple("", "2", "1", "2"), Headroom(requests=Window(remaining=1, limit=2, reset_s=2))),
        (
            "fireworks",
            triple("-tokens-prompt", "60000", "59000") | triple("-tokens-generated", "6000", "600"),
            Headroom(tokens=Window(remaining=600, limit=6000, counts="output")),
        ),
        ("xai", triple("-requests", "1800", "1799"), Headroom(requests=Window(remaining=1799, limit=1800))),
        (
            "openrouter",
            triple("", "20", "0", str(int((NOW + 30) * 1000))),
            Headroom(requests=Window(remaining=0, limit=20, reset_s=30)),
        ),
        (
            "huggingface",
            {"ratelimit": '"api";r=999;t=295', "ratelimit-policy": '"fixed window";"api";q=1000;w=300'},
            Headroom(requests=Window(remaining=999, limit=1000, reset_s=295)),
        ),
        ("openai", triple("-requests", "-1", "-1"), None),
        ("openai", triple("-requests", "10", "-3"), Headroom(requests=Window(remaining=0, limit=10))),
        ("openai", {"x-ratelimit-limit-requests": "10"}, None),
        ("deepseek", triple("-requests", "10", "9"), None),
        ("vllm", triple("-requests", "10", "9"), None),
    ],
)
def test_what_is_left_by_each_vendors_names(profile: str, headers: dict[str, str], said: Headroom | None) -> None:
    """The tightest window of each kind counts, with its own reset; what nobody says is unknown."""
    assert headroom(profile, headers) == said


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1m12s", 72.0),
        ("17.39s", 17.39),
        ("26ms", 0.026),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("0", 0.0),
        ("59.7", 59.7),
        (str(int(NOW) + 9), 9.0),
        (str((int(NOW) + 9) * 1000), 9.0),
        ("2026-09-21T14:13:29Z", 9.0),
        ("soon", None),
    ],
)
def test_a_reset_in_any_form_is_in_seconds(reset: str, seconds: float | None) -> None:
    """Durations, plain seconds, Unix seconds and milliseconds, and dates."""
    found = headroom("openai", triple("-tokens", "9", "1", reset))
    assert found is not None
    assert found.tokens is not None
    assert found.tokens.reset_s == (None if seconds is None else pytest.approx(seconds))


NAMES = sorted(
    {
        header
        for profile in PROFILES.values()
        for names in profile.limits
        for header in (names.limit, names.remaining, names.reset)
        if ";" not in header
    }
)
VALUES = st.one_of(st.integers().map(str), st.floats().map(str), st.text(max_size=12), st.just("1m12s"))


@given(
    profile=st.sampled_from([name for name, profile in PROFILES.items() if profile.limits]),
    headers=st.dictionaries(st.sampled_from([*NAMES, "ratelimit", "ratelimit-policy"]), VALUES),
)
def test_no_header_is_too_strange(profile: str, headers: dict[str, str]) -> None:
    """Whatever a header holds, what comes out is a number that makes sense, or nothing."""
    found = headroom(profile, headers)
    for window in (found.requests, found.tokens) if found is not None else ():
        if window is not None:
            assert window.remaining >= 0
            assert window.limit is None or window.limit > 0
            assert window.reset_s is None or (window.reset_s >= 0 and math.isfinite(window.reset_s))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0",
            LoadReport(healthy=True, waiting=2, kv_cache_usage=0.4),
        ),
        (
            'JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 2.0, "other": 1}}',
            LoadReport(healthy=True, waiting=2, kv_cache_usage=0.4),
        ),
        ('JSON {"named_metrics": {"num_requests_running": 3}}', LoadReport(healthy=True, running=3)),
        ('JSON {"cpu_utilization": 0.4}', None),
        ("JSON {", None),
        ("TEXT cpu_utilization=0.4", None),
        ("BIN AAAA", None),
        ("", None),
    ],
)
def test_an_orca_report_is_load(value: str, said: LoadReport | None) -> None:
    """In both forms that vLLM writes; a metric that is not there is unknown."""
    assert read_orca(value) == said
    signals = read_signals({"endpoint-load-metrics": value}, ())
    assert (signals.load if signals is not None else None) == said


@given(st.text())
def test_no_orca_report_is_too_strange(rest: str) -> None:
    """Garbage says nothing."""
    for kind in ("TEXT", "JSON"):
        read_orca(f"{kind} {rest}")
