"""Further rows of a price per token: of a service tier ("flex", "priority", "batch"), of long prompts, or of both."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

# What one price may hold: everything that is read by every replica has a bound.
MAX_TIERS = 32
AMOUNTS = (
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
)
# The service that a request of a batch class asks for; its price is where there is one.
BATCH = "batch"
SERVICE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """One more row of a price, for requests of `service` ("": the standard) with prompts of more than `above_tokens`.

    The row holds for the whole request, as vendors have it: not only for the tokens beyond. An amount is in dollars per
    million tokens; an amount that is left out is `factor` times the standard one of that length. Where `input` has an
    amount of its own, cached and written tokens that have none keep their proportion to it.
    """

    service: str = ""
    above_tokens: int = 0
    factor: float = 1.0
    input_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.service, self.above_tokens

    def scaled(self, factor: float) -> PriceTier:
        """The same row with its own amounts multiplied; `factor` is of amounts that are multiplied already."""
        amounts = {name: amount * factor for name in AMOUNTS if (amount := getattr(self, name)) is not None}
        return replace(self, **amounts)


def tier_faults(tier: PriceTier) -> Iterator[tuple[str, str]]:
    """The rules of one row that it breaks, each as (field or "", what is wrong)."""
    if tier.service and not SERVICE.fullmatch(tier.service):
        yield "service", "expected up to 32 of a-z, 0-9, _ and -, a letter first"
    if not tier.service and tier.above_tokens == 0:
        yield "", "needs a service, above_tokens or both: without either it is the price itself"
    if not 0 <= tier.above_tokens <= 1_000_000_000:
        yield "above_tokens", "must be 0 to 1,000,000,000 tokens"
    if not math.isfinite(tier.factor) or tier.factor < 0.0:
        yield "factor", "must be a finite number, 0 or more"
    amounts = {name: amount for name in AMOUNTS if (amount := getattr(tier, name)) is not None}
    for name, amount in amounts.items():
        if not math.isfinite(amount) or amount < 0.0:
            yield name, "must be a finite number, 0 or more"
    if tier.factor == 1.0 and not amounts:
        yield "", "changes nothing: give a factor or amounts"
