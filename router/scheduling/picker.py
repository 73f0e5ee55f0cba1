"""Chooses among the scored candidates, and orders the rest as fallbacks.

Near-ties are drawn at random with softmax weights: replicas that all see the same slightly old state would otherwise
send everything to the same backend at once. A session, or a prompt that begins like others, keeps to one of the
near-ties by rendezvous hashing: the one that holds most of the prompt, or the same as all others that begin alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final
from zlib import crc32

from router.domain.prefix_cache import BLOCK_TOKENS
from router.domain.rows import Forecast, Shape
from router.scheduling.objective import CROWDED_USD, crowded

# Relative to the best, not to the price of a missed SLO: requests cost 1e-5 dollars, and a margin of a tenth of a miss
# (2e-4) would call a backend that is ten times dearer a tie.
TIE_SHARE: Final = 0.05
# How many fallbacks are put in order; far more than a request may try.
SORTED: Final = 16
# What is explored gets this many standard deviations of its objective as a credit, and may cost this many times as much
# as the best.
KAPPA: Final = 1.0
EXPLORED_AT_MOST: Final = 2.0


def likelihood(forecast: Forecast) -> float:
    """P(every objective is met), the three taken as independent."""
    return forecast.p_ttft * forecast.p_tpot * forecast.p_e2e


def at_stake(forecast: Forecast) -> float:
    """The part of the objective that ties go by: what most candidates share, quality and errors, widens no margin."""
    return forecast.objective_usd - forecast.quality_usd - forecast.error_usd


def order(
    forecasts: list[Forecast],
    shape: Shape,
    *,
    session: str,
    uniform: Callable[[], float],
) -> list[Forecast]:
    """All candidates: the chosen one, then `SORTED` fallbacks from best to worst, then the others as they come.

    A candidate of a better tier (`objective.score`) comes before any of a worse one. Sorting all of a large fleet would
    cost more than scoring it, and no request gets as far as the end. `session` is what keeps to one of the near-ties.
    """
    best = forecasts[0]
    for f in forecasts:
        if f.rank_usd < best.rank_usd:
            best = f
    if shape.explore and best.tier == 0:
        chosen = _explore(forecasts, best, shape.now)
        return [chosen, *_best_first(forecasts, chosen)]
    margin = TIE_SHARE * abs(at_stake(best))
    limit = best.rank_usd + margin
    near = [f for f in forecasts if f.rank_usd <= limit]
    if len(near) == 1:
        chosen = near[0]
    elif session:
        chosen = max(near, key=lambda f: _kept_by(f, session))
    else:
        chosen = _softmax(near, best.rank_usd, margin, uniform)
    return [chosen, *_best_first(forecasts, chosen)]


def _kept_by(forecast: Forecast, session: str) -> tuple[int, int]:
    """Whoever holds most of the prompt, to a block; of equals the same for everybody."""
    row = forecast.row
    return -round(forecast.fresh_tokens / BLOCK_TOKENS), lot(f"{session}\0{row.id}\0{row.model}")


def lot(text: str) -> int:
    """32 bits of a text, as good as drawn. The checksum alone is linear: of like names some would nearly always win."""
    n = crc32(text.encode())
    n = ((n ^ n >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
    n = ((n ^ n >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
    return n ^ n >> 16


def _explore(forecasts: list[Forecast], best: Forecast, now: float) -> Forecast:
    """The best when each is credited with what it might turn out better: upper confidence bound.

    Only what meets the objectives likely enough, has room, and costs at most twice as much is credited; it may be new.
    """
    most_usd, most_cost = EXPLORED_AT_MOST * best.objective_usd, EXPLORED_AT_MOST * best.cost_usd
    for f in forecasts:
        if f.tier == 0 and f.objective_usd <= most_usd and f.cost_usd <= most_cost:
            if f.crowded:
                if crowded(f.row, f.batch, now, trying=True):
                    continue
                f.crowded = False
                f.rank_usd -= CROWDED_USD
            f.explore_usd = -KAPPA * f.tpot_sd * at_stake(f)
            f.objective_usd += f.explore_usd
            f.rank_usd += f.explore_usd
    for f in forecasts:
        if f.rank_usd < best.rank_usd:
            best = f
    return best


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


def _softmax(near: list[Forecast], best_usd: float, margin: float, uniform: Callable[[], float]) -> Forecast:
    temperature = 0.5 * margin if margin > 0.0 else 1e-12
    weights = [math.exp(-(f.rank_usd - best_usd) / temperature) for f in near]
    point = uniform() * sum(weights)
    for forecast, weight in zip(near, weights, strict=True):
        point -= weight
        if point <= 0.0:
            return forecast
    return near[-1]
