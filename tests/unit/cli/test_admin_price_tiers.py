"""`admin prices set` and `list`: rows of service tiers and long prompts, and spot capacity."""

from __future__ import annotations

from typing import Any

from router.v1 import admin_pb2

HOSTED = ("admin", "prices", "set", "h100", "--input", "1", "--output", "2", "--replace", "--yes")


def test_rows_are_sent_as_they_were_given(admin_router: Any, admin: Any) -> None:
    """A service by its factor, long prompts by their amounts."""
    result = admin_router.run(*HOSTED, "--tier", "flex x0.5", "--tier", ">200000 input=2 output=3")

    assert result.exit_code == 0, result.stderr
    sent = admin.requests[-1].price
    assert list(sent.tiers) == [
        admin_pb2.PriceTier(service="flex", factor=0.5),
        admin_pb2.PriceTier(above_tokens=200_000, factor=1.0, input_usd_per_mtok=2.0, output_usd_per_mtok=3.0),
    ]


def test_spot_capacity_has_its_odds_and_its_price(admin_router: Any, admin: Any) -> None:
    """Preemptions an hour and what a restart costs go with the price."""
    admin_router.run(
        *("admin", "prices", "set", "h100", "--per-hour", "2", "--replace", "--yes", "--spot"),
        *("--preemptions", "0.2", "--restart", "0.001"),
    )

    sent = admin.requests[-1].price
    assert (sent.spot, sent.preemptions_per_hour, sent.restart_usd) == (True, 0.2, 0.001)


def test_a_row_that_means_nothing_is_wrong_usage(admin_router: Any, admin: Any) -> None:
    """Said before anything is sent."""
    result = admin_router.run(*HOSTED, "--tier", "flex")

    assert result.exit_code == 2
    assert "changes nothing" in result.stderr
    assert admin.requests == []


def test_a_listed_price_shows_its_rows(admin_router: Any, admin: Any) -> None:
    """As the lines that --tier takes."""
    price = admin_pb2.Price(backend="api", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0, preemptions_per_hour=0.5)
    price.tiers.add(service="flex", factor=0.5)
    admin.prices = [admin_pb2.PriceEntry(price=price, in_force=True, factor_now=1.0)]

    shown = " ".join(admin_router.run("admin", "prices", "list").stdout.split())

    assert "flex x0.5" in shown
    assert "0.5 preemptions/h" in shown
