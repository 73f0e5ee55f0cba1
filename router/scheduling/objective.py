"""What serving a request somewhere costs, everything counted, in dollars: lower is better.

No term is normalised over the candidates, and a candidate's tier follows from itself alone, so a backend that joins or
leaves never changes how two others compare.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.policies import WorkloadClass
from router.domain.rows import Forecast, Row, Shape

# Puts a candidate behind every one of the tier before it, beyond any price; small enough that what is below a
# millionth of a dollar still tells two of a tier apart.
TIER_USD: Final = 1.0e5
# Within a tier, behind every one that has room.
CROWDED_USD: Final = 0.5 * TIER_USD
# Where nothing is sure the likeliest comes first: by steps of 5 %, for no prediction tells apart less.
STEP_USD: Final = 1.0e3
STEP_LOG: Final = 0.05
LEAST_LIKELY: Final = 1e-300
HOPELESS: Final = 3

# A price that nobody knows is taken to be that of GPT-4, the dearest of the models that most routers know: never zero,
# and the same whoever else is there.
UNKNOWN_INPUT_USD: Final = 30e-6
UNKNOWN_OUTPUT_USD: Final = 60e-6

# A queue as long as the batch: nobody else is sent there while another can serve.
FULL_BATCHES: Final = 2.0
# With this much of its cache in use and somebody waiting, an engine throws out what it has begun.
FULL_CACHE: Final = 0.98
# How long a backend that joins a running fleet is new, and how many answers it gives before all may depend on it.
SLOW_START_S: Final = 60.0
FIRST_ANSWERS: Final = 5


class Weights:
    """A workload class as plain numbers.

    `usual_usd_per_slowed_s` is what a second is worth to those of whom nothing is known: the default class's.
    """

    def __init__(self, workload: WorkloadClass, *, usual_usd_per_slowed_s: float | None = None) -> None:
        self.cost = workload.cost_weight
        self.usd_per_s = workload.usd_per_s
        self.usd_per_ttft_s = workload.usd_per_ttft_s
        self.usd_per_slo_miss = workload.usd_per_slo_miss
        self.usd_per_error = workload.usd_per_error
        self.usd_per_joule = workload.usd_per_joule
        self.usd_per_g_co2 = 1e-3 * workload.usd_per_kg_co2
        self.usd_per_quality = workload.usd_per_quality
        self.usd_per_slowed_s = workload.usd_per_slowed_s
        self.usual_usd_per_slowed_s = workload.usd_per_slowed_s
        if usual_usd_per_slowed_s is not None:
            self.usual_usd_per_slowed_s = usual_usd_per_slowed_s


def score(forecast: Forecast, shape: Shape, weights: Weights) -> None:
    """Fills in the terms, their sum, and the place among what does and does not meet the objectives likely enough."""
    row = forecast.row
    if not row.price_known:
        forecast.cost_usd = UNKNOWN_INPUT_USD * forecast.input_tokens + UNKNOWN_OUTPUT_USD * forecast.output_tokens
    likely = forecast.p_ttft * forecast.p_tpot * forecast.p_e2e
    forecast.money_usd = weights.cost * shape.money_multiplier * forecast.cost_usd
    forecast.latency_usd = weights.usd_per_s * forecast.e2e_s
    forecast.first_token_usd = weights.usd_per_ttft_s * forecast.ttft_s
    forecast.slo_usd = weights.usd_per_slo_miss * (1.0 - likely)
    # A queue that is filled to the edge of an objective spills over at the next burst, however likely this request is
    # to meet it: beyond the headroom, whoever comes takes it from those who come after.
    if (
        forecast.ttft_s > shape.headroom * shape.ttft_slo_s
        or forecast.tpot_s > shape.headroom * shape.tpot_slo_s
        or forecast.e2e_s > shape.headroom * shape.e2e_slo_s
    ):
        forecast.slo_usd += weights.usd_per_slo_miss
    failing = row.live.failure_rate
    forecast.error_usd = weights.usd_per_error * (min(1.0, failing + 0.2) if row.suspect else failing)
    forecast.energy_usd = weights.usd_per_joule * forecast.energy_j
    forecast.carbon_usd = weights.usd_per_g_co2 * forecast.carbon_g
    # What those who are slowed lose, by what their seconds are worth, not by what this request's are.
    forecast.slowed_usd = row.live.second_usd(weights.usual_usd_per_slowed_s) * forecast.slowed_s
    forecast.worth_usd_per_s = weights.usd_per_slowed_s
    forecast.quality_usd = 0.0
    if weights.usd_per_quality > 0.0:
        forecast.quality_usd = weights.usd_per_quality * (1.0 - row.quality.of(shape.quality_task))
    forecast.objective_usd = (
        forecast.money_usd
        + forecast.latency_usd
        + forecast.first_token_usd
        + forecast.slo_usd
        + forecast.error_usd
        + forecast.energy_usd
        + forecast.carbon_usd
        + forecast.slowed_usd
        + forecast.quality_usd
    )
    # Given up in this order where nothing meets all of them: end to end, each token, the first token.
    if forecast.p_ttft < shape.ttft_probability:
        forecast.tier = HOPELESS + _steps(likely)
        forecast.rank_usd = forecast.objective_usd + HOPELESS * TIER_USD + (forecast.tier - HOPELESS) * STEP_USD
    else:
        if forecast.p_tpot < shape.tpot_probability:
            forecast.tier = 2
        elif forecast.p_e2e < shape.e2e_probability:
            forecast.tier = 1
        else:
            forecast.tier = 0
        forecast.rank_usd = forecast.objective_usd + forecast.tier * TIER_USD
    forecast.feasible = forecast.tier == 0
    forecast.crowded = crowded(row, forecast.batch, shape.now, trying=shape.batch)
    if forecast.crowded:
        forecast.rank_usd += CROWDED_USD


def _steps(likely: float) -> int:
    """How many steps of 5 % a chance is below certainty."""
    return int(-math.log(max(likely, LEAST_LIKELY)) / STEP_LOG)


def crowded(row: Row, batch: float, now: float, *, trying: bool) -> bool:
    """True when a backend takes nobody else while another can serve: it is full, or new.

    `trying`: the request may be among the first that a new backend answers.
    """
    live = row.live
    if batch >= FULL_BATCHES * row.max_concurrency or (live.kv_cache_usage >= FULL_CACHE and live.waiting >= 1.0):
        return True
    age = now - live.joined_at
    if age >= SLOW_START_S:
        return False
    if batch + 1.0 > max(1.0, row.max_concurrency * age / SLOW_START_S):
        return True
    return row.learned.observations < FIRST_ANSWERS and not trying


def terms(forecast: Forecast) -> tuple[tuple[str, float], ...]:
    """The terms by name."""
    return (
        ("money", forecast.money_usd),
        ("latency", forecast.latency_usd),
        ("first_token", forecast.first_token_usd),
        ("slo_miss", forecast.slo_usd),
        ("errors", forecast.error_usd),
        ("energy", forecast.energy_usd),
        ("carbon", forecast.carbon_usd),
        ("slowing_others", forecast.slowed_usd),
        ("quality", forecast.quality_usd),
        ("exploration", forecast.explore_usd),
    )
