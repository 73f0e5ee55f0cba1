"""`admin prices`: list and set."""

from __future__ import annotations

from typing import Any

import click

from router.cli.admin_backends import expected_version_option
from router.cli.options import quantity_option
from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, admin_stub, connected, json_option
from router.cli.show import print_message, print_table
from router.settings import quantity as q
from router.v1 import admin_pb2
from router.v1.admin_pb2_grpc import AdminServiceStub

FIELDS = (
    "input_usd_per_mtok",
    "cached_input_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
    "request_usd",
    "usd_per_hour",
    "elastic_fraction",
    "electricity_usd_per_kwh",
    "batch_discount",
)


_PER_MTOK = quantity_option(q.USD_PER_MTOK)
_USD = quantity_option(q.USD)
_PER_HOUR = quantity_option(q.USD_PER_HOUR)
_PER_KWH = quantity_option(q.USD_PER_KWH)
_SHARE = click.FloatRange(0, 1)


@click.group()
def prices() -> None:
    """What backends cost."""


@prices.command("list")
@click.argument("backend", default="")
@admin_address_option
@json_option
def list_prices(*, backend: str, address: str, as_json: bool) -> None:
    """Lists every price, or those of one BACKEND."""
    with connected(address, as_json=as_json) as channel:
        request = admin_pb2.ListPricesRequest(backend=backend)
        response = admin_stub(channel).ListPrices(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    numbers = ["input $/Mtok", "cached", "output", "$/h", "elastic", "$/kWh"]
    print_table(
        f"Prices, fleet version {response.fleet_version}",
        ["backend", "model", "version", *numbers, "source"],
        [_row(entry) for entry in response.prices],
        right=",".join(["version", *numbers]),
    )


def _row(entry: admin_pb2.PriceEntry) -> list[object]:
    price = entry.price
    shown = (
        "input_usd_per_mtok",
        "cached_input_usd_per_mtok",
        "output_usd_per_mtok",
        "usd_per_hour",
        "elastic_fraction",
        "electricity_usd_per_kwh",
    )
    return [
        price.backend,
        price.model or "(all)",
        entry.version,
        *(_number(price, name) for name in shown),
        price.source,
    ]


def _number(price: admin_pb2.Price, name: str) -> str:
    return f"{getattr(price, name):g}" if price.HasField(name) else "-"


@prices.command("set")
@click.argument("backend")
@click.option("--model", default="", help="Of one model of the backend. Default: of all.")
@click.option("--input", "input_usd_per_mtok", **_PER_MTOK, help="Dollars per million input tokens.")
@click.option("--cached-input", "cached_input_usd_per_mtok", **_PER_MTOK)
@click.option("--cache-write", "cache_write_usd_per_mtok", **_PER_MTOK)
@click.option("--output", "output_usd_per_mtok", **_PER_MTOK, help="Dollars per million output tokens.")
@click.option("--request", "request_usd", **_USD, help="Dollars per request.")
@click.option("--per-hour", "usd_per_hour", **_PER_HOUR, help="Dollars per hour of one replica.")
@click.option("--elastic-fraction", type=_SHARE, help="Share of it that more traffic adds.")
@click.option("--electricity", "electricity_usd_per_kwh", **_PER_KWH, help="Dollars per kWh.")
@click.option("--batch-discount", type=_SHARE)
@click.option("--source", help="Where the price is from.")
@click.option("--replace", is_flag=True, help="Forget what the price was, instead of changing what is given.")
@expected_version_option
@admin_address_option
@json_option
def set_price(
    *, backend: str, model: str, source: str | None, replace: bool, expected_version: int | None, address: str,
    as_json: bool, **amounts: Any
) -> None:  # fmt: skip
    """Sets the price of a BACKEND, or changes the parts of it that are given."""
    given = {name: amounts[name] for name in FIELDS if amounts[name] is not None}
    if not given:
        raise click.UsageError("give at least one price")
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        current = _current(stub, backend, model)
        price = admin_pb2.Price(backend=backend, model=model, source=source or "admin")
        if current is not None and not replace:
            price.MergeFrom(current.price)
            price.source = source or "admin"
        for name, value in given.items():
            setattr(price, name, value)
        version = expected_version
        if version is None:
            version = current.version if current is not None else 0
            click.echo(f"{backend}: expecting the price's current version, {version}", err=True)
        request = admin_pb2.SetPriceRequest(price=price, expected_version=version)
        response = stub.SetPrice(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
    else:
        what = f"{backend} {model}".strip()
        click.echo(f"price of {what} set, version {response.entry.version}; fleet version {response.fleet_version}")


def _current(stub: AdminServiceStub, backend: str, model: str) -> admin_pb2.PriceEntry | None:
    response = stub.ListPrices(admin_pb2.ListPricesRequest(backend=backend), timeout=ADMIN_TIMEOUT_S)
    return next((e for e in response.prices if (e.price.backend, e.price.model) == (backend, model)), None)
