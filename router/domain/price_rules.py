"""The rules that hold within one price, wherever it comes from: a file, an administrator or a feed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from router.domain.price_tiers import MAX_TIERS, tier_faults
from router.domain.pricing import DAY_MINUTES, MAX_WINDOWS, Price, Window, known_zone

AMOUNTS = (
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
    "request_usd",
    "usd_per_hour",
)
PER_TOKEN = AMOUNTS[:4]


def contradictions(price: Price) -> Iterator[tuple[str, str]]:
    """The rules between the fields of one price that it breaks, each as (field or "", what is wrong)."""
    if not price.known:
        yield "", "needs one of usd_per_hour, output_usd_per_mtok and request_usd"
    if price.usd_per_hour is not None and any(getattr(price, name) is not None for name in PER_TOKEN):
        yield "usd_per_hour", "a price is per hour or per token, not both"
    elif (price.input_usd_per_mtok is None) != (price.output_usd_per_mtok is None):
        yield "", "input_usd_per_mtok and output_usd_per_mtok go together"
    if price.effective_at is not None and price.expires_at is not None and price.expires_at <= price.effective_at:
        yield "expires_at", "must be after effective_at"
    if len(price.schedule) > MAX_WINDOWS:
        yield "schedule", f"must have at most {MAX_WINDOWS} windows, not {len(price.schedule)}"
    if price.tiers and price.input_usd_per_mtok is None:
        yield "tiers", "are of prices per token: they need input_usd_per_mtok and output_usd_per_mtok"
    if len(price.tiers) > MAX_TIERS:
        yield "tiers", f"must have at most {MAX_TIERS} rows, not {len(price.tiers)}"
    seen: dict[tuple[str, int], int] = {}
    for index, tier in enumerate(price.tiers[:MAX_TIERS]):
        for field, what in tier_faults(tier):
            yield f"tiers[{index}].{field}" if field else f"tiers[{index}]", what
        if (first := seen.setdefault(tier.key, index)) != index:
            yield f"tiers[{index}]", f"the same service and above_tokens as tiers[{first}]"
    for name in ("preemptions_per_hour", "restart_usd"):
        amount = getattr(price, name)
        if not math.isfinite(amount) or amount < 0.0:
            yield name, "must be a finite number, 0 or more"
    for index, window in enumerate(price.schedule[:MAX_WINDOWS]):
        for field, what in _window(window):
            yield f"schedule[{index}].{field}", what


def _window(window: Window) -> Iterator[tuple[str, str]]:
    if not 0 <= window.start_minute < DAY_MINUTES:
        yield "start_minute", "must be within the day"
    if not 0 <= window.end_minute <= DAY_MINUTES:
        yield "end_minute", "must be within the day"
    if window.start_minute == window.end_minute:
        yield "end_minute", "must differ from the start; the whole day is 00:00 to 24:00"
    if not math.isfinite(window.factor) or window.factor <= 0.0:
        yield "factor", "must be a finite number greater than 0"
    if len(set(window.days)) != len(window.days) or any(not 0 <= day <= 6 for day in window.days):
        yield "days", "must be days of the week, each once"
    if known_zone(window.zone) is None:
        yield "zone", f"unknown time zone {window.zone[:40]!r}"
