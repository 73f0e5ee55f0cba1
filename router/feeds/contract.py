"""What a feed of prices is: something that can be asked, now and then, for what it believes things cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from router.domain.price_feed import FeedSettings
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Source


class NothingToAsk(Exception):
    """The fleet has nothing that this feed could price: an answer, and no failure."""


class FeedFailed(Exception):
    """The feed could not be read; the message says why, for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a feed says about one backend, or about one model on it. Nothing in it is believed before `guard` has.

    It is the whole price: what is absent is not charged. Only `batch_discount` and `tiers` None, and what a feed cannot
    know (the share that is elastic, the electricity, how often capacity is taken away), stay as they were.

    Attributes:
        backend: its id.
        model: "" for every model of the backend.
        quoted_at: Unix seconds at which its source made it; None: when it was asked.
        source: where the figure is from, in words.
        problem: what the feed itself found wrong with it; then nothing else counts.
        fallback: from data that is older than what the feed once had: it may confirm a price, or be the first, but
            replaces none.
    """

    backend: str
    model: str = ""
    input_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    request_usd: float | None = None
    usd_per_hour: float | None = None
    batch_discount: float | None = None
    spot: bool = False
    tiers: tuple[PriceTier, ...] | None = None
    quoted_at: float | None = None
    source: str = ""
    problem: str = ""
    fallback: bool = False


class PriceFeed(Protocol):
    """One configured feed."""

    @property
    def settings(self) -> FeedSettings: ...

    @property
    def source_kind(self) -> Source:
        """What its prices are: which others they outrank."""
        ...

    async def fetch(self) -> Sequence[Quote]:
        """What it says now, within the time that its settings allow.

        Raises:
            FeedFailed: nothing could be learnt.
        """
        ...
