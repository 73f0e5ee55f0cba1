"""Whether a quote is believed. Pure: what it is held against is handed in.

A price decides where traffic goes and what tenants are charged, so a quote that is odd is worse than one that is old.
Nonsense is refused. What may be true but is not likely (ten times the last good price) is held back until an operator
has looked: the last good price stays, and says why the newer one is not believed. What an operator configured is a
reference as well as the feed's own last price, so that many small steps do not lead where one great step may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from router.domain.fleet import Backend
from router.domain.price_feed import FeedSettings
from router.domain.price_rules import AMOUNTS, contradictions
from router.domain.price_tiers import AMOUNTS as TIER_AMOUNTS
from router.domain.pricing import Price, PriceBook, Source
from router.feeds.contract import Quote

# No hardware and no model costs as much; a sentinel such as 999999 does.
MAX_USD = {"usd_per_hour": 100_000.0, "request_usd": 1_000.0}
MAX_USD_PER_MTOK = 100_000.0
# Clocks of others may be this much ahead.
FUTURE_S = 300.0
# Nobody gives these away; a free price is set by hand.
_NOT_ZERO = ("input_usd_per_mtok", "output_usd_per_mtok", "usd_per_hour")


class Belief(Enum):
    """`KEPT`: older than what is known, or confirming it: nothing to change, and nothing wrong."""

    ACCEPTED = "accepted"
    KEPT = "kept"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`price` is there when the quote was accepted; `reason` is "CODE: words" when it was held or refused."""

    belief: Belief
    price: Price | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What a quote is held against. `own`: the feed's last good price; `configured`: that of the operator's files."""

    own: Price | None = None
    configured: Price | None = None

    @property
    def known(self) -> tuple[Price, ...]:
        return tuple(price for price in (self.own, self.configured) if price is not None)


def references(
    prices: Mapping[tuple[str, str], PriceBook], quote: Quote, source_kind: Source, feed: str, now: float
) -> References:
    """What is known of the price that a quote is about."""
    book = prices.get((quote.backend, quote.model))
    listed = book.prices if book is not None else ()
    own = next((price for price in listed if (price.source_kind, price.feed) == (source_kind, feed)), None)
    configured = None
    for key in ((quote.backend, quote.model), (quote.backend, "")):
        other = prices.get(key)
        if configured is None and other is not None:
            configured = PriceBook(
                backend=quote.backend,
                prices=tuple(price for price in other.prices if price.source_kind is Source.CONFIG),
            ).listed_at(now)
    return References(own=own, configured=configured)


def judge(
    quote: Quote,
    known: References,
    settings: FeedSettings,
    backends: Mapping[str, Backend],
    *,
    source_kind: Source,
    now: float,
) -> Verdict:
    """Whether the quote becomes a price."""
    if reason := next(_nonsense(quote, settings, backends, now), ""):
        return Verdict(Belief.REFUSED, reason=reason)
    price = _price(quote, known, settings, source_kind, now)
    own = known.own
    if own is not None and (price.checked_at or 0.0) < (own.checked_at or 0.0):
        return Verdict(Belief.KEPT)
    if reason := next(_misfits(price, known), ""):
        return Verdict(Belief.REFUSED, reason=reason)
    if reason := next(_jumps(price, known, settings.max_jump), ""):
        return Verdict(Belief.HELD, reason=reason)
    if quote.fallback and own is not None and not same(own, price):
        return Verdict(Belief.KEPT)
    return Verdict(Belief.ACCEPTED, price=price)


def same(old: Price, new: Price) -> bool:
    """Whether both charge the same."""
    return (
        all(getattr(old, name) == getattr(new, name) for name in AMOUNTS)
        and (old.batch_discount, old.spot, old.elastic_fraction) == (new.batch_discount, new.spot, new.elastic_fraction)
        and old.electricity_usd_per_kwh == new.electricity_usd_per_kwh
        and (old.tiers, old.preemptions_per_hour, old.restart_usd)
        == (new.tiers, new.preemptions_per_hour, new.restart_usd)
    )


def _nonsense(quote: Quote, settings: FeedSettings, backends: Mapping[str, Backend], now: float) -> Iterator[str]:
    """What is wrong with the quote by itself."""
    if quote.problem:
        yield f"MALFORMED: {quote.problem}"
    backend = backends.get(quote.backend)
    if backend is None:
        yield f"UNKNOWN_BACKEND: {quote.backend[:64]!r}"
    elif settings.backends and quote.backend not in settings.backends:
        yield "NOT_ITS_BACKEND: the feed is not configured to price it"
    elif quote.model and quote.model not in {served.model for served in backend.models}:
        yield f"UNKNOWN_MODEL: the backend does not serve {quote.model[:64]!r}"
    for name in AMOUNTS:
        amount = getattr(quote, name)
        if amount is None:
            continue
        if not math.isfinite(amount):
            yield f"NOT_FINITE: {name}"
        elif amount < 0.0:
            yield f"NEGATIVE: {name} {amount:g}"
        elif amount > MAX_USD.get(name, MAX_USD_PER_MTOK):
            yield f"TOO_LARGE: {name} {amount:g}"
    for tier in quote.tiers or ():
        if any((amount := getattr(tier, name)) is not None and amount > MAX_USD_PER_MTOK for name in TIER_AMOUNTS):
            yield f"TOO_LARGE: tier {tier.service or 'standard'} above {tier.above_tokens} tokens"
    if quote.batch_discount is not None and not 0.0 <= quote.batch_discount <= 1.0:
        yield f"MALFORMED: batch_discount {quote.batch_discount:g}"
    if quote.quoted_at is not None:
        if not math.isfinite(quote.quoted_at) or quote.quoted_at > now + FUTURE_S:
            yield "FUTURE: it is dated later than now"
        elif now - quote.quoted_at > settings.max_age_s:
            yield f"STALE: it is {now - quote.quoted_at:.0f} s old, at most {settings.max_age_s:.0f} s are allowed"


def _price(quote: Quote, known: References, settings: FeedSettings, source_kind: Source, now: float) -> Price:
    """The price that the quote would be. What a feed cannot know is as the operator configured it."""
    base = known.configured or known.own or Price(backend="")
    return Price(
        backend=quote.backend,
        model=quote.model,
        **{name: getattr(quote, name) for name in AMOUNTS},
        elastic_fraction=base.elastic_fraction,
        electricity_usd_per_kwh=base.electricity_usd_per_kwh,
        batch_discount=base.batch_discount if quote.batch_discount is None else quote.batch_discount,
        source=quote.source or f"feed {settings.name}",
        source_kind=source_kind,
        feed=settings.name,
        spot=quote.spot,
        tiers=base.tiers if quote.tiers is None else quote.tiers,
        preemptions_per_hour=base.preemptions_per_hour,
        restart_usd=base.restart_usd,
        checked_at=now if quote.quoted_at is None else min(now, quote.quoted_at),
    )


def _misfits(price: Price, known: References) -> Iterator[str]:
    """What is wrong with the quote as a price of this backend."""
    for field, what in contradictions(price):
        yield f"CONTRADICTION: {field}: {what}" if field else f"CONTRADICTION: {what}"
    for reference in known.known:
        if (reference.usd_per_hour is None) != (price.usd_per_hour is None):
            yield "UNIT: per hour where it is per token, or the other way round"
    for name in _NOT_ZERO:
        if getattr(price, name) == 0.0 and all(getattr(reference, name) != 0.0 for reference in known.known):
            yield f"ZERO: {name} is free of charge; a free price is set by hand"


def _jumps(price: Price, known: References, limit: float) -> Iterator[str]:
    for reference in known.known:
        whose = "the last good" if reference is known.own else "the configured"
        rows = {tier.key: tier for tier in reference.tiers}
        amounts = [(name, getattr(reference, name), getattr(price, name)) for name in AMOUNTS]
        for tier in price.tiers:
            if (row := rows.get(tier.key)) is not None:
                where = f" of {tier.service or 'standard'} above {tier.above_tokens} tokens"
                amounts += [(name + where, getattr(row, name), getattr(tier, name)) for name in TIER_AMOUNTS]
        for name, old, new in amounts:
            if old is None or new is None or old == new:
                continue
            ratio = math.inf if old == 0.0 else new / old
            if not 1.0 / limit <= ratio <= limit:
                yield f"JUMP: {name} {new:g} against {whose} {old:g}, more than {limit:g} times as much or as little"
