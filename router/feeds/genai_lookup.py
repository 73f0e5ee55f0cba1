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

# Its name there, and the router's.
AMOUNTS = {
    "input_mtok": "input_usd_per_mtok",
    "cache_read_mtok": "cached_input_usd_per_mtok",
    "cache_write_mtok": "cache_write_usd_per_mtok",
    "output_mtok": "output_usd_per_mtok",
}
BATCH = {"processing": "batch"}


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
    return amounts | {"batch_discount": discount(prices, batch), "name": f"{provider.id}/{model.id}"}


def usd(prices: ModelPrice, name: str) -> float | None:
    """Of a price in tiers by the length of the input the first: the router's requests are short in most cases."""
    value = getattr(prices, name, None)
    if isinstance(value, TieredPrices):
        value = value.base
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
