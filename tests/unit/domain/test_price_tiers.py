"""Rows of a price and units of money: they survive every form that they are written in, and what is wrong is named."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router.api.wire.checks import Checks
from router.api.wire.prices import decode_tier, encode_tier
from router.domain.grid import JOULES_PER_KWH, Grid
from router.domain.price_rules import contradictions
from router.domain.price_tiers import AMOUNTS, MAX_TIERS, PriceTier, tier_faults
from router.domain.pricing import Price
from router.domain.rates import rates_of
from router.settings import quantity as q
from router.settings.price_tiers import TierEntry, parse_tier, tier_text
from tests.unit.prediction.rows import make_row

USD = st.none() | st.floats(0, 1e5)
TIERS = st.builds(
    PriceTier,
    service=st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True) | st.just(""),
    above_tokens=st.integers(0, 2_000_000),
    factor=st.floats(0, 1e3),
    input_usd_per_mtok=USD,
    cached_input_usd_per_mtok=USD,
    cache_write_usd_per_mtok=USD,
    output_usd_per_mtok=USD,
).filter(lambda tier: not list(tier_faults(tier)))
# x5 and >5 are words of the line's own.
NAMED = TIERS.filter(lambda tier: not re.fullmatch(r"x[0-9.]*(e-?\d*)?", tier.service))


@given(TIERS)
def test_a_row_survives_the_file_and_the_message(tier: PriceTier) -> None:
    """prices.yaml and the admin API say every field of a row, to the last bit."""
    written = yaml.safe_load(yaml.safe_dump({k: v for k, v in asdict(tier).items() if v is not None}))
    checks = Checks()

    assert TierEntry(**written).tier() == tier
    assert decode_tier(checks, encode_tier(tier), 0) == tier
    assert checks.found == []


@given(NAMED)
def test_a_row_survives_the_line_of_a_command(tier: PriceTier) -> None:
    """What `admin prices list` shows of a row, `admin prices set --tier` takes."""
    assert parse_tier(tier_text(tier)) == tier


@pytest.mark.parametrize(
    ("line", "tier"),
    [
        ("flex x0.5", PriceTier(service="flex", factor=0.5)),
        (">2000 input=2.5 output=15", PriceTier(above_tokens=2000, input_usd_per_mtok=2.5, output_usd_per_mtok=15)),
        ("priority >1000 cached=1 write=2", PriceTier(
            service="priority", above_tokens=1000, cached_input_usd_per_mtok=1, cache_write_usd_per_mtok=2)),
    ],
)  # fmt: skip
def test_lines_as_people_write_them(line: str, tier: PriceTier) -> None:
    """Service, length, factor and amounts, each once."""
    assert parse_tier(line) == tier


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("", "needs a service"),
        ("flex", "changes nothing"),
        ("x0.5", "needs a service"),
        ("Flex x0.5", "expected up to 32 of a-z"),
        ("flex input=cheap", "expected a number of dollars per million tokens"),
        ("flex in=2", "expected a row such as"),
        ("flex x0..5", "expected a factor"),
        ("flex input=-1", "must be a finite number"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(line: str, what: str) -> None:
    """The part at fault, and what would have been right."""
    with pytest.raises(ValueError, match=re.escape(what)):
        parse_tier(line)


HOSTED: dict[str, Any] = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
FLEX = PriceTier(service="flex", factor=0.5)


@pytest.mark.parametrize(
    ("price", "field"),
    [
        (Price(backend="a", usd_per_hour=1.0, tiers=(FLEX,)), "tiers"),
        (Price(backend="a", **HOSTED, tiers=(FLEX, FLEX)), "tiers[1]"),
        (Price(backend="a", **HOSTED, tiers=(PriceTier(factor=0.5),)), "tiers[0]"),
        (Price(backend="a", **HOSTED, tiers=(PriceTier(service="F", factor=2.0),)), "tiers[0].service"),
        (Price(backend="a", **HOSTED, tiers=(PriceTier(service="f", factor=-2.0),)), "tiers[0].factor"),
        (Price(backend="a", **HOSTED, tiers=(FLEX,) * (MAX_TIERS + 1)), "tiers"),
        (Price(backend="a", **HOSTED, preemptions_per_hour=-1.0), "preemptions_per_hour"),
        (Price(backend="a", **HOSTED, restart_usd=float("nan")), "restart_usd"),
    ],
)
def test_a_price_that_breaks_a_rule_is_named_by_field(price: Price, field: str) -> None:
    """Rows are of prices per token, differ from each other, and hold sensible numbers."""
    assert field in {named for named, _ in contradictions(price)}


@given(tier=TIERS, factor=st.floats(0.01, 100.0), length=st.integers(1, 3_000_000))
def test_a_time_of_day_multiplies_every_row_once(tier: PriceTier, factor: float, length: int) -> None:
    """A schedule's factor is on every amount of every row, whether it is its own or made by its factor."""
    price = Price(backend="a", **HOSTED, cached_input_usd_per_mtok=0.5, tiers=(tier,))
    for service in {"", tier.service}:
        before = make_row(price).rate(service, length)
        after = make_row(price.scaled(factor)).rate(service, length)

        assert after.input_usd == pytest.approx(before.input_usd * factor)
        assert after.cached_usd == pytest.approx(before.cached_usd * factor)
        assert after.output_usd == pytest.approx(before.output_usd * factor)


@given(st.floats(1e-9, 1e6))
def test_dollars_for_a_million_tokens_are_dollars_for_a_token(usd: float) -> None:
    """$/Mtok to $/token and back, and as text with each of the units that people write."""
    rate = rates_of(Price(backend="a", input_usd_per_mtok=usd, output_usd_per_mtok=usd))[""][0]

    assert rate.input_usd * 1e6 == pytest.approx(usd, rel=1e-12)
    for unit, factor in q.USD_PER_MTOK.units.items():
        assert q.parse_quantity(f"{usd / factor!r} {unit}", q.USD_PER_MTOK) == pytest.approx(usd, rel=1e-12)


@given(st.floats(1e-6, 1e6))
def test_dollars_for_an_hour_are_dollars_for_a_second(usd: float) -> None:
    """$/h to $/s and back, by the price and by the units of text."""
    row = make_row(Price(backend="a", usd_per_hour=usd))

    assert row.usd_per_s * 3600.0 == pytest.approx(usd, rel=1e-12)
    assert q.parse_quantity(f"{row.usd_per_s!r} USD/s", q.USD_PER_HOUR) == pytest.approx(usd, rel=1e-12)


@given(st.floats(0.0, 1e4))
def test_a_kilowatt_hour_is_three_million_six_hundred_thousand_joules(amount: float) -> None:
    """$/kWh to $/J, and g/kWh to g/J, and back."""
    row = make_row(Price(backend="a", usd_per_hour=1.0, electricity_usd_per_kwh=amount))
    grid = Grid()
    grid.set(amount)

    assert row.usd_per_joule * JOULES_PER_KWH == pytest.approx(amount, rel=1e-12)
    assert grid.g_per_joule * 1000.0 * 3600.0 == pytest.approx(amount, rel=1e-12)


def test_every_amount_of_a_row_is_one_of_a_price() -> None:
    """A row has the amounts of a price per token and no others."""
    assert set(AMOUNTS) < set(Price.__slots__)
