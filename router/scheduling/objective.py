"""What serving a request somewhere costs, everything counted, in dollars: lower is better.

No term is normalised over the candidates, so a backend that joins or leaves never changes how two others compare.
"""

from __future__ import annotations

from router.domain.policies import WorkloadClass
from router.domain.rows import Forecast, Shape
from router.scheduling.filters import quality


class Weights:
    """A workload class as plain numbers."""

    def __init__(self, workload: WorkloadClass) -> None:
        self.cost = workload.cost_weight
        self.usd_per_s = workload.usd_per_s
        self.usd_per_ttft_s = workload.usd_per_ttft_s
        self.usd_per_slo_miss = workload.usd_per_slo_miss
        self.usd_per_error = workload.usd_per_error
        self.usd_per_joule = workload.usd_per_joule
        self.usd_per_quality = workload.usd_per_quality
        self.usd_per_slowed_s = workload.usd_per_slowed_s


def score(forecast: Forecast, shape: Shape, weights: Weights) -> None:
    """Fills in the terms, their sum and whether the objectives are likely enough to be met."""
    row = forecast.row
    forecast.money_usd = weights.cost * forecast.cost_usd
    forecast.latency_usd = weights.usd_per_s * forecast.e2e_s
    forecast.first_token_usd = weights.usd_per_ttft_s * forecast.ttft_s
    forecast.slo_usd = weights.usd_per_slo_miss * (1.0 - forecast.p_ttft * forecast.p_tpot * forecast.p_e2e)
    failing = row.live.failure_rate
    forecast.error_usd = weights.usd_per_error * (min(1.0, failing + 0.2) if row.suspect else failing)
    forecast.energy_usd = weights.usd_per_joule * forecast.energy_j
    forecast.slowed_usd = weights.usd_per_slowed_s * forecast.slowed_s
    forecast.quality_usd = 0.0
    if weights.usd_per_quality > 0.0:
        forecast.quality_usd = weights.usd_per_quality * (1.0 - quality(row, shape.quality_task))
    forecast.objective_usd = (
        forecast.money_usd
        + forecast.latency_usd
        + forecast.first_token_usd
        + forecast.slo_usd
        + forecast.error_usd
        + forecast.energy_usd
        + forecast.slowed_usd
        + forecast.quality_usd
    )
    wanted = shape.probability
    forecast.feasible = forecast.p_ttft >= wanted and forecast.p_tpot >= wanted and forecast.p_e2e >= wanted


def terms(forecast: Forecast) -> tuple[tuple[str, float], ...]:
    """The terms by name."""
    return (
        ("money", forecast.money_usd),
        ("latency", forecast.latency_usd),
        ("first_token", forecast.first_token_usd),
        ("slo_miss", forecast.slo_usd),
        ("errors", forecast.error_usd),
        ("energy", forecast.energy_usd),
        ("slowing_others", forecast.slowed_usd),
        ("quality", forecast.quality_usd),
    )
