"""What is believed of a feed, and what the books of prices become."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Backend, ServedModel
from router.domain.price_feed import FeedKind, FeedSettings
from router.domain.price_rules import AMOUNTS
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price, PriceBook, Source, books
from router.feeds.contract import Quote
from router.feeds.guard import MAX_USD, MAX_USD_PER_MTOK, Belief, References, judge
from router.feeds.ledger import Entries, enter

NOW = 1_800_000_000.0
SETTINGS = FeedSettings(name="spot", kind=FeedKind.HTTP_JSON, max_age_s=900.0, backends=("h100", "api"))
BACKENDS = {
    name: Backend(id=name, wire="w", address="http://x", models=(ServedModel(model="m"),))
    for name in ("h100", "api", "other")
}
CONFIGURED = (
    Price(backend="h100", usd_per_hour=10.0, elastic_fraction=0.1, electricity_usd_per_kwh=0.08, batch_discount=0.5),
    Price(backend="api", model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=4.0),
)
Books = dict[tuple[str, str], PriceBook]


def configured() -> Books:
    return {(book.backend, book.model): book for book in books(CONFIGURED)}


def told(*quotes: Quote, prices: Books | None = None, now: float = NOW, settings: FeedSettings = SETTINGS) -> Entries:
    known = configured() if prices is None else prices
    return enter(quotes, known, BACKENDS, settings, source_kind=Source.FEED, now=now)


def after(entries: Entries, prices: Books) -> Books:
    return prices | {(book.backend, book.model): book for book in entries.books}


def spot(usd: float = 8.0, **fields: Any) -> Quote:
    facts: dict[str, Any] = {"backend": "h100", "usd_per_hour": usd, "spot": True}
    return Quote(**(facts | fields))


def test_a_good_quote_becomes_a_price() -> None:
    """It outranks the configured price, and keeps what a feed cannot know."""
    prices = after(told(spot(quoted_at=NOW - 60.0, source="market")), configured())
    price = prices["h100", ""].at(NOW)
    assert price == Price(
        backend="h100",
        usd_per_hour=8.0,
        elastic_fraction=0.1,
        electricity_usd_per_kwh=0.08,
        batch_discount=0.5,
        source="market",
        source_kind=Source.FEED,
        feed="spot",
        spot=True,
        checked_at=NOW - 60.0,
    )


@pytest.mark.parametrize(
    ("quote", "belief", "code"),
    [
        (spot(math.nan), Belief.REFUSED, "NOT_FINITE"),
        (spot(math.inf), Belief.REFUSED, "NOT_FINITE"),
        (spot(-8.0), Belief.REFUSED, "NEGATIVE"),
        (spot(0.0), Belief.REFUSED, "ZERO"),
        (spot(999_999.0), Belief.REFUSED, "TOO_LARGE"),
        (spot(800.0), Belief.HELD, "JUMP"),
        (spot(0.08), Belief.HELD, "JUMP"),
        (spot(8.0, quoted_at=NOW - 901.0), Belief.REFUSED, "STALE"),
        (spot(8.0, quoted_at=NOW + 301.0), Belief.REFUSED, "FUTURE"),
        (spot(8.0, quoted_at=math.nan), Belief.REFUSED, "FUTURE"),
        (spot(8.0, backend="h200"), Belief.REFUSED, "UNKNOWN_BACKEND"),
        (spot(8.0, backend="other"), Belief.REFUSED, "NOT_ITS_BACKEND"),
        (spot(8.0, model="n"), Belief.REFUSED, "UNKNOWN_MODEL"),
        (spot(8.0, input_usd_per_mtok=1.0), Belief.REFUSED, "CONTRADICTION"),
        (spot(8.0, batch_discount=1.5), Belief.REFUSED, "MALFORMED"),
        (spot(8.0, problem="spot must be true or false"), Belief.REFUSED, "MALFORMED"),
        (Quote(backend="h100"), Belief.REFUSED, "CONTRADICTION"),
        (Quote(backend="h100", input_usd_per_mtok=1.0, output_usd_per_mtok=1.0), Belief.REFUSED, "UNIT"),
        (Quote(backend="api", model="m", usd_per_hour=1.0), Belief.REFUSED, "UNIT"),
        (Quote(backend="api", model="m", output_usd_per_mtok=4.0), Belief.REFUSED, "CONTRADICTION"),
        (spot(8.0, tiers=(PriceTier(service="flex", factor=0.5),)), Belief.REFUSED, "CONTRADICTION"),
        (spot(8.0, tiers=(PriceTier(service="flex", input_usd_per_mtok=1e9),)), Belief.REFUSED, "TOO_LARGE"),
    ],
)
def test_nonsense_is_never_a_price(quote: Quote, belief: Belief, code: str) -> None:
    """Each kind of nonsense is refused or held with its reason, and the configured price goes on deciding."""
    entries = told(quote)
    assert entries.counts == {belief: 1}
    assert [why.partition(":")[0] for why in entries.doubts.values()] == [code]
    assert entries.books == []


ANY_NUMBER = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 5.0, 10.0])
ANY_QUOTE = st.builds(
    Quote,
    backend=st.sampled_from(["h100", "api", "other", "h200", ""]),
    model=st.sampled_from(["", "m", "n"]),
    spot=st.booleans(),
    quoted_at=st.none() | st.floats(NOW - 2_000.0, NOW + 2_000.0) | ANY_NUMBER,
    problem=st.sampled_from(["", "", "", "bad"]),
    fallback=st.booleans(),
    batch_discount=ANY_NUMBER,
    **dict.fromkeys(AMOUNTS, ANY_NUMBER),
)


@given(st.lists(st.lists(ANY_QUOTE, max_size=4), max_size=6))
def test_no_answers_ever_make_a_price_that_is_nonsense(answers: list[list[Quote]]) -> None:
    """After any history of answers every price in force is within ten times of what was configured."""
    prices, now = configured(), NOW
    for answer in answers:
        now += 60.0
        prices = after(told(*answer, prices=prices, now=now), prices)
        for configured_price in CONFIGURED:
            price = prices[configured_price.backend, configured_price.model].at(now)
            assert price is not None
            for name in ("usd_per_hour", "input_usd_per_mtok", "output_usd_per_mtok"):
                old, new = getattr(configured_price, name), getattr(price, name)
                assert (old is None) is (new is None)
                assert old is None or old / 10.0 <= new <= old * 10.0
        for book in prices.values():
            for price in book.prices:
                amounts = [(name, getattr(price, name)) for name in AMOUNTS]
                assert all(a is None or 0.0 <= a <= MAX_USD.get(n, MAX_USD_PER_MTOK) for n, a in amounts)


def test_a_doubted_quote_marks_the_last_good_price_once() -> None:
    """The price stays and says why; the same doubt is not written again, another one is, and a good quote ends it."""
    prices = after(told(spot()), configured())
    first = told(spot(900.0), prices=prices, now=NOW + 60.0)
    prices = after(first, prices)
    held = prices["h100", ""].at(NOW + 60.0)
    assert held is not None
    assert (held.usd_per_hour, held.held[:5], held.checked_at) == (8.0, "JUMP:", NOW)
    assert told(spot(901.0), prices=prices, now=NOW + 120.0).books == []
    prices = after(told(spot(-1.0), prices=prices, now=NOW + 180.0), prices)
    assert prices["h100", ""].prices[-1].held.startswith("NEGATIVE")
    prices = after(told(spot(), prices=prices, now=NOW + 240.0), prices)
    good = prices["h100", ""].at(NOW + 240.0)
    assert good is not None
    assert (good.held, good.checked_at) == ("", NOW + 240.0)


def test_a_confirmed_price_is_written_seldom() -> None:
    """The same quote is written again only when a third of its time is over."""
    prices = after(told(spot()), configured())
    assert told(spot(), prices=prices, now=NOW + 299.0).books == []
    later = told(spot(), prices=prices, now=NOW + 301.0)
    assert [book.prices[-1].checked_at for book in later.books] == [NOW + 301.0]


def test_many_small_steps_do_not_lead_where_one_great_step_may_not() -> None:
    """A feed that doubles its price with each answer is stopped at ten times what the operator configured."""
    prices, usd = configured(), 8.0
    for step in range(12):
        usd *= 2.0
        prices = after(told(spot(usd), prices=prices, now=NOW + step), prices)
    price = prices["h100", ""].at(NOW + 20.0)
    assert price is not None
    assert price.usd_per_hour == 64.0
    assert price.held.startswith("JUMP")


def test_an_older_quote_changes_nothing() -> None:
    """An answer that comes late, of a time before the last good one, is neither believed nor a fault."""
    prices = after(told(spot(quoted_at=NOW)), configured())
    entries = told(spot(7.0, quoted_at=NOW - 60.0), prices=prices)
    assert (entries.books, entries.doubts, entries.counts) == ([], {}, {Belief.KEPT: 1})


def test_data_to_fall_back_on_confirms_but_replaces_nothing() -> None:
    """Prices that a package was released with may be the first, and may confirm; they do not undo newer ones."""
    bundled = spot(9.0, fallback=True)
    assert told(bundled).confirmed == 1
    prices = after(told(spot()), configured())
    assert told(bundled, prices=prices).counts == {Belief.KEPT: 1}
    assert told(replace(bundled, usd_per_hour=8.0), prices=prices, now=NOW + 400.0).confirmed == 1


def test_the_second_quote_of_one_answer_is_refused() -> None:
    """Which of two is meant nobody knows: the first counts, the second is said to be one too many."""
    entries = told(spot(8.0), spot(9.0))
    assert [book.prices[-1].usd_per_hour for book in entries.books] == [8.0]
    assert entries.doubts == {("h100", ""): "DUPLICATE: quoted more than once in one answer"}


def test_what_an_administrator_set_stays() -> None:
    """A feed writes beside a price that was set by hand, which goes on deciding, and is not held against it."""
    by_hand = Price(backend="h100", usd_per_hour=2_000.0, source_kind=Source.ADMIN)
    prices = configured()
    prices["h100", ""] = prices["h100", ""].with_price(by_hand, now=NOW)
    prices = after(told(spot(), prices=prices), prices)
    assert prices["h100", ""].at(NOW) == by_hand
    assert {price.source_kind for price in prices["h100", ""].prices} == {Source.CONFIG, Source.FEED, Source.ADMIN}


def test_a_free_price_may_be_confirmed_where_it_is_configured() -> None:
    """Zero is believed where the operator says that it is zero."""
    free = {("h100", ""): PriceBook(backend="h100", prices=(Price(backend="h100", usd_per_hour=0.0),))}
    assert told(spot(0.0), prices=free).confirmed == 1


def test_a_row_that_jumps_is_held_as_a_price_that_jumps() -> None:
    """A service that is all at once a hundred times as dear keeps its last good row, until somebody has looked."""

    def quote_of(flex: float) -> Quote:
        row = PriceTier(service="flex", input_usd_per_mtok=flex, output_usd_per_mtok=1.0)
        return Quote(backend="api", model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, tiers=(row,))

    good = judge(quote_of(0.5), References(), SETTINGS, BACKENDS, source_kind=Source.FEED, now=NOW).price

    held = judge(quote_of(50.0), References(own=good), SETTINGS, BACKENDS, source_kind=Source.FEED, now=NOW)

    assert (held.belief, held.price) == (Belief.HELD, None)
    assert "input_usd_per_mtok of flex above 0 tokens" in held.reason


def test_a_feed_that_knows_no_rows_keeps_those_that_were_configured() -> None:
    """Rows, and what an operator knows of spot capacity, stay when a feed says nothing of them."""
    rows = (PriceTier(service="flex", factor=0.5),)
    configured = Price(
        backend="api", model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, tiers=rows, preemptions_per_hour=0.2
    )
    quote = Quote(backend="api", model="m", input_usd_per_mtok=1.1, output_usd_per_mtok=2.0)

    price = judge(quote, References(configured=configured), SETTINGS, BACKENDS, source_kind=Source.FEED, now=NOW).price

    assert price is not None
    assert (price.tiers, price.preemptions_per_hour, price.input_usd_per_mtok) == (rows, 0.2, 1.1)
