"""Dollars per million tokens of each backend, as gauges: set when somebody looks, of backends that have had tokens."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

BASES = ("blended", "full", "paid", "amortised")


class PriceMetrics:
    """`basis` is one of four: see docs/prices.md."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._usd_per_mtok = Gauge(
            "router_usd_per_mtok",
            "Dollars per million tokens: blended 3:1 now, at full load, paid and amortised over the last hour.",
            ["backend", "basis"],
            registry=registry,
        )
        self._utilisation = Gauge(
            "router_backend_utilisation", "Share of time with work.", ["backend"], registry=registry
        )
        self._g_per_kwh = Gauge(
            "router_grid_g_per_kwh", "Grams of CO2 equivalent a kWh now.", ["backend"], registry=registry
        )

    def set(self, backend: str, usd_per_mtok: dict[str, float | None], *, utilisation: float, g_per_kwh: float) -> None:
        """`usd_per_mtok` by basis; a basis of which nothing is known has no series."""
        for basis in BASES:
            amount = usd_per_mtok.get(basis)
            if amount is None:
                self._usd_per_mtok.remove_by_labels({"backend": backend, "basis": basis})
            else:
                self._usd_per_mtok.labels(backend, basis).set(amount)
        self._utilisation.labels(backend).set(utilisation)
        self._g_per_kwh.labels(backend).set(g_per_kwh)

    def forget(self, backend: str) -> None:
        for metric in (self._usd_per_mtok, self._utilisation, self._g_per_kwh):
            metric.remove_by_labels({"backend": backend})
