"""The prices that hold now, of every book that a row asks for, and when the next of them begins or ends to hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import structlog

from router.domain.pricing import Price, PriceBook, known_zone

log = structlog.get_logger(__name__)
Key = tuple[str, str]
# The store's clock is an estimate and moves by milliseconds; this much backwards is a correction.
CLOCK_BACK_S = 0.25


class PricesInForce:
    """Looks at a book when it is new, and when a price of it begins or ends to hold; never otherwise."""

    def __init__(self) -> None:
        self.change_at = math.inf
        # The book that was looked at (None: it is to be looked at again), and the price of it that held.
        self._held: dict[Key, tuple[PriceBook | None, Price | None]] = {}
        # Only those that will change.
        self._until: dict[Key, float] = {}
        self._looked_at = -math.inf

    def turn(self, changed: Iterable[Key], books: Mapping[Key, PriceBook], now: float) -> list[str]:
        """The backends whose price may have changed: their books did, or the time of one has come."""
        keys = list(changed)
        for key in keys:
            if key not in books:
                self._held.pop(key, None)
                self._until.pop(key, None)
        if now < self._looked_at - CLOCK_BACK_S:
            # What began too early is to be taken back.
            due = list(self._held)
            self._looked_at = now
        else:
            due = [key for key, until in self._until.items() if until <= now] if now >= self.change_at else []
            self._looked_at = max(self._looked_at, now)
        for key in due:
            self._held[key] = (None, self._held[key][1])
            self._until.pop(key, None)
        return [backend for backend, _ in keys + due]

    def of(self, books: Mapping[Key, PriceBook], backend: str, model: str, now: float) -> Price | None:
        """The price of a model on a backend: its own, else that of all models of the backend."""
        for key in ((backend, model), (backend, "")):
            book = books.get(key)
            if book is not None and (price := self._of(key, book, now)) is not None:
                return price
        return None

    def settle(self) -> None:
        """Ends a turn."""
        self.change_at = min(self._until.values(), default=math.inf)

    def _of(self, key: Key, book: PriceBook, now: float) -> Price | None:
        """The same object as before while it is the same price."""
        seen, old = self._held.get(key, (None, None))
        if seen is book:
            return old
        price = book.at(now)
        if price == old:
            price = old
        self._held[key] = (book, price)
        if (until := book.next_change(now)) < math.inf:
            self._until[key] = until
        else:
            self._until.pop(key, None)
        self._check_zones(book)
        return price

    def _check_zones(self, book: PriceBook) -> None:
        for zone in {window.zone for price in book.prices for window in price.schedule}:
            if known_zone(zone) is None:
                # Checked before it was written: this machine's time zones are fewer than the writer's.
                log.warning("time_zone_unknown", backend=book.backend, zone=zone, effect="its windows stay shut here")
