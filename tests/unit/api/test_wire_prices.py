"""Price messages and domain values: what is valid goes there and back unchanged, what is not is named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from router.api.wire.prices import decode_price, encode_price
from router.domain.fleet import Backend, ServedModel
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Price, PriceBook, Source, Window, book_of
from router.errors import InvalidRequest
from router.v1 import admin_pb2 as pb

NOW = 1_800_000_000.0
BACKENDS = {"a": Backend(id="a", wire="w", address="", models=(ServedModel(model="m1"),))}
WORDS = st.text("abc-9", min_size=1, max_size=10)
USD = st.none() | st.floats(0, 1e6)
TIMES = st.none() | st.integers(0, 4_000_000_000).map(float)
WINDOWS = st.builds(
    Window,
    start_minute=st.integers(0, 719),
    end_minute=st.integers(720, 1440),
    factor=st.floats(0.01, 100),
    days=st.frozensets(st.integers(0, 6)).map(lambda days: tuple(sorted(days))),
    zone=st.sampled_from(["UTC", "+05:30", "Europe/Berlin"]),
)
HOSTED = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
AMOUNTS = st.fixed_dictionaries({"usd_per_hour": st.floats(0, 1e6)}) | st.fixed_dictionaries(
    {
        "input_usd_per_mtok": st.floats(0, 1e6),
        "output_usd_per_mtok": st.floats(0, 1e6),
        "cached_input_usd_per_mtok": USD,
        "cache_write_usd_per_mtok": USD,
        "tiers": st.lists(
            st.builds(
                PriceTier,
                service=st.sampled_from(["flex", "priority", "batch"]),
                above_tokens=st.integers(0, 1_000_000),
                factor=st.floats(0, 0.9),
                input_usd_per_mtok=USD,
                cached_input_usd_per_mtok=USD,
                cache_write_usd_per_mtok=USD,
                output_usd_per_mtok=USD,
            ),
            max_size=4,
            unique_by=lambda tier: tier.key,
        ).map(tuple),
    }
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    price = draw(
        st.builds(
            Price,
            backend=WORDS,
            model=WORDS | st.just(""),
            request_usd=USD,
            elastic_fraction=st.floats(0, 1),
            electricity_usd_per_kwh=st.floats(0, 10),
            batch_discount=st.floats(0, 1),
            source=WORDS,
            source_kind=st.just(Source.ADMIN),
            spot=st.booleans(),
            preemptions_per_hour=st.floats(0, 1e3),
            restart_usd=st.floats(0, 10),
            schedule=st.lists(WINDOWS, max_size=3).map(tuple),
            effective_at=TIMES,
        )
    )
    return replace(price, **draw(AMOUNTS))


@given(prices())
def test_a_price_goes_there_and_back(price: Price) -> None:
    """Every field of a valid price survives the message that describes it."""
    assert decode_price(encode_price(book_of(price), price, now=NOW).price, {}) == price


@given(st.binary(max_size=200))
def test_any_message_is_a_price_or_a_named_fault(data: bytes) -> None:
    """Whatever bytes a client sends, the answer is a price, or a refusal that names fields of the message."""
    try:
        message = pb.Price.FromString(data)
    except DecodeError:
        return
    try:
        decode_price(message, {})
    except InvalidRequest as error:
        known = {field.name for field in pb.Price.DESCRIPTOR.fields} | {""}
        names = {v.field.removeprefix("price").removeprefix(".").partition("[")[0] for v in error.violations}
        assert names <= known


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "price"),
        ({"usd_per_hour": math.inf}, "price.usd_per_hour"),
        ({"usd_per_hour": 1.0, "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}, "price.usd_per_hour"),
        ({"usd_per_hour": 1.0, "cached_input_usd_per_mtok": 1.0}, "price.usd_per_hour"),
        ({"output_usd_per_mtok": 1.0}, "price"),
        ({"request_usd": 1.0, "batch_discount": 1.5}, "price.batch_discount"),
        ({"request_usd": 1.0, "electricity_usd_per_kwh": -0.1}, "price.electricity_usd_per_kwh"),
        ({"request_usd": 1.0, "model": "unserved"}, "price.model"),
        ({"request_usd": 1.0, "source": "x\n"}, "price.source"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow(start_minute=1440)]}, "price.schedule[0].start_minute"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow(end_minute=1441)]}, "price.schedule[0].end_minute"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow(end_minute=9)]}, "price.schedule[0].factor"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow(days=[7])]}, "price.schedule[0].days"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow(zone="Mars/Olympus")]}, "price.schedule[0].zone"),
        ({"request_usd": 1.0, "schedule": [pb.PriceWindow()] * 33}, "price.schedule"),
        ({"request_usd": 1.0, "tiers": [pb.PriceTier(service="flex", factor=0.5)]}, "price.tiers"),
        ({**HOSTED, "tiers": [pb.PriceTier(service="flex")]}, "price.tiers[0]"),
        ({**HOSTED, "tiers": [pb.PriceTier(service="flex", factor=math.nan)]}, "price.tiers[0].factor"),
        ({**HOSTED, "tiers": [pb.PriceTier(service="FLEX", factor=0.5)]}, "price.tiers[0].service"),
        ({**HOSTED, "tiers": [pb.PriceTier(service="f", input_usd_per_mtok=-1)]}, "price.tiers[0].input_usd_per_mtok"),
        ({**HOSTED, "tiers": [pb.PriceTier(service="f", factor=0.5)] * 33}, "price.tiers"),
        ({"request_usd": 1.0, "preemptions_per_hour": -1.0}, "price.preemptions_per_hour"),
        ({"request_usd": 1.0, "restart_usd": math.inf}, "price.restart_usd"),
    ],
)
def test_a_wrong_price_is_refused_by_field(fields: dict[str, Any], named: str) -> None:
    """Each rule of a price names the field that breaks it."""
    with pytest.raises(InvalidRequest) as error:
        decode_price(pb.Price(backend="a", **fields), BACKENDS)
    assert named in {violation.field for violation in error.value.violations}


def test_a_price_must_end_after_it_begins() -> None:
    """An expiry that is not after the beginning, or not a time, is refused."""
    message = pb.Price(backend="a", request_usd=1.0)
    message.effective_at.FromSeconds(100)
    message.expires_at.FromSeconds(100)
    with pytest.raises(InvalidRequest, match="must be after effective_at"):
        decode_price(message, {})
    message.expires_at.nanos = 2_000_000_000
    with pytest.raises(InvalidRequest, match="must be a time"):
        decode_price(message, {})


def test_an_entry_says_where_a_price_is_from_and_how_old_it_is() -> None:
    """A feed's price shows its feed, age, factor, hold and staleness; an outranked one is not in force."""
    window = Window(start_minute=0, end_minute=1440, factor=0.5)
    feed = Price(
        backend="a",
        usd_per_hour=2.0,
        source_kind=Source.FEED,
        feed="spot",
        checked_at=NOW - 90.0,
        held="JUMP: 200 against 2",
        schedule=(window,),
    )
    config = Price(backend="a", usd_per_hour=3.0)
    book = PriceBook(backend="a", prices=(config, feed), version=4, changed_at=NOW - 1000.0)

    shown = encode_price(book, feed, now=NOW, feed_max_age_s={"spot": 60.0})

    assert (shown.in_force, shown.stale, shown.age_s, shown.factor_now) == (True, True, 90.0, 0.5)
    assert (shown.source_kind, shown.feed, shown.held) == (pb.PRICE_SOURCE_FEED, "spot", "JUMP: 200 against 2")
    assert not encode_price(book, feed, now=NOW, feed_max_age_s={"spot": 120.0}).stale
    assert encode_price(book, feed, now=NOW).stale  # nobody runs the feed any more
    outranked = encode_price(book, config, now=NOW)
    assert (outranked.in_force, outranked.stale, outranked.age_s) == (False, False, 1000.0)
