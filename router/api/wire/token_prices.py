"""What a million tokens cost, as messages."""

from __future__ import annotations

from router.api.wire.fleet import price_in_words
from router.api.wire.times import timestamp
from router.dispatch.price_board import PriceLine
from router.dispatch.token_prices import Point
from router.v1 import common_pb2 as common
from router.v1 import fleet_pb2 as pb


def encode_line(line: PriceLine, *, unix_offset_s: float) -> pb.TokenPrice:
    """One backend; `unix_offset_s` is Unix time less the clock that the history is told by."""
    label, hour, site = line.hardware, line.hour, line.site
    return pb.TokenPrice(
        backend=line.backend,
        hardware=common.Hardware(id=label.id, name=label.name, count=label.count, emulated=label.emulated),
        price=price_in_words(line.price),
        usd_per_mtok_blended=line.blended,
        usd_per_mtok_full=line.full,
        usd_per_mtok_paid=hour.usd_per_mtok,
        usd_per_mtok_amortised=hour.usd_per_mtok_amortised,
        input_tokens=round(hour.input_tokens),
        output_tokens=round(hour.output_tokens),
        usd=hour.usd,
        usd_amortised=hour.usd_amortised,
        trend=line.trend,
        utilisation=line.utilisation,
        g_per_kwh=line.g_per_kwh,
        grid_known=site.known,
        grid_source=site.source,
        history=[_point(point, unix_offset_s) for point in line.history],
    )


def _point(point: Point, unix_offset_s: float) -> pb.TokenPricePoint:
    return pb.TokenPricePoint(
        at=timestamp(point.at + unix_offset_s),
        seconds=point.seconds,
        input_tokens=round(point.spent.input_tokens),
        output_tokens=round(point.spent.output_tokens),
        usd=point.spent.usd,
        usd_amortised=point.spent.usd_amortised,
    )
