"""A program of its own: looks up list prices in the package genai-prices, after fetching its newest data.

    python -P genai_lookup.py        reads one JSON request from stdin, writes one JSON answer to stdout

Request: {"at": UNIX_SECONDS, "timeout_s": N, "url": URL or "", "refresh": BOOL,
          "asked": [[PROVIDER or "", BASE_URL or "", MODEL], ...]}
Answer:  {"refreshed": true or false, "error": "", "version": "0.2.3", "found": [null or {amounts}, ...]}

It is a process because importing and parsing two thousand models would keep a router from its work for a tenth of a
second; here it costs nobody anything. It imports nothing of the router.
"""

from __future__ import annotations

import json
import signal
import sys
from datetime import UTC, datetime
from typing import Any

import genai_prices
import httpx2
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelPrice, TieredPrices
from genai_prices.update_prices import DEFAULT_UPDATE_URL

# What one price of the router may have (router.domain.price_tiers).
MAX_TIERS = 32
# Its name there, and the router's.
AMOUNTS = {
    "input_mtok": "input_usd_per_mtok",
    "cache_read_mtok": "cached_input_usd_per_mtok",
    "cache_write_mtok": "cache_write_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
}
BATCH = {"processing": "batch"}
# Services that callers may ask for, and how that package says so. "default" is the standard one, "fast" another name.
SERVICES: dict[str, dict[str, str]] = {
    "batch": BATCH,
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


def main() -> None:
    request = json.load(sys.stdin)
    # Whoever asked may be gone: this ends by itself.
    signal.alarm(int(request["timeout_s"]) + 2)
    error, fetched = "", None
    try:
        # Half of the time, so that without a network the other half is left for the old data.
        limit = httpx2.Timeout(request["timeout_s"] / 2.0)
        if request["refresh"]:
            fetched = genai_prices.UpdatePrices(url=request["url"] or DEFAULT_UPDATE_URL, request_timeout=limit).fetch()
    except Exception as failure:  # noqa: BLE001 - whatever is wrong with the network or the data, the old data is there
        error = f"{type(failure).__name__}: {failure}"[:200]
    data = fetched or get_snapshot()
    now = datetime.fromtimestamp(request["at"], UTC)
    found = [look_up(data, provider, url, model, now) for provider, url, model in request["asked"]]
    answer = {"refreshed": fetched is not None, "error": error, "version": genai_prices.__version__, "found": found}
    json.dump(answer, sys.stdout)


def look_up(data: DataSnapshot, provider_id: str, url: str, ref: str, now: datetime) -> dict[str, Any] | None:
    """The prices of a model by the list of that time; None where it has none per token."""
    try:
        provider, model = data.find_provider_model(ref, None, provider_id or None, None if provider_id else url)
    except LookupError:
        return None
    prices = model.get_prices(now)
    amounts = {ours: amount for theirs, ours in AMOUNTS.items() if (amount := usd(prices, theirs)) is not None}
    if "input_usd_per_mtok" not in amounts or "output_usd_per_mtok" not in amounts:
        return None
    if (requests := usd(prices, "requests_kcount")) is not None:
        amounts["request_usd"] = requests / 1000.0
    batch = model.get_prices(now, BATCH)
    tiers = [tier | {"service": "", "above_tokens": above} for above, tier in rows(prices).items() if above]
    for service, when in SERVICES.items():
        if any(variant.when == when for variant in model.price_variants or ()):
            own = rows(model.get_prices(now, when))
            tiers += [tier | {"service": service, "above_tokens": above} for above, tier in own.items()]
    more = {"batch_discount": discount(prices, batch), "tiers": tiers[:MAX_TIERS]}
    return amounts | more | {"name": f"{provider.id}/{model.id}"}


def rows(prices: ModelPrice) -> dict[int, dict[str, float]]:
    """The amounts by the length of the prompt from which they hold; 0 is any."""
    starts = {0} | {
        tier.start
        for theirs in AMOUNTS
        if isinstance(value := getattr(prices, theirs, None), TieredPrices)
        for tier in value.tiers
    }
    return {
        start: {ours: amount for theirs, ours in AMOUNTS.items() if (amount := usd(prices, theirs, start)) is not None}
        for start in sorted(starts)
    }


def usd(prices: ModelPrice, name: str, start: int = 0) -> float | None:
    """Of a price in tiers by the length of the prompt the one that holds beyond `start` tokens."""
    value = getattr(prices, name, None)
    if isinstance(value, TieredPrices):
        begun = [tier.price for tier in value.tiers if tier.start <= start]
        value = begun[-1] if begun else value.base
    return None if value is None else float(value)


def discount(standard: ModelPrice, batch: ModelPrice) -> float:
    """What a batch saves, of input and of output, whichever is less."""
    saved = [
        1.0 - reduced / full
        for name in ("input_mtok", "output_mtok")
        if (full := usd(standard, name)) and (reduced := usd(batch, name)) is not None
    ]
    return min(1.0, max(0.0, min(saved, default=0.0)))


if __name__ == "__main__":
    main()
