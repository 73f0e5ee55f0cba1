"""Price messages to domain values and back. The rules are those of prices.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from router.api.wire.checks import Checks
from router.api.wire.times import timestamp, unix_of
from router.domain.fleet import Backend
from router.domain.price_rules import contradictions
from router.domain.price_tiers import AMOUNTS as TIER_AMOUNTS
from router.domain.price_tiers import MAX_TIERS, PriceTier
from router.domain.pricing import MAX_WINDOWS, Price, PriceBook, Source, Window
from router.v1 import admin_pb2 as pb

_DEFAULT = Price(backend="")
_SOURCES: Mapping[Source, pb.PriceSource] = {
    Source.CATALOGUE: pb.PRICE_SOURCE_CATALOGUE,
    Source.CONFIG: pb.PRICE_SOURCE_CONFIG,
    Source.FEED: pb.PRICE_SOURCE_FEED,
    Source.ADMIN: pb.PRICE_SOURCE_ADMIN,
}


def decode_price(message: pb.Price, backends: Mapping[str, Backend]) -> Price:
    """The price that a message describes, as an administrator's.

    Raises:
        InvalidRequest: with every field that breaks a rule; `backends` tells which models are served.
    """
    checks = Checks()
    checks.text("price.backend", message.backend, required=True)
    electricity = _amount(checks, message, "electricity_usd_per_kwh")
    windows: tuple[Window, ...] = ()
    if checks.count("price.schedule", len(message.schedule), MAX_WINDOWS):
        windows = tuple(_window(checks, window, n) for n, window in enumerate(message.schedule))
    tiers: tuple[PriceTier, ...] = ()
    if checks.count("price.tiers", len(message.tiers), MAX_TIERS):
        tiers = tuple(decode_tier(checks, tier, n) for n, tier in enumerate(message.tiers))
    price = Price(
        backend=message.backend,
        model=checks.text("price.model", message.model),
        input_usd_per_mtok=_amount(checks, message, "input_usd_per_mtok"),
        cached_input_usd_per_mtok=_amount(checks, message, "cached_input_usd_per_mtok"),
        cache_write_usd_per_mtok=_amount(checks, message, "cache_write_usd_per_mtok"),
        output_usd_per_mtok=_amount(checks, message, "output_usd_per_mtok"),
        request_usd=_amount(checks, message, "request_usd"),
        usd_per_hour=_amount(checks, message, "usd_per_hour"),
        elastic_fraction=_share(checks, message, "elastic_fraction", _DEFAULT.elastic_fraction),
        electricity_usd_per_kwh=_DEFAULT.electricity_usd_per_kwh if electricity is None else electricity,
        batch_discount=_share(checks, message, "batch_discount", _DEFAULT.batch_discount),
        source=checks.text("price.source", message.source) or "admin",
        source_kind=Source.ADMIN,
        spot=message.spot,
        tiers=tiers,
        preemptions_per_hour=_amount(checks, message, "preemptions_per_hour") or 0.0,
        restart_usd=_amount(checks, message, "restart_usd") or 0.0,
        schedule=windows,
        effective_at=_moment(checks, message, "effective_at"),
        expires_at=_moment(checks, message, "expires_at"),
    )
    _check_whole(checks, price, backends.get(price.backend))
    checks.raise_any()
    return price


def encode_price(
    book: PriceBook, price: Price, *, now: float, feed_max_age_s: Mapping[str, float] | None = None
) -> pb.PriceEntry:
    """A price of a book as it is at this time. The price of a feed that nobody runs any more is stale."""
    message = pb.Price(
        backend=price.backend,
        model=price.model,
        input_usd_per_mtok=price.input_usd_per_mtok,
        cached_input_usd_per_mtok=price.cached_input_usd_per_mtok,
        cache_write_usd_per_mtok=price.cache_write_usd_per_mtok,
        output_usd_per_mtok=price.output_usd_per_mtok,
        request_usd=price.request_usd,
        usd_per_hour=price.usd_per_hour,
        elastic_fraction=price.elastic_fraction,
        electricity_usd_per_kwh=price.electricity_usd_per_kwh,
        batch_discount=price.batch_discount,
        source=price.source,
        effective_at=timestamp(price.effective_at),
        expires_at=timestamp(price.expires_at),
        spot=price.spot,
        tiers=map(encode_tier, price.tiers),
        preemptions_per_hour=price.preemptions_per_hour or None,
        restart_usd=price.restart_usd or None,
        schedule=[
            pb.PriceWindow(
                start_minute=window.start_minute,
                end_minute=window.end_minute,
                factor=window.factor,
                days=window.days,
                zone=window.zone,
            )
            for window in price.schedule
        ],
    )
    age_s = max(0.0, now - (price.checked_at or book.changed_at or now))
    allowed_s = (feed_max_age_s or {}).get(price.feed, 0.0)
    return pb.PriceEntry(
        price=message,
        version=book.version,
        changed_at=timestamp(book.changed_at or None),
        source_kind=_SOURCES[price.source_kind],
        feed=price.feed,
        in_force=price == book.listed_at(now),
        factor_now=price.factor_at(now),
        checked_at=timestamp(price.checked_at),
        age_s=age_s,
        stale=bool(price.feed) and age_s > allowed_s,
        held=price.held,
    )


def encode_tier(tier: PriceTier) -> pb.PriceTier:
    return pb.PriceTier(
        service=tier.service,
        above_tokens=tier.above_tokens,
        factor=tier.factor,
        **{name: getattr(tier, name) for name in TIER_AMOUNTS},
    )


def decode_tier(checks: Checks, message: pb.PriceTier, index: int) -> PriceTier:
    """The row that a message describes; what is wrong with its numbers, `contradictions` says."""
    return PriceTier(
        service=checks.text(f"price.tiers[{index}].service", message.service),
        above_tokens=message.above_tokens,
        factor=message.factor if message.HasField("factor") else 1.0,
        **{name: getattr(message, name) if message.HasField(name) else None for name in TIER_AMOUNTS},
    )


def _window(checks: Checks, message: pb.PriceWindow, index: int) -> Window:
    zone = checks.text(f"price.schedule[{index}].zone", message.zone)
    return Window(
        start_minute=message.start_minute,
        end_minute=message.end_minute,
        factor=message.factor,
        # More than a week's days cannot all differ: what is left out does not save the rest.
        days=tuple(sorted(message.days[:8])),
        zone=zone or "UTC",
    )


def _amount(checks: Checks, message: pb.Price, name: str) -> float | None:
    if not message.HasField(name):
        return None
    return checks.number(f"price.{name}", getattr(message, name), low=0.0)


def _share(checks: Checks, message: pb.Price, name: str, default: float) -> float:
    if not message.HasField(name):
        return default
    value: float = getattr(message, name)
    checks.number(f"price.{name}", value, low=0.0, high=1.0)
    return value


def _check_whole(checks: Checks, price: Price, backend: Backend | None) -> None:
    """The rules that hold between fields; those of prices.yaml."""
    for field, what in contradictions(price):
        checks.add(f"price.{field}" if field else "price", what)
    if price.model and backend is not None and price.model not in {served.model for served in backend.models}:
        checks.add("price.model", f"backend '{backend.id}' does not serve '{price.model}'")


def _moment(checks: Checks, message: pb.Price, name: str) -> float | None:
    return unix_of(checks, f"price.{name}", getattr(message, name)) if message.HasField(name) else None
