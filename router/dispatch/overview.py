"""The fleet as a person wants to see it: each backend's hardware, health, load, speed, price and share of traffic."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from router.dispatch.fleet import Fleet, Member
from router.dispatch.price_board import PriceBoard, blended
from router.dispatch.traffic import IDLE, Rates, Traffic
from router.dispatch.turns import in_turns
from router.domain.decision import HardwareLabel
from router.domain.fleet import Backend, Health, HealthState, LiveLoad
from router.domain.pricing import Price


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """`backends`: those with most traffic first, then by id. `ejected`: by id, of the whole fleet.

    The sums are of this replica's last minute, over the whole fleet as well.
    """

    backends: tuple[BackendView, ...]
    backend_count: int
    requests_per_s: float
    usd_per_hour: float
    ejected: tuple[tuple[str, Health], ...]


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
        self.prices = PriceBoard(fleet=fleet, token_prices=traffic.token_prices)
        self._load = load
        self._agreed = agreed

    async def look(self, limit: int, now: float) -> Look:
        """The fleet, and at most `limit` of its backends in detail."""
        members = dict(self._fleet.members)
        rates: dict[str, Rates] = {}
        ejected = []
        async for name, member in in_turns(members.items()):
            if (lately := self._traffic.rates(name, now)) is not IDLE:
                rates[name] = lately
            if member.live.ejected or self._agreed(name).state is HealthState.EJECTED:
                health = self._health(member, self._load(name))
                if health.state is HealthState.EJECTED:
                    ejected.append((name, health))
        total = sum(r.requests_per_s for r in rates.values())
        names = heapq.nsmallest(limit, rates, key=lambda name: (-rates[name].requests_per_s, name))
        if len(names) < limit:
            names += heapq.nsmallest(limit - len(names), (name for name in members if name not in rates))
        views = [self._view(members[name], rates.get(name, IDLE), total) async for name in in_turns(names)]
        return Look(
            backends=tuple(views),
            backend_count=len(members),
            requests_per_s=total,
            usd_per_hour=sum(r.usd_per_hour for r in rates.values()),
            ejected=tuple(sorted(ejected, key=lambda one: one[0])),
        )

    def _health(self, member: Member, load: LiveLoad) -> Health:
        """What an operator has ordered, else what this replica sees, else what was agreed on."""
        health = load.health or self._agreed(member.backend.id)
        if member.backend.drained:
            return Health(state=HealthState.DRAINING, reason="drained by an operator", since=health.since)
        return health

    def _view(self, member: Member, rates: Rates, total: float) -> BackendView:
        backend = member.backend
        load = self._load(backend.id)
        rows = [row for served in backend.models if (row := self._fleet.row(backend.id, served.model)) is not None]
        price = next((row.price for row in rows if row.price is not None), None)
        return BackendView(
            backend=backend,
            hardware=self._fleet.label(backend),
            health=self._health(member, load),
            load=load,
            in_flight=member.live.routed(),
            rates=rates,
            share=rates.requests_per_s / total if total > 0.0 else 0.0,
            price=price,
            usd_per_mtok=blended(rows),
        )
