"""Chooses among the scored candidates, and orders the rest as fallbacks.

Near-ties are drawn at random with softmax weights: replicas that all see the same slightly old state would otherwise
send everything to the same backend at once. A session keeps to one of the near-ties by rendezvous hashing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from zlib import crc32

from router.domain.rows import Forecast, Shape

# Relative to the best, not to the price of a missed SLO: requests cost 1e-5 dollars, and a margin of a tenth of a miss
# (2e-4) would call a backend that is ten times dearer a tie.
TIE_SHARE = 0.05


def relaxed(forecasts: list[Forecast], probability: float) -> list[Forecast]:
    """The candidates to choose from when none meets every objective: give up end-to-end first, then TPOT, then TTFT.

    At the end those remain that are as likely as any to meet all of them.
    """
    tiers = (
        [f for f in forecasts if f.p_ttft >= probability and f.p_tpot >= probability],
        [f for f in forecasts if f.p_ttft >= probability],
    )
    for tier in tiers:
        if tier:
            return tier
    best = max(likelihood(f) for f in forecasts)
    return [f for f in forecasts if likelihood(f) >= best - 0.01]


def likelihood(forecast: Forecast) -> float:
    """P(every objective is met), the three taken as independent."""
    return forecast.p_ttft * forecast.p_tpot * forecast.p_e2e


def order(
    forecasts: list[Forecast],
    shape: Shape,
    *,
    session: str,
    uniform: Callable[[], float],
) -> list[Forecast]:
    """All candidates, the chosen one first, then the fallbacks from best to worst.

    A candidate that is likely enough to meet the objectives comes before any that is not.
    """
    eligible = [f for f in forecasts if f.feasible] or relaxed(forecasts, shape.probability)
    best = min(f.objective_usd for f in eligible)
    margin = TIE_SHARE * abs(best)
    near = [f for f in eligible if f.objective_usd <= best + margin]
    if len(near) == 1:
        chosen = near[0]
    elif session:
        chosen = max(near, key=lambda f: crc32(f"{session}\0{f.row.id}\0{f.row.model}".encode()))
    else:
        chosen = _softmax(near, best, margin, uniform)
    kept = {id(f) for f in eligible}
    rest = [f for f in forecasts if f is not chosen]
    rest.sort(key=lambda f: (id(f) not in kept, f.objective_usd))
    return [chosen, *rest]


def _softmax(near: list[Forecast], best: float, margin: float, uniform: Callable[[], float]) -> Forecast:
    temperature = 0.5 * margin if margin > 0.0 else 1e-12
    weights = [math.exp(-(f.objective_usd - best) / temperature) for f in near]
    point = uniform() * sum(weights)
    for forecast, weight in zip(near, weights, strict=True):
        point -= weight
        if point <= 0.0:
            return forecast
    return near[-1]
