"""Setting, clearing and listing prices: the part of the AdminService that is about books of prices."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from router.api.wire.prices import decode_price, encode_price
from router.clock import Clock
from router.domain.audit import Author
from router.domain.pricing import MAX_PRICES, Price, PriceBook, Source, dated
from router.errors import InvalidRequest, NotFound, StaleVersion, Violation
from router.state.store import FleetStore
from router.state.view import FleetView
from router.v1 import admin_pb2 as pb

# A list of thousands of prices lets other work pass in between.
_TOGETHER = 500


class PriceDesk:
    """`feed_max_age_s`: of each feed that is configured, how old its prices may get. The clock is the store's."""

    def __init__(
        self, store: FleetStore, view: FleetView, *, clock: Clock, feed_max_age_s: Mapping[str, float]
    ) -> None:
        self._store = store
        self._view = view
        self._clock = clock
        self._feed_max_age_s = feed_max_age_s

    async def put(self, request: pb.SetPriceRequest, author: Author) -> tuple[pb.PriceEntry, int]:
        """Adds a price to its book; answers it and the fleet's version.

        Raises:
            InvalidRequest, NotFound, StaleVersion, StoreUnavailable.
        """
        now = self._clock.time()
        price = dated(decode_price(request.price, self._view.snapshot.backends), now=now)
        if price.expires_at is not None and price.expires_at <= now:
            raise InvalidRequest(Violation("price.expires_at", "must be in the future"))
        before = await self._book(price.backend, price.model, request.expected_version)
        book = before.with_price(price, now=now)
        if price not in book.prices:
            raise InvalidRequest(Violation("price.effective_at", "a price that was set by hand began later and holds"))
        if len(book.prices) > MAX_PRICES:
            raise InvalidRequest(
                Violation("price", f"its backend and model have {len(before.prices)} prices already: no more are kept"),
                hint="Clear the prices that were set by hand, and set those again that are still wanted.",
            )
        written, fleet = await self._store.put_price(book, expected_version=request.expected_version, author=author)
        return self._entry(written, price), fleet

    async def clear(self, request: pb.ClearPriceRequest, author: Author) -> tuple[pb.PriceEntry | None, int]:
        """Takes back what was set by hand; answers the price that holds now and the fleet's version.

        Raises:
            NotFound, StaleVersion, StoreUnavailable.
        """
        before = await self._book(request.backend, request.model, request.expected_version)
        left = before.without(Source.ADMIN)
        if len(left.prices) == len(before.prices):
            what = f"backend {request.backend!r}" + (f", model {request.model!r}" if request.model else "")
            raise NotFound(f"{what}: no price was set by hand")
        if not left.prices:
            fleet = await self._store.remove_price(
                request.backend, request.model, expected_version=request.expected_version, author=author
            )
            return None, fleet
        written, fleet = await self._store.put_price(left, expected_version=request.expected_version, author=author)
        holds = written.listed_at(self._clock.time())
        return (None if holds is None else self._entry(written, holds)), fleet

    async def listing(self, request: pb.ListPricesRequest) -> pb.ListPricesResponse:
        """The prices that hold now; with `all` every price of every book, those that hold first."""
        snapshot, now = self._view.snapshot, self._clock.time()
        entries: list[pb.PriceEntry] = []
        for number, (key, book) in enumerate(sorted(snapshot.prices.items())):
            if number % _TOGETHER == _TOGETHER - 1:
                await asyncio.sleep(0)
            if request.backend not in {"", key[0]}:
                continue
            holds = book.listed_at(now)
            others = [price for price in reversed(book.prices) if price is not holds] if request.all else []
            entries += [
                encode_price(book, price, now=now, feed_max_age_s=self._feed_max_age_s)
                for price in (holds, *others)
                if price is not None
            ]
        return pb.ListPricesResponse(prices=entries, fleet_version=snapshot.version)

    def _entry(self, book: PriceBook, price: Price) -> pb.PriceEntry:
        return encode_price(book, price, now=self._clock.time(), feed_max_age_s=self._feed_max_age_s)

    async def _book(self, backend: str, model: str, expected_version: int) -> PriceBook:
        """The book at the version that the caller knows; from the store when this replica's snapshot is behind.

        What is written on top of it is refused by the store when somebody else was first.
        """
        known = self._view.snapshot.prices.get((backend, model))
        if known is None or known.version != expected_version:
            try:
                known = await self._store.get_price(backend, model)
            except NotFound:
                return PriceBook(backend=backend, model=model)
        if known.version != expected_version:
            raise StaleVersion(
                f"the price of {backend!r} is at version {known.version}, not at the expected {expected_version}",
                current=known.version,
            )
        return known
