"""Setting, clearing and listing prices on a real Valkey, with a snapshot that may be behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from router.api.price_desk import PriceDesk
from router.clock import FakeClock
from router.domain.audit import Author
from router.domain.fleet import Backend, ServedModel
from router.domain.pricing import MAX_PRICES, Price, PriceBook, Source, book_of
from router.errors import InvalidRequest, NotFound, StaleVersion
from router.state.embedded import EmbeddedValkey
from router.state.store import SeedDocuments, ValkeyStore
from router.state.view import FleetView
from router.v1 import admin_pb2 as pb

ME = Author(actor="me")
BACKEND = Backend(id="a", wire="w", address="http://a:1", models=(ServedModel(model="m"),))
CONFIGURED = Price(backend="a", usd_per_hour=10.0)


@dataclass
class Desk:
    """The desk of one replica; its view follows the store only when it is told to."""

    store: ValkeyStore
    view: FleetView
    clock: FakeClock
    desk: PriceDesk

    async def follow(self) -> None:
        self.view.publish((await self.store.load()).snapshot)

    async def put(self, version: int, **fields: object) -> pb.PriceEntry:
        price = pb.Price(backend="a")
        for name, value in fields.items():
            if name in {"effective_at", "expires_at"}:
                getattr(price, name).FromMicroseconds(round(float(str(value)) * 1e6))
            else:
                setattr(price, name, value)
        entry, _ = await self.desk.put(pb.SetPriceRequest(price=price, expected_version=version), ME)
        return entry

    async def clear(self, version: int) -> pb.PriceEntry | None:
        entry, _ = await self.desk.clear(pb.ClearPriceRequest(backend="a", expected_version=version), ME)
        return entry

    async def listed(self, *, every: bool = False) -> list[tuple[float, int, bool]]:
        """Dollars per hour, source and whether it is in force."""
        listing = await self.desk.listing(pb.ListPricesRequest(all=every))
        return [(entry.price.usd_per_hour, entry.source_kind, entry.in_force) for entry in listing.prices]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with EmbeddedValkey() as server:
        store = ValkeyStore.connect(server.url)
        await store.seed(SeedDocuments(backends=(BACKEND,), prices=(book_of(CONFIGURED),)), actor="test")
        clock, view = FakeClock(), FleetView()
        made = Desk(store, view, clock, PriceDesk(store, view, clock=clock, feed_max_age_s={"spot": 60.0}))
        await made.follow()
        yield made
        await store.aclose()


async def test_a_price_by_hand_comes_and_goes(desk: Desk) -> None:
    """It outranks the configured one while it is there; a planned one waits; clearing gives the configured one back."""
    now = desk.clock.time()
    entry = await desk.put(1, usd_per_hour=7.0)
    assert (entry.version, entry.in_force, entry.price.source) == (2, True, "admin")
    await desk.follow()
    planned = await desk.put(2, usd_per_hour=6.0, effective_at=now + 60.0)
    assert not planned.in_force
    await desk.follow()
    assert await desk.listed() == [(7.0, pb.PRICE_SOURCE_ADMIN, True)]
    assert sorted(await desk.listed(every=True)) == [
        (6.0, pb.PRICE_SOURCE_ADMIN, False),
        (7.0, pb.PRICE_SOURCE_ADMIN, True),
        (10.0, pb.PRICE_SOURCE_CONFIG, False),
    ]
    desk.clock.advance(60.0)
    assert await desk.listed() == [(6.0, pb.PRICE_SOURCE_ADMIN, True)]
    left = await desk.clear(3)
    assert left is not None
    assert (left.price.usd_per_hour, left.in_force) == (10.0, True)
    await desk.follow()
    assert await desk.listed(every=True) == [(10.0, pb.PRICE_SOURCE_CONFIG, True)]
    with pytest.raises(NotFound, match="no price was set by hand"):
        await desk.clear(4)


async def test_a_snapshot_that_is_behind_loses_no_price(desk: Desk) -> None:
    """A write that expects the store's version keeps what the store has, although this replica has not seen it yet."""
    feed = Price(backend="a", usd_per_hour=8.0, source_kind=Source.FEED, feed="spot")
    known = desk.view.snapshot.prices["a", ""]
    await desk.store.put_price(known.with_price(feed, now=desk.clock.time()), expected_version=1, author=ME)
    with pytest.raises(StaleVersion) as stale:
        await desk.put(1, usd_per_hour=7.0)
    assert stale.value.current == 2
    await desk.put(2, usd_per_hour=7.0)
    stored = await desk.store.get_price("a", "")
    assert {price.source_kind for price in stored.prices} == {Source.CONFIG, Source.FEED, Source.ADMIN}


async def test_the_last_price_goes_with_its_book(desk: Desk) -> None:
    """Where nothing but the price by hand was known, clearing leaves no price, and one can be set again."""
    await desk.store.remove_price("a", "", expected_version=1, author=ME)
    await desk.follow()
    entry = await desk.put(0, usd_per_hour=7.0)
    await desk.follow()
    assert await desk.clear(entry.version) is None
    await desk.follow()
    assert await desk.listed(every=True) == []
    assert (await desk.put(0, usd_per_hour=6.0)).version > entry.version


async def test_a_price_that_would_never_hold_is_refused(desk: Desk) -> None:
    """What has ended already, or begins before a later price by hand that holds, is named as wrong."""
    now = desk.clock.time()
    with pytest.raises(InvalidRequest, match="must be in the future"):
        await desk.put(1, usd_per_hour=7.0, expires_at=now - 1.0)
    await desk.put(1, usd_per_hour=7.0, effective_at=now - 10.0)
    await desk.follow()
    with pytest.raises(InvalidRequest, match="began later"):
        await desk.put(2, usd_per_hour=6.0, effective_at=now - 20.0)


async def test_a_book_has_a_bound(desk: Desk) -> None:
    """No more than so many prices of one backend and model are planned at a time."""
    now = desk.clock.time()
    planned = tuple(replace(CONFIGURED, effective_at=now + n) for n in range(MAX_PRICES))
    await desk.store.put_price(PriceBook(backend="a", prices=planned), expected_version=1, author=ME)
    with pytest.raises(InvalidRequest, match="64 prices already"):
        await desk.put(2, usd_per_hour=7.0, effective_at=now + 1_000.0)


async def test_a_feed_s_price_grows_stale_in_the_list(desk: Desk) -> None:
    """Its age counts from when the feed confirmed it, and past what the feed allows it is stale."""
    feed = Price(backend="a", usd_per_hour=8.0, source_kind=Source.FEED, feed="spot", checked_at=desk.clock.time())
    known = desk.view.snapshot.prices["a", ""]
    await desk.store.put_price(known.with_price(feed, now=desk.clock.time()), expected_version=1, author=ME)
    await desk.follow()
    seen = []
    for _ in range(2):
        (entry,) = (await desk.desk.listing(pb.ListPricesRequest())).prices
        seen.append((entry.feed, entry.age_s, entry.stale, entry.in_force))
        desk.clock.advance(61.0)
    assert seen == [("spot", 0.0, False, True), ("spot", 61.0, True, True)]
