"""Books of prices: which price holds when, and when the next one does."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.domain.price_rules import contradictions
from router.domain.pricing import (
    Price,
    PriceBook,
    Source,
    Window,
    book_of,
    books,
    known_zone,
    usd_per_mtok_blended,
    within,
)

NOW = 1_800_000_000.0
NIGHT = Window(start_minute=18 * 60, end_minute=8 * 60, factor=0.5, days=(4,), zone="Europe/Berlin")
ZONES = ["UTC", "+05:30", "-03:00", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
QUARTER_S = 900.0
# Around both changes of the clock in Europe, America and Australia, and an ordinary week; to the quarter of an hour,
# so that prices, windows and changes of the clock often meet.
DAYS = [
    datetime(2026, *day, tzinfo=ZoneInfo("UTC")).timestamp() for day in ((3, 29), (10, 25), (3, 8), (11, 1), (4, 5))
]
MOMENTS = st.builds(
    lambda day, quarter, second: day + QUARTER_S * quarter + second,
    st.sampled_from([*DAYS, NOW]),
    st.integers(-96, 192),
    st.sampled_from([0.0, 0.0, 1.0, -0.25]),
)
WINDOWS = st.builds(
    Window,
    start_minute=st.integers(0, 95).map(lambda quarter: 15 * quarter) | st.sampled_from([120, 135, 150, 165, 180]),
    end_minute=st.integers(0, 96).map(lambda quarter: 15 * quarter) | st.sampled_from([120, 135, 150, 165, 180]),
    factor=st.sampled_from([0.25, 0.5, 2.0]),
    days=st.frozensets(st.integers(0, 6), max_size=3).map(tuple),
    zone=st.sampled_from(ZONES),
)
TIMES = st.none() | MOMENTS
PRICES = st.builds(
    Price,
    backend=st.just("a"),
    usd_per_hour=st.floats(1.0, 9.0),
    source_kind=st.sampled_from(Source),
    schedule=st.lists(WINDOWS, max_size=2).map(tuple),
    effective_at=TIMES,
    expires_at=TIMES,
)


def berlin(text: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold).timestamp()


@settings(max_examples=300)
@given(st.lists(PRICES, min_size=1, max_size=3), MOMENTS)
def test_no_change_comes_before_the_next_change(prices: list[Price], unix: float) -> None:
    """From any moment until before `next_change` the book answers the same price, clock changes included."""
    book = PriceBook(backend="a", prices=tuple(prices))
    until = book.next_change(unix)
    assert until > unix
    first = math.ceil(unix / QUARTER_S) * QUARTER_S
    moments = [first + QUARTER_S * n + second for n in range(3 * 96) for second in (0.0, 1.0)]
    moments += [t for price in prices for t in (price.effective_at, price.expires_at) if t is not None]
    for later in (*moments, math.nextafter(until, 0.0)):
        if unix <= later < until and math.isfinite(later):
            assert book.at(later) == book.at(unix)


@given(WINDOWS, MOMENTS)
def test_following_the_changes_sees_every_minute(window: Window, unix: float) -> None:
    """Who looks only at `next_change` knows at each minute of two days what who looks all the time knows."""
    book = book_of(Price(backend="a", usd_per_hour=1.0, schedule=(window,)))
    followed, until = book.at(unix), book.next_change(unix)
    looks = 0
    for minute in range(2 * 24 * 60):
        moment = unix + 60.0 * minute
        while moment >= until:
            followed, until = book.at(until), book.next_change(until)
            looks += 1
        assert book.at(moment) == followed
    assert looks < 20


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-11-27 17:59:59", False),  # a Friday
        ("2026-11-27 18:00:00", True),
        ("2026-11-28 07:59:59", True),  # the night that began on Friday
        ("2026-11-28 08:00:00", False),
        ("2026-11-28 18:00:00", False),
        ("2026-11-27 07:00:00", False),  # the night that began on Thursday
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_it_begins_on(text: str, is_open: bool) -> None:  # noqa: FBT001 - a case
    """Days are those on which a window opens, also for the part after midnight."""
    assert within(NIGHT, berlin(text)) is is_open


def test_the_hour_that_comes_twice_counts_twice() -> None:
    """On the day the clock is put back, a window in that hour opens, shuts and opens again."""
    window = Window(start_minute=150, end_minute=165, factor=2.0, zone="Europe/Berlin")
    book = book_of(Price(backend="a", usd_per_hour=1.0, schedule=(window,)))
    unix = berlin("2026-10-25 02:00:00")
    seen = []
    while unix < berlin("2026-10-25 03:30:00"):
        price = book.at(unix)
        assert price is not None
        seen.append((datetime.fromtimestamp(unix, ZoneInfo("Europe/Berlin")).strftime("%H:%M"), price.usd_per_hour))
        unix = book.next_change(unix)
    assert [s for n, s in enumerate(seen) if n == 0 or s[1] != seen[n - 1][1]] == [
        ("02:00", 1.0),
        ("02:30", 2.0),
        ("02:45", 1.0),
        ("02:30", 2.0),
        ("02:45", 1.0),
    ]


def test_a_window_that_opens_in_the_hour_left_out_opens_with_the_next() -> None:
    """On the day the clock is put forward, 02:30 does not come: the window is open from 03:00, to the second."""
    window = Window(start_minute=150, end_minute=240, factor=2.0, zone="Europe/Berlin")
    book = book_of(Price(backend="a", usd_per_hour=1.0, schedule=(window,)))
    before = berlin("2026-03-29 01:59:59")
    assert not within(window, before)
    assert book.next_change(before) == before + 1.0
    assert within(window, before + 1.0)


def test_sources_outrank_each_other() -> None:
    """Of prices that hold, the greatest source decides, and of one source the price that began last."""
    prices = [
        Price(backend="a", usd_per_hour=float(kind), source_kind=kind, expires_at=NOW + 100.0 * (5 - kind))
        for kind in Source
    ]
    later = Price(backend="a", usd_per_hour=9.0, source_kind=Source.CATALOGUE, effective_at=NOW + 350.0)
    book = PriceBook(backend="a", prices=(*prices, later))

    def price_at(unix: float) -> float | None:
        price = book.at(unix)
        return price.usd_per_hour if price is not None else None

    assert [price_at(NOW + t) for t in (0.0, 100.0, 200.0, 300.0, 350.0)] == [4.0, 3.0, 2.0, 1.0, 9.0]


def test_a_price_set_now_replaces_what_has_begun() -> None:
    """A price without a beginning wins over an earlier one that has a beginning; a planned one stays planned."""
    first = Price(backend="a", usd_per_hour=1.0, effective_at=NOW - 10.0)
    planned = Price(backend="a", usd_per_hour=3.0, effective_at=NOW + 10.0)
    book = PriceBook(backend="a", prices=(first, planned)).with_price(Price(backend="a", usd_per_hour=2.0), now=NOW)
    assert [price.usd_per_hour for price in book.prices] == [2.0, 3.0]


def test_a_price_with_an_end_gives_back_what_was_before() -> None:
    """A price that is set until a time begins now and leaves the one before in its place afterwards."""
    book = book_of(Price(backend="a", usd_per_hour=1.0)).with_price(
        Price(backend="a", usd_per_hour=2.0, expires_at=NOW + 60.0), now=NOW
    )
    assert [p.usd_per_hour for t in (0.0, 60.0) if (p := book.at(NOW + t)) is not None] == [2.0, 1.0]


def test_what_nobody_can_be_charged_any_more_is_forgotten() -> None:
    """An expired price, and one that a later one of its source has replaced, leave the book at the next write."""
    old = [
        Price(backend="a", usd_per_hour=1.0, expires_at=NOW - 1.0),
        Price(backend="a", usd_per_hour=2.0, effective_at=NOW - 20.0),
        Price(backend="a", usd_per_hour=3.0, effective_at=NOW - 10.0),
        Price(backend="a", usd_per_hour=4.0, source_kind=Source.FEED, feed="spot"),
    ]
    book = PriceBook(backend="a", prices=tuple(old)).with_price(
        Price(backend="a", usd_per_hour=5.0, source_kind=Source.ADMIN), now=NOW
    )
    assert [price.usd_per_hour for price in book.prices] == [3.0, 4.0, 5.0]
    assert [price.usd_per_hour for price in book.without(Source.FEED, feed="spot").prices] == [3.0, 5.0]


@given(st.lists(PRICES, max_size=6), PRICES, MOMENTS)
def test_a_write_changes_nothing_of_other_sources(before: list[Price], price: Price, unix: float) -> None:
    """Whatever is written, the prices of other sources that may still hold are all there."""
    book = PriceBook(backend="a", prices=tuple(before))
    after = book.with_price(price, now=unix)
    for source in set(Source) - {price.source_kind}:
        only = PriceBook(backend="a", prices=tuple(p for p in before if p.source_kind is source))
        left = PriceBook(backend="a", prices=tuple(p for p in after.prices if p.source_kind is source))
        for later in (unix, unix + 3_600.0, unix + 86_400.0):
            assert left.at(later) == only.at(later)


def test_one_book_for_each_backend_and_model() -> None:
    """Prices of a file become books in the order in which they come."""
    made = books([Price(backend="b", usd_per_hour=1.0), Price(backend="a", model="m", usd_per_hour=2.0)])
    assert [(book.backend, book.model, len(book.prices)) for book in made] == [("b", "", 1), ("a", "m", 1)]


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "+25:00", "+5", "a\0b", "x" * 999]
)
def test_no_zone_of_that_name(name: str) -> None:
    """A zone that there is not is told from one that there is; its windows stay shut."""
    assert known_zone(name) is None
    window = Window(start_minute=0, end_minute=1440, factor=0.0, zone=name)
    book = book_of(Price(backend="a", usd_per_hour=1.0, schedule=(window,)))
    assert book.at(NOW) == book.prices[0]
    assert book.next_change(NOW) == math.inf


def test_every_charge_is_scaled_and_nothing_else() -> None:
    """A factor multiplies what is charged; shares, discounts and the price of electricity stay."""
    price = Price(
        backend="a",
        input_usd_per_mtok=1.0,
        cached_input_usd_per_mtok=2.0,
        cache_write_usd_per_mtok=3.0,
        output_usd_per_mtok=4.0,
        request_usd=5.0,
        batch_discount=0.5,
    )
    twice = price.scaled(2.0)
    assert (twice.input_usd_per_mtok, twice.cached_input_usd_per_mtok, twice.cache_write_usd_per_mtok) == (
        2.0,
        4.0,
        6.0,
    )
    assert (twice.output_usd_per_mtok, twice.request_usd, twice.usd_per_hour) == (8.0, 10.0, None)
    assert (twice.batch_discount, twice.electricity_usd_per_kwh) == (0.5, price.electricity_usd_per_kwh)


def test_a_blended_price_is_three_parts_input() -> None:
    """Three tokens of input to one of output; per-hour prices have no such figure."""
    assert usd_per_mtok_blended(Price(backend="a", input_usd_per_mtok=2.0, output_usd_per_mtok=10.0)) == 4.0
    assert usd_per_mtok_blended(Price(backend="a", usd_per_hour=2.0)) is None


def test_too_many_windows_are_one_fault() -> None:
    """The list of what is wrong with a price is bounded as the price is."""
    shut = Window(start_minute=5, end_minute=5, factor=1.0)
    found = list(contradictions(Price(backend="a", usd_per_hour=1.0, schedule=(shut,) * 40)))
    assert found[0] == ("schedule", "must have at most 32 windows, not 40")
    assert len(found) == 33
