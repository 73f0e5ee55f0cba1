"""What a backend costs: prices from several sources, each with its time, and the one that holds now."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from enum import IntEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from router.domain.price_tiers import PriceTier

DAY_MINUTES = 24 * 60
# What one document may hold: everything that is read by every replica has a bound.
MAX_PRICES = 64
MAX_WINDOWS = 32
_OFFSET = re.compile(r"[+-]([01]\d|2[0-3]):([0-5]\d)")


class Source(IntEnum):
    """Where a price comes from. Of prices that hold at one time the greatest source wins: operators last."""

    CATALOGUE = 1
    CONFIG = 2
    FEED = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of day at which the price is multiplied, in minutes of the wall clock of `zone`.

    It is open from `start_minute` until before `end_minute`; an end before the start is on the next day. `days`: 0 is
    Monday, of the day on which the window begins; empty is every day. The wall clock decides also on the days on which
    it is put forward or back: an hour that comes twice counts twice, one that is left out does not come.
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
    `elastic_fraction` is the share of `usd_per_hour` that more traffic adds (DECISION 2.4, xi). Capacity that may be
    taken away has `preemptions_per_hour`; what each costs beyond doing the request again is `restart_usd`.
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
    tiers: tuple[PriceTier, ...] = ()
    preemptions_per_hour: float = 0.0
    restart_usd: float = 0.0
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
        return _begins(self) <= unix < (math.inf if self.expires_at is None else self.expires_at)

    def factor_at(self, unix: float) -> float:
        """What the schedule makes of the price at this time of day."""
        return math.prod(window.factor for window in self.schedule if within(window, unix))

    def scaled(self, factor: float) -> Price:
        """The same price, every charge multiplied; electricity and restarts have their own and stay."""
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
            tiers=tuple(tier.scaled(factor) for tier in self.tiers),
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
        return price if price is None else price.scaled(price.factor_at(unix))

    def next_change(self, unix: float) -> float:
        """Unix time after `unix` until before which `at` answers the same; infinite when nothing is to come.

        It may answer the same at that time too: a window that is shut on that day, or an outranked price.
        """
        times = [t for p in self.prices for t in (p.effective_at, p.expires_at) if t is not None and t > unix]
        current = self.listed_at(unix)
        if current is not None:
            times += [_next_edge(window, math.floor(unix)) for window in current.schedule]
        return min(times, default=math.inf)

    def with_price(self, price: Price, *, now: float) -> PriceBook:
        """The book with one more price; what it replaces, and what nobody can be charged any more, is left out.

        A price without a beginning takes the place of all of its source that have begun.
        """
        price = dated(price, now=now)
        kept = [p for p in self.prices if _slot(p) != _slot(price)]
        if price.effective_at is None:
            kept = [p for p in kept if _origin(p) != _origin(price) or _begins(p) > now]
        prices = [*kept, replace(price, version=0)]
        return replace(self, prices=tuple(sorted(_pruned(prices, now), key=_order)))

    def without(self, source_kind: Source, *, feed: str = "") -> PriceBook:
        """The book without the prices of one source."""
        kept = (p for p in self.prices if not (p.source_kind is source_kind and feed in {"", p.feed}))
        return replace(self, prices=tuple(kept))


def dated(price: Price, *, now: float) -> Price:
    """A price that has an end but no beginning begins now, so that what was before comes back."""
    if price.effective_at is None and price.expires_at is not None:
        return replace(price, effective_at=now)
    return price


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
    """True while the window is open at this time; never in a zone that is not known here."""
    return _within(window, math.floor(unix))


# Thousands of backends share a few windows, and are looked at in the same second.
@lru_cache(maxsize=256)
def _within(window: Window, second: int) -> bool:
    zone = known_zone(window.zone)
    if zone is None:
        return False
    local = datetime.fromtimestamp(second, zone)
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    start, end = window.start_minute, window.end_minute
    if start <= end:
        return start <= minute < end and _on(window, today)
    return (minute >= start and _on(window, today)) or (minute < end and _on(window, yesterday))


@lru_cache(maxsize=64)
def known_zone(name: str) -> tzinfo | None:
    """The zone of a name: "UTC", an offset such as "+05:30", or a name of the IANA data base; None for no such zone."""
    if name == "UTC":
        return UTC
    if found := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(found[1]), minutes=int(found[2]))
        return timezone(-offset if name[0] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None


def usd_per_mtok_blended(price: Price) -> float | None:
    """What a million tokens cost, for display: three of input to one of output. None for what is not per token."""
    if price.input_usd_per_mtok is None or price.output_usd_per_mtok is None:
        return None
    return (3.0 * price.input_usd_per_mtok + price.output_usd_per_mtok) / 4.0


def _on(window: Window, day: int) -> bool:
    return not window.days or day in window.days


@lru_cache(maxsize=256)
def _next_edge(window: Window, second: int) -> float:
    """Unix time at which the window may open or close next: one of its ends, or a change of the wall clock."""
    zone = known_zone(window.zone)
    if zone is None:
        return math.inf
    midnight = datetime.combine(datetime.fromtimestamp(second, zone), time(), zone)
    # A local time may come twice, or not at all and then stands for two near ones: both readings are looked at.
    moments = (
        (midnight + timedelta(days=ahead, minutes=minute)).replace(fold=fold).timestamp()
        for ahead in (0, 1, 2)
        for minute in (window.start_minute, window.end_minute)
        for fold in (0, 1)
    )
    # Ends are whole seconds, so none lies between this second and any time within it.
    edge = min(moment for moment in moments if moment > second)
    return _clock_change(zone, second, edge)


def _clock_change(zone: tzinfo, after: int, until: float) -> float:
    """The second in (after, until] from which the wall clock differs from UTC by something else; `until` if none."""
    offset = _offset(zone, after)
    low, high = after, math.ceil(until)
    if _offset(zone, high) == offset:
        return until
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return min(until, float(high))


def _offset(zone: tzinfo, second: int) -> timedelta | None:
    return datetime.fromtimestamp(second, zone).utcoffset()


def _begins(price: Price) -> float:
    return -math.inf if price.effective_at is None else price.effective_at


def _precedence(price: Price) -> tuple[int, float]:
    return int(price.source_kind), _begins(price)


def _origin(price: Price) -> tuple[int, str]:
    return int(price.source_kind), price.feed


def _slot(price: Price) -> tuple[int, str, float | None]:
    return int(price.source_kind), price.feed, price.effective_at


def _order(price: Price) -> tuple[int, str, float]:
    return int(price.source_kind), price.feed, _begins(price)


def _pruned(prices: list[Price], now: float) -> Iterator[Price]:
    """Without what has expired, and without what a later price of the same source has replaced for good."""
    for price in prices:
        if price.expires_at is not None and price.expires_at <= now:
            continue
        replaced = any(
            _origin(other) == _origin(price) and other.expires_at is None and _begins(price) < _begins(other) <= now
            for other in prices
        )
        if not replaced:
            yield price
