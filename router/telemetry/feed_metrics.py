"""Metrics of the feeds of prices that this replica reads. Names of feeds come from the configuration."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class FeedMetrics:
    """`age` and `stale` are of the replica that reads the feed; another one that takes over goes on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.quotes = Counter(
            "router_feed_quotes_total", "Quotes of price feeds by what was made of them.", ["feed", "belief"],
            registry=registry,
        )  # fmt: skip
        self.failures = Counter(
            "router_feed_failures_total", "Readings of price feeds that failed.", ["feed"], registry=registry
        )
        self.age = Gauge(
            "router_feed_age_seconds", "Since the feed last said something good.", ["feed"], registry=registry
        )
        self.stale = Gauge("router_feed_stale", "1 while its prices are held as stale.", ["feed"], registry=registry)

    def forget(self, feed: str) -> None:
        """Another replica reads it now."""
        self.age.remove_by_labels({"feed": feed})
        self.stale.remove_by_labels({"feed": feed})
