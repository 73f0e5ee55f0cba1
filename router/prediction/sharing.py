"""How much of a replica a request takes while others share its steps, and how much slower that makes them."""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Row

HOSTED_FILL: Final = 0.5
# A prompt comes on average half way through the step of each other sequence.
PREFILL_FELT: Final = 0.5


def batch_size(row: Row, batch: float) -> float:
    """How many share a decode step. What is billed by the token is shared with callers nobody here sees: half full."""
    others = batch if row.per_hour else max(batch, HOSTED_FILL * row.max_concurrency)
    return min(max(1.0, others + 1.0), row.max_concurrency)


def replica_seconds(
    row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float, prefill_pace: float = 1.0
) -> float:
    """A request's share of the replica's time: its prefill, and its part of each decode step."""
    sharing = batch_size(row, batch)
    return prefill_pace * prefill_work_s(row, fresh) + output_tokens * tpot_s / sharing


def prefill_work_s(row: Row, fresh: float) -> float:
    """Seconds for which a prompt keeps the replica busy by the prior, without what launching one takes."""
    speed = row.speed
    return speed.prefill_s(fresh) - speed.prefill_base_s


def step_slope_s(row: Row, decoding: float, context_tokens: float) -> float:
    """Seconds by which one more sequence makes each step of `decoding` others longer: the slope of TPOT by batch."""
    speed = row.speed
    slope = speed.slope_s(context_tokens)
    if speed.expert_share > 0.0 and 0.0 < speed.expert_miss < 1.0:
        # One more sequence reads weights that the others have not asked for.
        touched = -math.log(speed.expert_miss) * speed.expert_miss ** max(1.0, decoding)
        slope += speed.weights_s * speed.expert_share * touched
    return slope


def slowed_s(
    row: Row, *, context_tokens: float, fresh: float, output_tokens: float, batch: float, prefill_pace: float = 1.0
) -> float:
    """User-seconds that a request takes from those who decode with it: longer steps, and a prefill in between.

    Those who wait for a slot are in nobody's batch.
    """
    others = min(batch, row.max_concurrency)
    if others <= 0.0:
        return 0.0
    slope = step_slope_s(row, others, context_tokens)
    return others * (slope * output_tokens + PREFILL_FELT * prefill_pace * prefill_work_s(row, fresh))
