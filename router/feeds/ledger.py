"""What one answer of a feed changes in the books of prices. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.domain.fleet import Backend
from router.domain.price_feed import FeedSettings
from router.domain.pricing import Price, PriceBook, Source
from router.feeds.contract import Quote
from router.feeds.guard import Belief, judge, references, same

Key = tuple[str, str]
# A price is confirmed in the store when a third of its time is over: often enough, and far from each time.
CONFIRM_SHARE = 1.0 / 3.0


@dataclass(slots=True)
class Entries:
    """What an answer comes to.

    Attributes:
        books: those that are to be written.
        counts: quotes by belief.
        doubts: why quotes of a (backend, model) were held or refused.
    """

    books: list[PriceBook] = field(default_factory=list)
    counts: Counter[Belief] = field(default_factory=Counter)
    doubts: dict[Key, str] = field(default_factory=dict)

    @property
    def confirmed(self) -> int:
        return self.counts[Belief.ACCEPTED]


def enter(
    quotes: Sequence[Quote],
    prices: Mapping[Key, PriceBook],
    backends: Mapping[str, Backend],
    settings: FeedSettings,
    *,
    source_kind: Source,
    now: float,
) -> Entries:
    """The books that the quotes change. The first quote of a (backend, model) counts, a second one is refused."""
    entries = Entries()
    seen: set[Key] = set()
    for quote in quotes:
        key = (quote.backend, quote.model)
        if key in seen:
            entries.counts[Belief.REFUSED] += 1
            entries.doubts[key] = "DUPLICATE: quoted more than once in one answer"
            continue
        seen.add(key)
        known = references(prices, quote, source_kind, settings.name, now)
        verdict = judge(quote, known, settings, backends, source_kind=source_kind, now=now)
        entries.counts[verdict.belief] += 1
        if verdict.reason:
            entries.doubts[key] = verdict.reason
        wanted = verdict.price if verdict.price is not None else _doubted(known.own, verdict.reason)
        if wanted is not None and _worth_writing(known.own, wanted, settings):
            book = prices.get(key) or PriceBook(backend=quote.backend, model=quote.model)
            entries.books.append(book.with_price(wanted, now=now))
    return entries


def _doubted(own: Price | None, reason: str) -> Price | None:
    """The last good price, saying why a newer quote is not believed."""
    return replace(own, held=reason) if own is not None and reason else None


def _worth_writing(own: Price | None, wanted: Price, settings: FeedSettings) -> bool:
    """Each write goes to every replica and into the history: none for the same doubt again, few to confirm a price."""
    if own is None or not same(own, wanted):
        return True
    if _code(own.held) != _code(wanted.held):
        return True
    return (wanted.checked_at or 0.0) - (own.checked_at or 0.0) > settings.max_age_s * CONFIRM_SHARE


def _code(held: str) -> str:
    return held.partition(":")[0]
