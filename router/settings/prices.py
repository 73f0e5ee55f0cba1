"""prices.yaml: what backends cost when the state store is new, and the feeds that tell of changes.

The admin API changes prices later; feeds are read as long as they are configured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from router.domain.price_feed import FeedSettings
from router.domain.price_rules import contradictions
from router.domain.pricing import MAX_PRICES, Price
from router.settings.price_feeds import FeedEntry, check_feeds
from router.settings.price_tiers import TierEntry
from router.settings.price_windows import YAML_NAMES, WindowEntry
from router.settings.strict import (
    NonNegative,
    Problem,
    Share,
    Strict,
    Usd,
    UsdPerHour,
    UsdPerKwh,
    UsdPerMtok,
    nearest,
    shown,
)
from router.settings.yaml_text import Document

_PRICE = Price(backend="")
_YEAR_10000 = 253_402_300_800.0


def unix_of(value: object) -> float | None:
    """A date or time of YAML (UTC unless it says otherwise), or Unix seconds.

    Raises:
        ValueError: with a message for whoever wrote it.
    """
    if value is None:
        return None
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    elif isinstance(moment, date):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC).timestamp()
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not 0 <= moment < _YEAR_10000:
        raise ValueError(f"expected a date such as 2026-11-01, got {shown(value)}")
    return float(moment)


Moment = Annotated[float | None, BeforeValidator(unix_of)]


class PriceEntry(Strict):
    """One price, of a backend or of one model on it."""

    synonyms: ClassVar = {
        "input": "input_usd_per_mtok",
        "output": "output_usd_per_mtok",
        "cached": "cached_input_usd_per_mtok",
        "hourly": "usd_per_hour",
        "service_tiers": "tiers",
        "context_tiers": "tiers",
    }

    backend: str
    model: str = ""
    input_usd_per_mtok: UsdPerMtok | None = None
    cached_input_usd_per_mtok: UsdPerMtok | None = None
    cache_write_usd_per_mtok: UsdPerMtok | None = None
    output_usd_per_mtok: UsdPerMtok | None = None
    request_usd: Usd | None = None
    usd_per_hour: UsdPerHour | None = None
    elastic_fraction: Share = _PRICE.elastic_fraction
    electricity_usd_per_kwh: UsdPerKwh = _PRICE.electricity_usd_per_kwh
    batch_discount: Share = _PRICE.batch_discount
    source: str = _PRICE.source
    spot: bool = False
    tiers: list[TierEntry] = Field(default_factory=list)
    preemptions_per_hour: NonNegative = _PRICE.preemptions_per_hour
    restart_usd: Usd = _PRICE.restart_usd
    schedule: list[WindowEntry] = Field(default_factory=list)
    effective_at: Moment = None
    expires_at: Moment = None

    def price(self) -> Price:
        windows = tuple(entry.window() for entry in self.schedule)
        tiers = tuple(entry.tier() for entry in self.tiers)
        return Price(**self.model_dump(exclude={"schedule", "tiers"}), schedule=windows, tiers=tiers)


class PricesFile(Strict):
    prices: list[PriceEntry]
    feeds: list[FeedEntry] = Field(default_factory=list)

    def feed_settings(self) -> tuple[FeedSettings, ...]:
        return tuple(entry.settings() for entry in self.feeds)


def build_prices(
    parsed: PricesFile,
    document: Document,
    served: Mapping[str, frozenset[str]],
    problems: list[Problem],
    *,
    file: str = "prices.yaml",
) -> list[Price]:
    """Every price; `served` is the models of every backend that fleet.yaml names, skipped ones too.

    The feeds are checked as well; `parsed.feed_settings()` has them.
    """

    def wrong(path: str, what: str) -> None:
        # A field that a list or a mapping lacks is where the list or the mapping is.
        line, place = 0, path
        while not (line := document.lines.get(place, 0)) and place:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        problems.append(Problem(file, path, what, line))

    prices: list[Price] = []
    seen: dict[tuple[str, str, float | None], int] = {}
    counts: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(parsed.prices):
        path = f"prices[{index}]"
        price = entry.price()
        if entry.backend not in served:
            wrong(f"{path}.backend", f"unknown backend '{entry.backend}'{nearest(entry.backend, served)}")
        elif entry.model and entry.model not in served[entry.backend]:
            near = nearest(entry.model, served[entry.backend])
            wrong(f"{path}.model", f"backend '{entry.backend}' does not serve '{entry.model}'{near}")
        for field, what in contradictions(price):
            owner, dot, name = field.rpartition(".")
            wrong(f"{path}.{owner}{dot}{YAML_NAMES.get(name, name)}" if field else path, what)
        key = (entry.backend, entry.model)
        slot = (*key, entry.effective_at)
        if slot in seen:
            wrong(path, f"the same backend, model and effective_at as prices[{seen[slot]}]")
        seen.setdefault(slot, index)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] == MAX_PRICES + 1:
            wrong(path, f"more than {MAX_PRICES} prices of the same backend and model")
        prices.append(price)
    check_feeds(parsed.feeds, served, wrong)
    return prices
