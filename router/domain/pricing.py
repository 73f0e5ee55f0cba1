"""What a backend costs: prices from several sources, each with its time, and the one that holds now."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_MINUTES = 24 * 60
HORIZON_S = 8 * 86_400.0


class Source(IntEnum):
    """Where a price comes from. Of prices that hold at one time the greatest source wins: operators last."""

    CATALOGUE = 1
    CONFIG = 2
    FEED = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of day at which the price is multiplied, in minutes from midnight of `zone`; `end` may be past midnight.

    `days`: 0 is Monday, of the day on which the window begins; empty is every day.
    """

    start_minute: int
    end_minute: int
    factor: float
    days: tuple[int, ...] = ()
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Either per token (hosted) or per hour of a replica (owned or rented). Dollars; times are Unix seconds.

    None is "not charged this way"; a backend without any price has an unknown price, which is not zero.
    `elastic_fraction` is the share of `usd_per_hour` that more traffic adds (DECISION 2.4, xi).
    `source` says in words where the figure comes from; `feed` names the feed that wrote it. `checked_at` is when the
    source last confirmed it, `changed_at` when it was written here; `held` says why a newer quote was not believed.
    """

    backend: str
    model: str = ""
    input_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    request_usd: float | None = None
    usd_per_hour: float | None = None
    elastic_fraction: float = 1.0
    electricity_usd_per_kwh: float = 0.12
    batch_discount: float = 0.0
    source: str = "config"
    source_kind: Source = Source.CONFIG
    feed: str = ""
    spot: bool = False
    schedule: tuple[Window, ...] = ()
    effective_at: float | None = None
    expires_at: float | None = None
    checked_at: float | None = None
    held: str = ""
    version: int = 0
    changed_at: float = 0.0

    @property
    def known(self) -> bool:
        return self.usd_per_hour is not None or self.output_usd_per_mtok is not None or self.request_usd is not None

    def holds(self, unix: float) -> bool:
        """True from `effective_at` until before `expires_at`."""
        begins = -math.inf if self.effective_at is None else self.effective_at
        ends = math.inf if self.expires_at is None else self.expires_at
        return begins <= unix < ends

    def scaled(self, factor: float) -> Price:
        """The same price, every charge multiplied; electricity has its own tariff and stays."""
        if factor == 1.0:
            return self

        def times(amount: float | None) -> float | None:
            return None if amount is None else amount * factor

        return replace(
            self,
            input_usd_per_mtok=times(self.input_usd_per_mtok),
            cached_input_usd_per_mtok=times(self.cached_input_usd_per_mtok),
            cache_write_usd_per_mtok=times(self.cache_write_usd_per_mtok),
            output_usd_per_mtok=times(self.output_usd_per_mtok),
            request_usd=times(self.request_usd),
            usd_per_hour=times(self.usd_per_hour),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """All prices of one backend, or of one model on it (`model` "": every model): the document that is stored.

    At most one price for each (source_kind, feed, effective_at).
    """

    backend: str
    model: str = ""
    prices: tuple[Price, ...] = ()
    version: int = 0
    changed_at: float = 0.0

    def listed_at(self, unix: float) -> Price | None:
        """The price that holds: of the greatest source, the one that began last. Its schedule is not applied."""
        holding = [price for price in self.prices if price.holds(unix)]
        return max(holding, key=_precedence, default=None)

    def at(self, unix: float) -> Price | None:
        """The price that holds, as it is at this time of day."""
        price = self.listed_at(unix)
        if price is None or not price.schedule:
            return price
        return price.scaled(math.prod(w.factor for w in price.schedule if within(w, unix)))

    def next_change(self, unix: float) -> float:
        """Unix time after `unix` at which `at` may answer differently; infinite when nothing is to come.

        Answers within a week's horizon are exact; a schedule that has nothing to say so far ahead answers its end.
        """
        times = [t for p in self.prices for t in (p.effective_at, p.expires_at) if t is not None and t > unix]
        current = self.listed_at(unix)
        if current is not None:
            times += [t for window in current.schedule for t in _edges(window, unix)]
        return min(times, default=math.inf)

    def with_price(self, price: Price, *, now: float) -> PriceBook:
        """The book with one more price; what it replaces, and what nobody can be charged any more, is left out."""
        kept = [p for p in self.prices if _slot(p) != _slot(price)]
        prices = [*kept, replace(price, version=0)]
        return replace(self, prices=tuple(sorted(_pruned(prices, now), key=_order)))

    def without(self, source_kind: Source, *, feed: str = "") -> PriceBook:
        """The book without the prices of one source."""
        kept = (p for p in self.prices if not (p.source_kind is source_kind and feed in {"", p.feed}))
        return replace(self, prices=tuple(kept))


def book_of(price: Price) -> PriceBook:
    """A book with this price alone."""
    return PriceBook(backend=price.backend, model=price.model, prices=(price,))


def books(prices: Iterable[Price]) -> tuple[PriceBook, ...]:
    """One book for each (backend, model), in the order in which they first come."""
    found: dict[tuple[str, str], list[Price]] = {}
    for price in prices:
        found.setdefault((price.backend, price.model), []).append(price)
    return tuple(
        PriceBook(backend=backend, model=model, prices=tuple(sorted(listed, key=_order)))
        for (backend, model), listed in found.items()
    )


def within(window: Window, unix: float) -> bool:
    """True while the window is open at this time."""
    local = datetime.fromtimestamp(unix, _zone(window.zone))
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    start, end = window.start_minute, window.end_minute
    if start <= end:
        return start <= minute < end and _on(window, today)
    return (minute >= start and _on(window, today)) or (minute < end and _on(window, yesterday))


def _on(window: Window, day: int) -> bool:
    return not window.days or day in window.days


def _edges(window: Window, unix: float) -> Iterator[float]:
    """Openings and closings of a window in the next days, soon ones first."""
    zone = _zone(window.zone)
    today = datetime.fromtimestamp(unix, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for ahead in range(-1, 9):
        day = today + timedelta(days=ahead)
        for minute in {window.start_minute, window.end_minute}:
            moment = (day + timedelta(minutes=minute)).timestamp()
            if moment > unix:
                yield moment


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    if name.startswith(("+", "-")):
        hours, _, minutes = name[1:].partition(":")
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return timezone(-offset if name[0] == "-" else offset)
    return ZoneInfo(name)


def _precedence(price: Price) -> tuple[int, float]:
    return int(price.source_kind), -math.inf if price.effective_at is None else price.effective_at


def _slot(price: Price) -> tuple[int, str, float | None]:
    return int(price.source_kind), price.feed, price.effective_at


def _order(price: Price) -> tuple[int, str, float]:
    return int(price.source_kind), price.feed, -math.inf if price.effective_at is None else price.effective_at


def _pruned(prices: list[Price], now: float) -> Iterator[Price]:
    """Without what has expired, and without what a later price of the same source has replaced for good."""
    for price in prices:
        if price.expires_at is not None and price.expires_at <= now:
            continue
        begins = -math.inf if price.effective_at is None else price.effective_at
        replaced = any(
            other is not price
            and (other.source_kind, other.feed) == (price.source_kind, price.feed)
            and other.expires_at is None
            and other.effective_at is not None
            and begins < other.effective_at <= now
            for other in prices
        )
        if not replaced:
            yield price
