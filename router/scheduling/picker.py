"""Chooses among the scored candidates, and orders the rest as fallbacks.

Near-ties are drawn at random with softmax weights: replicas that all see the same slightly old state would otherwise
send everything to the same backend at once. A session keeps to one of the near-ties by rendezvous hashing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final
from zlib import crc32

from router.domain.rows import Forecast, Shape

# Relative to the best, not to the price of a missed SLO: requests cost 1e-5 dollars, and a margin of a tenth of a miss
# (2e-4) would call a backend that is ten times dearer a tie.
TIE_SHARE: Final = 0.05
# As likely as the likeliest, give or take what a prediction cannot tell apart.
AS_LIKELY: Final = 0.95
# How many fallbacks are put in order; far more than a request may try.
SORTED: Final = 16
# Puts a candidate behind every one of the tier before it.
LATER_TIER_USD: Final = 1.0e9


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
    return [f for f in forecasts if likelihood(f) >= AS_LIKELY * best]


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
    """All candidates: the chosen one, then `SORTED` fallbacks from best to worst, then the others as they come.

    A candidate that is likely enough to meet the objectives comes before any that is not. Sorting all of a large fleet
    would cost more than scoring it, and no request gets as far as the end.
    """
    eligible = [f for f in forecasts if f.feasible] or relaxed(forecasts, shape.probability)
    best = math.inf
    for f in forecasts:
        f.rank_usd = f.objective_usd + LATER_TIER_USD
    for f in eligible:
        f.rank_usd = f.objective_usd
        best = min(best, f.objective_usd)
    margin = TIE_SHARE * abs(best)
    near = [f for f in eligible if f.objective_usd <= best + margin]
    if len(near) == 1:
        chosen = near[0]
    elif session:
        chosen = max(near, key=lambda f: crc32(f"{session}\0{f.row.id}\0{f.row.model}".encode()))
    else:
        chosen = _softmax(near, best, margin, uniform)
    return [chosen, *_best_first(forecasts, chosen)]


def _best_first(forecasts: list[Forecast], chosen: Forecast) -> list[Forecast]:
    head: list[Forecast] = []
    tail: list[Forecast] = []
    for forecast in forecasts:
        if forecast is chosen:
            continue
        if len(head) == SORTED and forecast.rank_usd >= head[-1].rank_usd:
            tail.append(forecast)
            continue
        place = len(head)
        head.append(forecast)
        while place > 0 and head[place - 1].rank_usd > forecast.rank_usd:
            head[place] = head[place - 1]
            place -= 1
        head[place] = forecast
        if len(head) > SORTED:
            tail.append(head.pop())
    return head + tail


def _softmax(near: list[Forecast], best: float, margin: float, uniform: Callable[[], float]) -> Forecast:
    temperature = 0.5 * margin if margin > 0.0 else 1e-12
    weights = [math.exp(-(f.objective_usd - best) / temperature) for f in near]
    point = uniform() * sum(weights)
    for forecast, weight in zip(near, weights, strict=True):
        point -= weight
        if point <= 0.0:
            return forecast
    return near[-1]
