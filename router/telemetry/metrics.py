"""Prometheus metrics of one replica, in a registry of their own so that two routers can live in one process.

Label values come from the fleet and from closed sets, never from a caller: the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from router.domain.outcome import AttemptOutcome, Outcome
from router.telemetry.decision_metrics import DecisionMetrics
from router.telemetry.feed_metrics import FeedMetrics
from router.telemetry.price_metrics import PriceMetrics

TTFT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0)
TPOT_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512)
DECISION_BUCKETS = (10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3)
RATIO_BUCKETS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)


class Metrics:
    """Everything this replica counts. Seconds and dollars, as the names say."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._by_backend: dict[str, _BackendSeries] = {}
        self.requests = Counter("router_requests_total", "Finished requests.", ["result"], registry=self.registry)
        self.attempts = Counter(
            "router_attempts_total", "Attempts on backends.", ["backend", "result"], registry=self.registry
        )
        self.reroutes = Counter("router_reroutes_total", "Failovers.", ["backend", "reason"], registry=self.registry)
        self.tokens = Counter("router_tokens_total", "Tokens by kind.", ["backend", "kind"], registry=self.registry)
        self.cost = Counter("router_cost_usd_total", "Dollars, as routed on.", ["backend"], registry=self.registry)
        self.energy = Counter("router_energy_joules_total", "Estimated energy.", ["backend"], registry=self.registry)
        self.ttft = Histogram(
            "router_ttft_seconds", "Time to first token.", ["backend"], buckets=TTFT_BUCKETS, registry=self.registry
        )
        self.tpot = Histogram(
            "router_tpot_seconds", "Time per output token.", ["backend"], buckets=TPOT_BUCKETS, registry=self.registry
        )
        self.ttft_ratio = Histogram(
            "router_ttft_actual_over_predicted",
            "Actual over predicted time to first token.",
            ["backend"],
            buckets=RATIO_BUCKETS,
            registry=self.registry,
        )
        self.tpot_ratio = Histogram(
            "router_tpot_actual_over_predicted",
            "Actual over predicted time per output token.",
            ["backend"],
            buckets=RATIO_BUCKETS,
            registry=self.registry,
        )
        self.decision = Histogram(
            "router_decision_seconds", "Time of one decision.", buckets=DECISION_BUCKETS, registry=self.registry
        )
        self.in_flight = Gauge("router_in_flight_requests", "Requests held now.", registry=self.registry)
        self.snapshot_version = Gauge("router_snapshot_version", "Fleet version served from.", registry=self.registry)
        self.snapshot_age = Gauge(
            "router_snapshot_age_seconds", "Since the state was known to be current.", registry=self.registry
        )
        self.store_connected = Gauge(
            "router_store_connected", "1 while the state store answers.", registry=self.registry
        )
        self.store_mode = Gauge(
            "router_store_mode", "1 for what is served from: see docs/state.md.", ["mode"], registry=self.registry
        )
        self.replicas = Gauge("router_replicas", "Live replicas, this one included.", registry=self.registry)
        self.leases = Gauge("router_leases", "Shards of backends that this replica probes.", registry=self.registry)
        self.usage_durable = Gauge(
            "router_usage_durable", "1 while usage is journalled on disk.", registry=self.registry
        )
        self.usage_pending = Gauge(
            "router_usage_pending", "Totals of usage that the store does not have yet.", registry=self.registry
        )
        self.feeds = FeedMetrics(self.registry)
        self.prices = PriceMetrics(self.registry)
        self.decisions = DecisionMetrics(self.registry)
        self.backend_up = Gauge(
            "router_backend_up", "1 while this replica's probes succeed.", ["backend"], registry=self.registry
        )

    def attempt(self, outcome: AttemptOutcome) -> None:
        """One attempt is over."""
        series = self._series(outcome.backend)
        series.result(outcome.result).inc()
        if outcome.ttft_s is not None:
            series.ttft.observe(outcome.ttft_s)
        if outcome.tpot_s is not None:
            series.tpot.observe(outcome.tpot_s)
        if outcome.usage.output:
            series.output.inc(outcome.usage.output)
        if outcome.usage.input:
            series.input.inc(outcome.usage.input)
        if outcome.usage.cached_input:
            series.cached_input.inc(outcome.usage.cached_input)
        if outcome.cost_usd > 0.0:
            series.cost.inc(outcome.cost_usd)
        if outcome.energy_j > 0.0:
            series.energy.inc(outcome.energy_j)

    def predicted(self, outcome: AttemptOutcome, *, ttft_s: float, tpot_s: float) -> None:
        """How good a prediction was."""
        series = self._series(outcome.backend)
        if outcome.ttft_s is not None and ttft_s > 0.0:
            series.ttft_ratio.observe(outcome.ttft_s / ttft_s)
        if outcome.tpot_s is not None and tpot_s > 0.0:
            series.tpot_ratio.observe(outcome.tpot_s / tpot_s)

    def _series(self, backend: str) -> _BackendSeries:
        series = self._by_backend.get(backend)
        if series is None:
            series = self._by_backend[backend] = _BackendSeries(self, backend)
        return series

    def request(self, result: str, outcome: Outcome | None) -> None:
        """One request is over; `outcome` is there when it was answered."""
        self.requests.labels(result).inc()
        if outcome is not None and len(outcome.attempts) > 1:
            for attempt in outcome.attempts[:-1]:
                self.reroutes.labels(attempt.backend, attempt.result).inc()

    def forget_backend(self, backend: str) -> None:
        """The backend was removed: its series go too, so that a fleet that changes does not grow memory."""
        self._by_backend.pop(backend, None)
        self.prices.forget(backend)
        for metric in (
            self.attempts,
            self.reroutes,
            self.tokens,
            self.cost,
            self.energy,
            self.ttft,
            self.tpot,
            self.ttft_ratio,
            self.tpot_ratio,
            self.backend_up,
        ):
            metric.remove_by_labels({"backend": backend})

    def render(self, refresh: Callable[[], None]) -> bytes:
        """The exposition text; `refresh` sets the gauges first."""
        refresh()
        return bytes(generate_latest(self.registry))


class _BackendSeries:
    """The series of one backend, looked up once: finding a series by its labels costs more than counting."""

    def __init__(self, metrics: Metrics, backend: str) -> None:
        self.ttft = metrics.ttft.labels(backend)
        self.tpot = metrics.tpot.labels(backend)
        self.ttft_ratio = metrics.ttft_ratio.labels(backend)
        self.tpot_ratio = metrics.tpot_ratio.labels(backend)
        self.output = metrics.tokens.labels(backend, "output")
        self.input = metrics.tokens.labels(backend, "input")
        self.cached_input = metrics.tokens.labels(backend, "cached_input")
        self.cost = metrics.cost.labels(backend)
        self.energy = metrics.energy.labels(backend)
        self._attempts = metrics.attempts
        self._backend = backend
        self._results: dict[str, Counter] = {}

    def result(self, result: str) -> Counter:
        """The counter of attempts that ended so; results are a closed set."""
        counter = self._results.get(result)
        if counter is None:
            counter = self._results[result] = self._attempts.labels(self._backend, result)
        return counter
