"""The fleet as a person wants to see it: each backend's hardware, health, load, speed, price and share of traffic."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from router.dispatch.fleet import Fleet, Member
from router.dispatch.traffic import Rates, Traffic
from router.domain.decision import HardwareLabel
from router.domain.fleet import Backend, Health, HealthState, LiveLoad
from router.domain.pricing import Price
from router.domain.rows import Row, Shape
from router.prediction.predictor import forecast

# The request that a price per token is blended for: three input tokens to one output token.
REFERENCE_INPUT = 600.0
REFERENCE_OUTPUT = 200.0
REFERENCE = Shape(
    input_tokens=REFERENCE_INPUT,
    cached_tokens=0.0,
    max_output_tokens=REFERENCE_OUTPUT,
    expected_output_tokens=REFERENCE_OUTPUT,
    ttft_slo_s=float("inf"),
    tpot_slo_s=float("inf"),
    e2e_slo_s=float("inf"),
    probability=0.9,
    batch=False,
    quality_task="*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendView:
    """One backend as it is now; `share` is of the requests that this replica sent somewhere in the last minute.

    `usd_per_mtok`: what a token of the reference request costs here now, per million; None without a known price.
    `price` is the one that holds now.
    """

    backend: Backend
    hardware: HardwareLabel
    health: Health
    load: LiveLoad
    in_flight: float
    rates: Rates
    share: float
    price: Price | None
    usd_per_mtok: float | None


class Overview:
    """Reads what others keep; costs nothing while nobody looks."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        traffic: Traffic,
        load: Callable[[str], LiveLoad],
        agreed: Callable[[str], Health],
    ) -> None:
        self._fleet = fleet
        self._traffic = traffic
        self._load = load
        self._agreed = agreed

    @property
    def backend_count(self) -> int:
        return len(self._fleet.members)

    def busiest(self, limit: int, now: float) -> tuple[BackendView, ...]:
        """At most `limit` backends, those with most traffic first, then by id."""
        members = self._fleet.members
        rates = {name: self._traffic.rates(name, now) for name in members}
        total = sum(r.requests_per_s for r in rates.values())
        names = heapq.nsmallest(limit, members, key=lambda name: (-rates[name].requests_per_s, name))
        return tuple(self._view(members[name], rates[name], total) for name in names)

    def totals(self, now: float) -> tuple[float, float]:
        """(requests a second, dollars an hour) of this replica's last minute."""
        rates = [self._traffic.rates(name, now) for name in self._fleet.members]
        return sum(r.requests_per_s for r in rates), sum(r.usd_per_hour for r in rates)

    def _view(self, member: Member, rates: Rates, total: float) -> BackendView:
        backend = member.backend
        load = self._load(backend.id)
        health = load.health or self._agreed(backend.id)
        if backend.drained:
            health = Health(state=HealthState.DRAINING, reason="drained by an operator", since=health.since)
        rows = [row for served in backend.models if (row := self._fleet.row(backend.id, served.model)) is not None]
        price = next((row.price for row in rows if row.price is not None), None)
        return BackendView(
            backend=backend,
            hardware=self._fleet.label(backend),
            health=health,
            load=load,
            in_flight=member.live.routed(),
            rates=rates,
            share=rates.requests_per_s / total if total > 0.0 else 0.0,
            price=price,
            usd_per_mtok=_blended(rows),
        )


def _blended(rows: list[Row]) -> float | None:
    """Dollars per million tokens of the reference request on the cheapest model that the backend serves."""
    costs = [forecast(row, REFERENCE, REFERENCE_OUTPUT).cost_usd for row in rows if row.price_known]
    return min(costs) * 1e6 / (REFERENCE_INPUT + REFERENCE_OUTPUT) if costs else None
