"""What a backend costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Either per token (hosted) or per hour of a replica (owned or rented). Dollars; times are Unix seconds.

    None is "not charged this way"; a backend without any price has an unknown price, which is not zero.
    `elastic_fraction` is the share of `usd_per_hour` that more traffic adds (DECISION 2.4, xi).
    """

    backend: str
    model: str = ""
    input_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    request_usd: float | None = None
    usd_per_hour: float | None = None
    elastic_fraction: float = 1.0
    electricity_usd_per_kwh: float = 0.12
    batch_discount: float = 0.0
    source: str = "config"
    effective_at: float | None = None
    expires_at: float | None = None
    version: int = 0
    changed_at: float = 0.0

    @property
    def known(self) -> bool:
        return self.usd_per_hour is not None or self.output_usd_per_mtok is not None or self.request_usd is not None
