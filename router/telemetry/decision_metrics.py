"""What the decision log counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class DecisionMetrics:
    """Decisions that are on disk, and those that are not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter("router_decisions_logged_total", "Decisions written to the log.", registry=registry)
        self.written_bytes = Counter("router_decision_log_bytes_total", "Bytes of the log.", registry=registry)
        self.dropped = Counter(
            "router_decisions_dropped_total",
            "Decisions lost: the queue was full or the disk failed.",
            registry=registry,
        )
        self.sampled_out = Counter(
            "router_decisions_sampled_out_total", "Decisions that others of the log stand for.", registry=registry
        )
        self.share = Gauge(
            "router_decision_log_share", "Share of unremarkable requests that is kept.", registry=registry
        )
