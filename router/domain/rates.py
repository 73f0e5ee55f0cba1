"""What a token costs, resolved: a price with its tiers as plain numbers. It compiles to native code unchanged."""

from __future__ import annotations

from typing import Final

from router.domain.price_tiers import BATCH, PriceTier
from router.domain.pricing import Price

USD_PER_TOKEN: Final = 1e-6
SECONDS_PER_HOUR: Final = 3600.0
JOULES_PER_KWH: Final = 3.6e6
# A token for less is for nothing, and nothing has a proportion to it.
NOTHING_USD: Final = 1e-15


class Rate:
    """Dollars per token, for prompts of more than `above_tokens`."""

    def __init__(
        self,
        *,
        above_tokens: float,
        input_usd: float,
        cached_usd: float,
        cache_write_usd: float,
        output_usd: float,
    ) -> None:
        self.above_tokens = above_tokens
        self.input_usd = input_usd
        self.cached_usd = cached_usd
        self.cache_write_usd = cache_write_usd
        self.output_usd = output_usd

    def scaled(self, factor: float) -> Rate:
        return Rate(
            above_tokens=self.above_tokens,
            input_usd=self.input_usd * factor,
            cached_usd=self.cached_usd * factor,
            cache_write_usd=self.cache_write_usd * factor,
            output_usd=self.output_usd * factor,
        )


def base_rate(price: Price | None) -> Rate:
    """The standard row of a price; cached and written tokens cost as input where it says nothing of them."""
    if price is None:
        return Rate(above_tokens=0.0, input_usd=0.0, cached_usd=0.0, cache_write_usd=0.0, output_usd=0.0)
    fresh = price.input_usd_per_mtok or 0.0
    cached = price.cached_input_usd_per_mtok
    written = price.cache_write_usd_per_mtok
    return Rate(
        above_tokens=0.0,
        input_usd=fresh * USD_PER_TOKEN,
        cached_usd=(fresh if cached is None else cached) * USD_PER_TOKEN,
        cache_write_usd=(fresh if written is None else written) * USD_PER_TOKEN,
        output_usd=(price.output_usd_per_mtok or 0.0) * USD_PER_TOKEN,
    )


def rates_of(price: Price | None) -> dict[str, list[Rate]]:
    """The rows of each service, those of the longest prompts first; the standard service is ""."""
    base = base_rate(price)
    tables: dict[str, list[Rate]] = {"": [base]}
    if price is None:
        return tables
    if price.tiers:
        lengths = sorted({0, *(tier.above_tokens for tier in price.tiers)}, reverse=True)
        by_length = {length: _row(price.tiers, "", length, base) for length in lengths}
        tables[""] = [by_length[length] for length in lengths]
        for service in {tier.service for tier in price.tiers} - {""}:
            tables[service] = [_row(price.tiers, service, length, by_length[length]) for length in lengths]
    if price.batch_discount > 0.0 and BATCH not in tables:
        tables[BATCH] = [rate.scaled(1.0 - price.batch_discount) for rate in tables[""]]
    return tables


def _row(tiers: tuple[PriceTier, ...], service: str, length: int, standard: Rate) -> Rate:
    """The row of a service at a length: its last tier that begins no later, else the standard row."""
    found: PriceTier | None = None
    for tier in tiers:
        if tier.service == service and tier.above_tokens <= length:  # noqa: SIM102 - mypyc narrows one at a time
            if found is None or tier.above_tokens >= found.above_tokens:
                found = tier
    if found is None:
        rate = standard.scaled(1.0)
        rate.above_tokens = float(length)
        return rate
    factor = found.factor
    rate = standard.scaled(factor)
    rate.above_tokens = float(length)
    if found.input_usd_per_mtok is not None:
        rate.input_usd = found.input_usd_per_mtok * USD_PER_TOKEN
        if standard.input_usd > NOTHING_USD:
            rate.cached_usd = rate.input_usd * (standard.cached_usd / standard.input_usd)
            rate.cache_write_usd = rate.input_usd * (standard.cache_write_usd / standard.input_usd)
    if found.cached_input_usd_per_mtok is not None:
        rate.cached_usd = found.cached_input_usd_per_mtok * USD_PER_TOKEN
    if found.cache_write_usd_per_mtok is not None:
        rate.cache_write_usd = found.cache_write_usd_per_mtok * USD_PER_TOKEN
    if found.output_usd_per_mtok is not None:
        rate.output_usd = found.output_usd_per_mtok * USD_PER_TOKEN
    return rate
