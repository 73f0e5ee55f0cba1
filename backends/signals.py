"""What an answer's headers say of the limits and the load of who sent it.

Every vendor has its own names for "so much is left until then"; they are data (`LimitHeaders`). Of several windows of
the same thing (a minute, a day) the one that is used up most counts, since it is the one that will refuse.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from backends.contract import Headroom, LoadReport, Signals, TokensOf, Window
from backends.counts import header_number
from backends.failures.retry_hints import reset_s

ORCA_REQUEST = (b"endpoint-load-metrics-format", b"JSON")
ORCA_ANSWER = "endpoint-load-metrics"
_ORCA_NAMES = {
    "kv_cache_usage_perc": "kv_cache_usage",
    "num_requests_waiting": "waiting",
    "num_requests_running": "running",
}
_TEXT_PAIR = re.compile(r"([\w.]+)\s*=\s*([-+.\deE]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitHeaders:
    """Names of the headers of one window of one limit, in lower case.

    Attributes:
        what: is counted in it.
        limit, remaining, reset: "header", or "header;parameter" for a parameter of a structured one (`"api";r=9;t=2`).
        window_s: how long the window is, for a vendor that does not say when it ends.
        counts: whose tokens, where those of prompts and of answers have limits of their own.
    """

    what: Literal["requests", "tokens"]
    limit: str = ""
    remaining: str = ""
    reset: str = ""
    window_s: float | None = None
    counts: TokensOf = "all"


def read_signals(
    headers: Mapping[str, str], limits: tuple[LimitHeaders, ...], *, now: Callable[[], float] = time.time
) -> Signals | None:
    """What the headers say, None if nothing. Names are looked up in lower case; `now` is Unix time."""
    headroom = _headroom(headers, limits, now) if limits else None
    load = read_orca(headers[ORCA_ANSWER]) if ORCA_ANSWER in headers else None
    return Signals(headroom=headroom, load=load) if headroom is not None or load is not None else None


def _headroom(
    headers: Mapping[str, str], limits: tuple[LimitHeaders, ...], now: Callable[[], float]
) -> Headroom | None:
    tightest: dict[str, Window] = {}
    for names in limits:
        remaining = header_number(_value(headers, names.remaining))
        limit = header_number(_value(headers, names.limit))
        if limit is not None and limit <= 0:
            limit = None
        if remaining is None or (remaining < 0 and limit is None):
            continue  # -1 of -1 is how some say that there is no such limit
        reset = _value(headers, names.reset)
        window = Window(
            remaining=max(0.0, remaining),
            limit=limit,
            reset_s=reset_s(reset, now()) if reset is not None else names.window_s,
            counts=names.counts,
        )
        other = tightest.get(names.what)
        if other is None or _share(window) < _share(other):
            tightest[names.what] = window
    return Headroom(requests=tightest.get("requests"), tokens=tightest.get("tokens")) if tightest else None


def _value(headers: Mapping[str, str], name: str) -> str | None:
    """A header, or one parameter of it; of several values in one header the first counts."""
    name, _, parameter = name.partition(";")
    value = headers.get(name)
    if value is None or not parameter:
        return value
    found = re.search(rf";\s*{parameter}=([^;,\s]+)", value.partition(",")[0])
    return found[1] if found else None


def _share(window: Window) -> float:
    return window.remaining / window.limit if window.limit else window.remaining


def read_orca(value: str) -> LoadReport | None:
    """An ORCA load report in its TEXT or JSON form; None where it says nothing that is used here."""
    kind, _, rest = value.strip().partition(" ")
    found: dict[str, float] = {}
    if kind == "JSON":
        try:
            report = msgspec.json.decode(rest.encode(), type=dict[str, object])
        except msgspec.DecodeError:
            return None
        named = report.get("named_metrics")
        pairs = named.items() if isinstance(named, dict) else ()
        found = {str(name): float(number) for name, number in pairs if isinstance(number, int | float)}
    elif kind == "TEXT":
        for name, number in _TEXT_PAIR.findall(rest):
            if (amount := header_number(number)) is not None:
                found[name.removeprefix("named_metrics.")] = amount
    known = {_ORCA_NAMES[name]: amount for name, amount in found.items() if name in _ORCA_NAMES}
    if not known:
        return None
    running, waiting = known.get("running"), known.get("waiting")
    return LoadReport(
        healthy=True,
        running=None if running is None else round(running),
        waiting=None if waiting is None else round(waiting),
        kv_cache_usage=known.get("kv_cache_usage"),
    )
