"""What only a running fleet knows, and a file that is applied does not take away: keys, and prices of other sources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from router.domain.pricing import Price, PriceBook, Source, books
from router.domain.tenant import ApiKey, Tenant


def with_prices(book: PriceBook, prices: Iterable[Price], now: float) -> PriceBook:
    """The book with the prices of the configuration replaced, and no others; the same object when they are the same."""
    listed = list(prices)
    if _current(configured(book), now) == _current(listed, now):
        return book
    made = next(iter(books([*book.without(Source.CONFIG).prices, *listed])), None)
    return replace(book, prices=() if made is None else made.prices)


def configured(book: PriceBook) -> list[Price]:
    return [price for price in book.prices if price.source_kind is Source.CONFIG]


def with_keys(known: Tenant, tenant: Tenant) -> tuple[ApiKey, ...]:
    """The keys that the tenant has, and those of its file that are new; one that was revoked stays revoked."""
    ours = {key.id: key for key in known.keys}
    named = {key.id: key for key in tenant.keys}
    same = {key_id for key_id, key in named.items() if key_id in ours and ours[key_id].sha256 == key.sha256}
    kept = tuple(key for key_id, key in ours.items() if key_id not in named or key_id in same)
    return kept + tuple(key for key_id, key in named.items() if key_id not in same)


def _current(prices: Iterable[Price], now: float) -> list[Price]:
    """What is left of prices of one source when those that are over, and can never hold again, are left out.

    Writing a price to a book does the same, so that the passing of time alone makes no difference.
    """
    left = [replace(price, version=0, changed_at=0.0) for price in prices]
    left = [price for price in left if price.expires_at is None or price.expires_at > now]
    endless = [price.effective_at for price in left if price.expires_at is None and price.effective_at is not None]
    latest = max((begins for begins in endless if begins <= now), default=None)
    if latest is not None:
        left = [price for price in left if price.effective_at is not None and price.effective_at >= latest]
    return sorted(left, key=lambda price: price.effective_at or 0.0)
