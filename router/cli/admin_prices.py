"""`admin prices`: list, set and clear."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from router.cli.admin_backends import expected_version_option
from router.cli.options import quantity_option
from router.cli.rpc import ADMIN_TIMEOUT_S, admin_address_option, admin_stub, connected, json_option
from router.cli.show import enum_name, print_message, print_table
from router.clock import SystemClock
from router.domain.price_rules import AMOUNTS
from router.domain.price_tiers import AMOUNTS as TIER_AMOUNTS
from router.domain.price_tiers import PriceTier
from router.domain.pricing import Window
from router.settings import quantity as q
from router.settings.price_tiers import parse_tier, tier_text
from router.settings.price_windows import parse_window, window_text
from router.settings.prices import unix_of
from router.v1 import admin_pb2
from router.v1.admin_pb2_grpc import AdminServiceStub

FIELDS = (
    *AMOUNTS,
    "elastic_fraction",
    "electricity_usd_per_kwh",
    "batch_discount",
    "preemptions_per_hour",
    "restart_usd",
)
# A change by more than this is asked about: a slip of the decimal point costs more than the question.
ASK_BEYOND = 100.0

_PER_MTOK = quantity_option(q.USD_PER_MTOK)
_USD = quantity_option(q.USD)
_PER_HOUR = quantity_option(q.USD_PER_HOUR)
_PER_KWH = quantity_option(q.USD_PER_KWH)
_SHARE = click.FloatRange(0, 1)


def _checked(convert: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that converts text, one or several, and turns a ValueError into wrong usage."""

    def callback(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return [convert(text) for text in value]
            return None if value is None else convert(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _moment(text: str) -> float:
    """Unix seconds of "2026-12-01" or "2026-12-01T06:00:00+01:00", or of "+2 h", from now."""
    if text.startswith("+"):
        return SystemClock().time() + q.parse_quantity(text[1:], q.SECONDS)
    unix = unix_of(text)
    assert unix is not None  # noqa: S101 - text is never None
    return unix


_MOMENT: dict[str, Any] = {"callback": _checked(_moment), "metavar": "TIME"}


@click.group()
def prices() -> None:
    """What backends cost."""


@prices.command("list")
@click.argument("backend", default="")
@click.option("--all", "every", is_flag=True, help="Also planned prices, and those that another source outranks.")
@admin_address_option
@json_option
def list_prices(*, backend: str, every: bool, address: str, as_json: bool) -> None:
    """Lists the prices that hold now, or those of one BACKEND, with their source and age."""
    with connected(address, as_json=as_json) as channel:
        request = admin_pb2.ListPricesRequest(backend=backend, all=every)
        response = admin_stub(channel).ListPrices(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    print_table(
        f"Prices, fleet version {response.fleet_version}",
        ["backend", "model", "version", "price now", "terms", "holds", "source", "age", "from"],
        [_row(entry) for entry in response.prices],
        right="version,age",
    )


def _row(entry: admin_pb2.PriceEntry) -> list[object]:
    price = entry.price
    kind = enum_name(admin_pb2.PriceSource.Name(entry.source_kind), "PRICE_SOURCE_")
    return [
        price.backend,
        price.model or "(all)",
        entry.version,
        _amounts(entry),
        _terms(price),
        _holds(entry),
        f"{kind} {entry.feed}".strip(),
        _age(entry.age_s),
        price.source,
    ]


def _amounts(entry: admin_pb2.PriceEntry) -> str:
    """What is charged at this time of day, the schedule applied; what is not charged this way is a dash."""
    price = entry.price
    factor = entry.factor_now or 1.0

    def amount(name: str) -> str:
        return f"${getattr(price, name) * factor:g}" if price.HasField(name) else "-"

    parts = []
    if price.HasField("usd_per_hour"):
        parts.append(f"{amount('usd_per_hour')}/h")
    if price.HasField("input_usd_per_mtok") or price.HasField("output_usd_per_mtok"):
        parts.append(f"{amount('input_usd_per_mtok')} / {amount('output_usd_per_mtok')} per Mtok")
    if price.HasField("cached_input_usd_per_mtok"):
        parts.append(f"cached {amount('cached_input_usd_per_mtok')}")
    if price.HasField("cache_write_usd_per_mtok"):
        parts.append(f"cache write {amount('cache_write_usd_per_mtok')}")
    if price.HasField("request_usd"):
        parts.append(f"{amount('request_usd')}/request")
    if entry.factor_now not in {0.0, 1.0}:
        parts.append(f"(x{entry.factor_now:g} now)")
    return ", ".join(parts) or "-"


def _terms(price: admin_pb2.Price) -> str:
    parts = []
    if price.HasField("usd_per_hour") and price.HasField("elastic_fraction"):
        parts.append(f"elastic {price.elastic_fraction:g}")
    if price.HasField("electricity_usd_per_kwh") and price.HasField("usd_per_hour"):
        parts.append(f"${price.electricity_usd_per_kwh:g}/kWh")
    if price.batch_discount:
        parts.append(f"batch -{price.batch_discount:.0%}")
    parts += [tier_text(plain_tier(tier)) for tier in price.tiers]
    if price.spot:
        parts.append("spot")
    if price.preemptions_per_hour:
        parts.append(f"{price.preemptions_per_hour:g} preemptions/h")
    if price.restart_usd:
        parts.append(f"${price.restart_usd:g}/restart")
    parts += [window_text(_window(window)) for window in price.schedule]
    return "; ".join(parts) or "-"


def _holds(entry: admin_pb2.PriceEntry) -> str:
    """Whether it decides, when it begins or ends, and what is wrong with it."""
    price = entry.price
    parts = ["now" if entry.in_force else "no"]
    if price.HasField("effective_at"):
        parts.append(f"from {_when(price.effective_at)}")
    if price.HasField("expires_at"):
        parts.append(f"until {_when(price.expires_at)}")
    if entry.stale:
        parts.append("STALE")
    if entry.held:
        parts.append(f"HELD {entry.held}")
    return ", ".join(parts)


def _when(moment: Timestamp) -> str:
    return datetime.fromtimestamp(moment.seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def _age(age_s: float) -> str:
    for unit, seconds in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if age_s >= 2.0 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.0f} s"


def plain_tier(message: admin_pb2.PriceTier) -> PriceTier:
    return PriceTier(
        service=message.service,
        above_tokens=message.above_tokens,
        factor=message.factor if message.HasField("factor") else 1.0,
        **{name: getattr(message, name) if message.HasField(name) else None for name in TIER_AMOUNTS},
    )


def tier_message(tier: PriceTier) -> admin_pb2.PriceTier:
    return admin_pb2.PriceTier(
        service=tier.service,
        above_tokens=tier.above_tokens,
        factor=tier.factor,
        **{name: getattr(tier, name) for name in TIER_AMOUNTS},
    )


def _window(message: admin_pb2.PriceWindow) -> Window:
    return Window(
        start_minute=message.start_minute,
        end_minute=message.end_minute,
        factor=message.factor,
        days=tuple(message.days),
        zone=message.zone or "UTC",
    )


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
@click.option("--effective", **_MOMENT, help='From when it holds: "2026-12-01", or "+2 h" from now. Default: at once.')
@click.option("--expires", **_MOMENT, help="Until when it holds; then the price before it comes back.")
@click.option(
    "--schedule",
    multiple=True,
    callback=_checked(parse_window),
    metavar="WINDOW",
    help='A time of day with a factor: "mon-fri 18:00-08:00 Europe/Berlin x0.5". May be given again.',
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    callback=_checked(parse_tier),
    metavar="ROW",
    help='A row of a service or of long prompts: "flex x0.5", ">200000 input=2.5 output=15". May be given again.',
)
@click.option("--no-tiers", is_flag=True, help="One row for every service and length.")
@click.option("--preemptions", "preemptions_per_hour", type=click.FloatRange(min=0), help="An hour, of spot capacity.")
@click.option("--restart", "restart_usd", **_USD, help="Dollars of each, beyond doing the request again.")
@click.option("--no-schedule", is_flag=True, help="The same price all day.")
@click.option("--spot/--no-spot", default=None, help="It may change at any time, and the capacity may be taken away.")
@click.option("--source", help="Where the price is from.")
@click.option("--replace", is_flag=True, help="Forget what the price was, instead of changing what is given.")
@click.option("--yes", is_flag=True, help=f"Do not ask about a change by more than {ASK_BEYOND:g} times.")
@expected_version_option
@admin_address_option
@json_option
def set_price(
    *, backend: str, model: str, effective: float | None, expires: float | None, schedule: list[Window],
    no_schedule: bool, tiers: list[PriceTier], no_tiers: bool, spot: bool | None, source: str | None, replace: bool,
    yes: bool, expected_version: int | None,
    address: str, as_json: bool, **amounts: Any
) -> None:  # fmt: skip
    """Sets the price of a BACKEND by hand, or changes the parts of it that are given. It outranks all others."""
    given = {name: amounts[name] for name in FIELDS if amounts[name] is not None}
    if not (given or schedule or no_schedule or tiers or no_tiers) and spot is None:
        raise click.UsageError("give at least one price, --tier, --schedule or --spot")
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        holds, version = _current(stub, backend, model)
        price = admin_pb2.Price(backend=backend, model=model)
        if holds is not None and not replace:
            price.MergeFrom(holds.price)
            price.ClearField("effective_at")
            price.ClearField("expires_at")
        price.source = source or "admin"
        for name, value in given.items():
            setattr(price, name, value)
        if schedule or no_schedule:
            del price.schedule[:]
            price.schedule.extend(_window_message(window) for window in schedule)
        if tiers or no_tiers:
            del price.tiers[:]
            price.tiers.extend(map(tier_message, tiers))
        if spot is not None:
            price.spot = spot
        for name, unix in (("effective_at", effective), ("expires_at", expires)):
            if unix is not None:
                getattr(price, name).FromMicroseconds(round(unix * 1e6))
        if holds is not None and not yes:
            _ask_about_jumps(holds.price, price)
        if expected_version is None:
            expected_version = version
            click.echo(f"{backend}: expecting the price's current version, {version}", err=True)
        request = admin_pb2.SetPriceRequest(price=price, expected_version=expected_version)
        response = stub.SetPrice(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    what = f"{backend} {model}".strip()
    click.echo(f"price of {what} set, version {response.entry.version}; fleet version {response.fleet_version}")


@prices.command("clear")
@click.argument("backend")
@click.option("--model", default="", help="Of one model of the backend. Default: that of all.")
@expected_version_option
@admin_address_option
@json_option
def clear_price(*, backend: str, model: str, expected_version: int | None, address: str, as_json: bool) -> None:
    """Takes back the prices of a BACKEND that were set by hand, planned ones too; other sources decide again."""
    with connected(address, as_json=as_json) as channel:
        stub = admin_stub(channel)
        if expected_version is None:
            _, expected_version = _current(stub, backend, model)
            click.echo(f"{backend}: expecting the price's current version, {expected_version}", err=True)
        request = admin_pb2.ClearPriceRequest(backend=backend, model=model, expected_version=expected_version)
        response = stub.ClearPrice(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    what = f"{backend} {model}".strip()
    now = _amounts(response.entry) if response.HasField("entry") else "unknown: no other source has one"
    click.echo(f"price of {what} cleared; it is now {now}; fleet version {response.fleet_version}")


def _current(stub: AdminServiceStub, backend: str, model: str) -> tuple[admin_pb2.PriceEntry | None, int]:
    """The price that holds, and the version of all prices of that backend and model; 0 where there are none."""
    response = stub.ListPrices(admin_pb2.ListPricesRequest(backend=backend, all=True), timeout=ADMIN_TIMEOUT_S)
    entries = [entry for entry in response.prices if (entry.price.backend, entry.price.model) == (backend, model)]
    holds = next((entry for entry in entries if entry.in_force), None)
    return holds, max((entry.version for entry in entries), default=0)


def _ask_about_jumps(old: admin_pb2.Price, new: admin_pb2.Price) -> None:
    for name in AMOUNTS:
        if not (old.HasField(name) and new.HasField(name)):
            continue
        before, after = getattr(old, name), getattr(new, name)
        if before > 0.0 and not before / ASK_BEYOND <= after <= before * ASK_BEYOND:
            click.confirm(f"{name} goes from {before:g} to {after:g}. Is that meant?", abort=True, err=True)


def _window_message(window: Window) -> admin_pb2.PriceWindow:
    return admin_pb2.PriceWindow(
        start_minute=window.start_minute,
        end_minute=window.end_minute,
        factor=window.factor,
        days=window.days,
        zone=window.zone,
    )
