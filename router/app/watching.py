"""What this process says of itself: readiness, the gauges of its metrics, and what an operator should read."""

from __future__ import annotations

from collections.abc import Iterable

from router.api.fleet_service import bounded
from router.app.core import Core
from router.app.shared import Shared
from router.clock import Clock, SystemClock
from router.domain.pricing import Price
from router.state.view import FleetView, StoreMode

# More than this is a clock that somebody should set.
CLOCK_ERROR_S = 1.0
STORE_NOTICES = {
    StoreMode.EMPTY: "the state store has not answered yet, and nothing is on disk: there is no fleet to serve with",
    StoreMode.AWAY: "the state store is away: nothing can be changed, requests go on",
    StoreMode.REBUILDING: "the state store has lost data, which is being put back: requests go on",
    StoreMode.FROM_DISK: "the state store has not answered since the start: requests go on with the fleet on disk",
}


class Watching:
    """Reads what others keep; `clock` is the one that all replicas share, `own` this machine's."""

    def __init__(self, core: Core, shared: Shared, view: FleetView, clock: Clock, own: Clock | None = None) -> None:
        self._core = core
        self._shared = shared
        self._view = view
        self._clock = clock
        self._own = own or SystemClock()

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether requests are taken, and what an operator who asks wants to know."""
        now = self._clock.monotonic()
        age = self._view.age_s(now)
        director = self._core.director
        return director.ready and self._view.loaded, {
            "snapshot_version": self._core.fleet.version,
            "snapshot_age_s": round(age, 3) if age < 1e9 else None,
            "store": self._view.mode.value,
            "store_for_s": round(self._view.mode_age_s(now), 3),
            "backends": len(self._core.fleet.members),
            "replicas": self._shared.peers.count,
            "draining": director.draining,
            "in_flight": director.in_flight,
        }

    def metrics(self) -> tuple[bytes, str]:
        """The exposition text and its type."""
        return self._core.metrics.render(self._refresh), self._core.metrics.content_type

    def notices(self) -> Iterable[str]:
        """What is not as it should be, beside backends and replicas."""
        problem = STORE_NOTICES.get(self._view.mode)
        if problem is not None:
            yield problem
        if not self._shared.meter.durable:
            yield "usage is counted in memory only: the journal cannot be written"
        now = self._clock.time()
        ahead = self._own.time() - now
        if abs(ahead) > CLOCK_ERROR_S:
            yield f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0.0 else 'behind'} the store's"
        held = (
            f"price of {_name(price)} is held, a newer quote was not believed: {price.held}"
            for book in self._view.snapshot.prices.values()
            for price in book.prices
            if price.held and price.holds(now)
        )
        yield from bounded(list(held))

    def _refresh(self) -> None:
        metrics, shared, view = self._core.metrics, self._shared, self._view
        now = self._clock.monotonic()
        metrics.in_flight.set(self._core.director.in_flight)
        metrics.snapshot_version.set(self._core.fleet.version)
        metrics.snapshot_age.set(view.age_s(now))
        metrics.store_connected.set(1.0 if view.connected else 0.0)
        for mode in StoreMode:
            metrics.store_mode.labels(mode.value).set(1.0 if mode is view.mode else 0.0)
        metrics.replicas.set(shared.peers.count)
        metrics.leases.set(shared.leases.count)
        metrics.usage_durable.set(1.0 if shared.meter.durable else 0.0)
        metrics.usage_pending.set(shared.usage.pending)
        self._refresh_prices(now)

    def _refresh_prices(self, now: float) -> None:
        board, unix = self._core.overview.prices, self._clock.time()
        for backend in board.busy:
            if (line := board.line(backend, now=now, unix=unix)) is not None:
                self._core.metrics.prices.set(
                    backend,
                    {
                        "blended": line.blended,
                        "full": line.full,
                        "paid": line.hour.usd_per_mtok,
                        "amortised": line.hour.usd_per_mtok_amortised,
                    },
                    utilisation=line.utilisation,
                    g_per_kwh=line.g_per_kwh,
                )


def _name(price: Price) -> str:
    return f"{price.backend}/{price.model}" if price.model else price.backend
