"""Joules of a request, at the wall."""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Row
from router.prediction.sharing import batch_size

# Of the server around the accelerator, and of the building around the server.
HOST_SHARE: Final = 0.4
PUE: Final = 1.2


def energy_j(row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float) -> float:
    """Joules at the wall. Power depends on the batch: a constant per device is wrong by five to ten times."""
    if row.watts <= 0.0:
        return 0.0
    sharing = batch_size(row, batch)
    decode_w = row.watts * (0.62 + 0.24 * math.sqrt(min(1.0, sharing / 256.0)))
    prefill = 0.9 * row.watts * row.speed.prefill_token_s * fresh
    return (1.0 + HOST_SHARE) * PUE * (prefill + decode_w * output_tokens * tpot_s / sharing)
