"""How much of a replica a request takes while others share its steps."""

from __future__ import annotations

from typing import Final

from router.domain.rows import Row

HOSTED_FILL: Final = 0.5


def batch_size(row: Row, batch: float) -> float:
    """How many share a decode step. What is billed by the token is shared with callers nobody here sees: half full."""
    others = batch if row.per_hour else max(batch, HOSTED_FILL * row.max_concurrency)
    return min(max(1.0, others + 1.0), row.max_concurrency)


def replica_seconds(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """A request's share of the replica's time: its prefill, and its part of each decode step."""
    sharing = batch_size(row, batch)
    return row.speed.prefill_token_s * fresh + output_tokens * tpot_s / sharing
