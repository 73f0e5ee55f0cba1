"""What people watch, as messages."""

from __future__ import annotations

import math

from router.api.wire.admin import HEALTH_NUMBERS
from router.api.wire.times import timestamp
from router.dispatch.overview import BackendView
from router.dispatch.recent import Recorded
from router.domain.decision import HardwareLabel
from router.domain.price_feed import FeedReport
from router.domain.pricing import Price
from router.domain.replica import Replica
from router.v1 import common_pb2 as common
from router.v1 import fleet_pb2 as pb


def encode_view(view: BackendView) -> pb.BackendOverview:
    backend, rates, load = view.backend, view.rates, view.load
    return pb.BackendOverview(
        id=backend.id,
        hardware=_hardware(view.hardware),
        region=backend.region,
        health=HEALTH_NUMBERS[view.health.state],
        health_reason=view.health.reason,
        health_since=timestamp(view.health.since or None),
        health_evidence=view.health.evidence,
        drained=backend.drained,
        in_flight=view.in_flight,
        max_concurrency=backend.max_concurrency,
        running=load.running,
        waiting=load.waiting,
        kv_cache_usage=load.kv_cache_usage,
        ttft_predicted_s=rates.ttft_predicted_s,
        ttft_actual_s=rates.ttft_actual_s,
        tpot_predicted_s=rates.tpot_predicted_s,
        tpot_actual_s=rates.tpot_actual_s,
        usd_per_mtok_blended=view.usd_per_mtok,
        price=price_in_words(view.price),
        price_source=view.price.source_kind.name.lower() if view.price is not None else "",
        share=view.share,
        requests_per_s=rates.requests_per_s,
        tokens_per_s=rates.tokens_per_s,
        usd_per_hour=rates.usd_per_hour,
        failure_rate=rates.failure_rate,
        models=[served.model for served in backend.models],
    )


def encode_recorded(recorded: Recorded) -> pb.RecentDecision:
    profile, decision = recorded.profile, recorded.decision
    return pb.RecentDecision(
        at=timestamp(recorded.at),
        request_id=decision.id,
        tenant=profile.tenant,
        model=profile.model,
        workload_class=decision.workload_class,
        backend=recorded.backend,
        result=recorded.result,
        ttft_predicted_s=recorded.ttft_predicted_s or 0.0,
        ttft_actual_s=recorded.ttft_actual_s,
        cost_usd=recorded.cost_usd,
        attempts=recorded.attempts,
        candidates=recorded.candidates,
    )


def encode_replica(replica: Replica, *, own: str) -> pb.Replica:
    beat = replica.beat
    return pb.Replica(
        id=replica.id,
        fleet_version=beat.fleet_version,
        in_flight=beat.requests_in_flight,
        age_s=replica.age_s,
        started_at=timestamp(beat.started_at or None),
        leases=beat.probes,
        self=replica.id == own,
    )


def price_in_words(price: Price | None) -> str:
    """As in "$2.50 / $10.00 per Mtok" or "$11.80 per hour"; "" when nobody knows it."""
    if price is None or not price.known:
        return ""
    parts = []
    if price.usd_per_hour is not None:
        parts.append(f"${_short(price.usd_per_hour)} per hour")
    if price.output_usd_per_mtok is not None:
        parts.append(f"${_short(price.input_usd_per_mtok or 0.0)} / ${_short(price.output_usd_per_mtok)} per Mtok")
    if price.request_usd is not None:
        parts.append(f"${_short(price.request_usd)} per request")
    return ", ".join(parts)


def encode_feed(report: FeedReport) -> pb.Feed:
    settings, status = report.settings, report.status
    return pb.Feed(
        name=settings.name,
        kind=settings.kind.value,
        state=report.state.value,
        last_good_at=timestamp(status.last_good_at),
        interval_s=settings.interval_s,
        max_age_s=settings.max_age_s,
        prices=status.prices,
        refused=status.refused,
        last_error=status.last_error,
        owner=status.owner,
    )


def _short(amount: float) -> str:
    """Cents; below ten cents three significant digits, never an exponent."""
    if amount >= 0.1 or amount <= 0.0:
        return f"{amount:,.2f}"
    digits = 2 - math.floor(math.log10(amount))
    return f"{amount:.{digits}f}".rstrip("0")


def _hardware(label: HardwareLabel) -> common.Hardware:
    return common.Hardware(id=label.id, name=label.name, count=label.count, emulated=label.emulated)
