"""Rows of a price for service tiers and long prompts: as entries of prices.yaml, and in one line for commands."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field

from router.domain.price_tiers import AMOUNTS, PriceTier, tier_faults
from router.settings import quantity as q
from router.settings.strict import NonNegative, Strict, UsdPerMtok, shown

_TIER = PriceTier()
# In the line of the command: "input=2.5".
SHORT = dict(zip(("input", "cached", "write", "output"), AMOUNTS, strict=True))
_EXAMPLE = "'flex x0.5', '>200000 input=2.5 output=15' or 'priority >200000 x2'"


class TierEntry(Strict):
    """One further row of a price; see `PriceTier`."""

    synonyms: ClassVar = {
        "tier": "service",
        "name": "service",
        "service_tier": "service",
        "above": "above_tokens",
        "input": "input_usd_per_mtok",
        "cached": "cached_input_usd_per_mtok",
        "output": "output_usd_per_mtok",
    }

    service: str = _TIER.service
    above_tokens: Annotated[int, Field(ge=0)] = _TIER.above_tokens
    factor: NonNegative = _TIER.factor
    input_usd_per_mtok: UsdPerMtok | None = None
    cached_input_usd_per_mtok: UsdPerMtok | None = None
    cache_write_usd_per_mtok: UsdPerMtok | None = None
    output_usd_per_mtok: UsdPerMtok | None = None

    def tier(self) -> PriceTier:
        return PriceTier(**self.model_dump())


def parse_tier(text: str) -> PriceTier:
    """A row in one line: "[SERVICE] [>TOKENS] [xFACTOR] [input=$] [cached=$] [write=$] [output=$]".

    Raises:
        ValueError: with a message for whoever wrote it.
    """
    service, above, factor = "", 0, 1.0
    amounts: dict[str, float] = {}
    for position, word in enumerate(text.split()):
        name, is_amount, value = word.partition("=")
        if is_amount and name in SHORT:
            amounts[SHORT[name]] = q.parse_quantity(value, q.USD_PER_MTOK)
        elif re.fullmatch(r">\d{1,9}", word):
            above = int(word[1:])
        elif re.fullmatch(r"x[0-9.]+(e-?\d+)?", word):
            factor = _number(word[1:], text)
        elif position == 0 and not is_amount:
            service = word
        else:
            raise ValueError(f"expected a row such as {_EXAMPLE}, got {shown(text)}")
    tier = PriceTier(service=service, above_tokens=above, factor=factor, **amounts)
    broken = [f"{field}: {what}" if field else what for field, what in tier_faults(tier)]
    if broken:
        raise ValueError(f"{shown(text)}: {broken[0]}")
    return tier


def tier_text(tier: PriceTier) -> str:
    """The line that `parse_tier` takes."""
    words = [tier.service] if tier.service else []
    if tier.above_tokens:
        words.append(f">{tier.above_tokens}")
    if tier.factor != 1.0:
        words.append(f"x{tier.factor!r}".removesuffix(".0"))
    words += [
        f"{short}={amount!r}".removesuffix(".0")
        for short, name in SHORT.items()
        if (amount := getattr(tier, name)) is not None
    ]
    return " ".join(words)


def _number(digits: str, text: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise ValueError(f"expected a factor such as x0.5, got {shown(text)}") from None
