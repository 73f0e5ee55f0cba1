"""Joules of a request, at the wall: the accelerators, the server around them and the building around that.

The share of its rated power that an accelerator draws while decoding grows with the batch (DECISION 2.4); on 565
measurements by ML.ENERGY the median error of that share is 9 % on H100 and 16 % on B200 (docs/prices.md).
"""

from __future__ import annotations

import math
from typing import Final

from router.domain.rows import Row
from router.prediction.sharing import batch_size, prefill_work_s

IDLE_SHARE: Final = 0.62
BATCH_SHARE: Final = 0.24
FULL_BATCH: Final = 256.0
PREFILL_SHARE: Final = 0.9


def decode_share(batch: float) -> float:
    """The share of its rated power that an accelerator draws while `batch` sequences decode."""
    return IDLE_SHARE + BATCH_SHARE * math.sqrt(min(1.0, batch / FULL_BATCH))


def energy_j(
    row: Row, fresh: float, output_tokens: float, tpot_s: float, batch: float, prefill_pace: float = 1.0
) -> float:
    """Joules at the wall. Power depends on the batch: a constant per device is wrong by five to ten times."""
    if row.watts <= 0.0:
        return 0.0
    sharing = batch_size(row, batch)
    prefill = PREFILL_SHARE * prefill_pace * prefill_work_s(row, fresh)
    return row.at_the_wall * row.watts * (prefill + decode_share(sharing) * output_tokens * tpot_s / sharing)
