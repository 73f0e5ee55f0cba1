"""What thousands of rows are expected to do with one request, as vectors; see `prediction.many`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
# The same for all rows, or one of each.
Each = float | Floats


class Estimates:
    """As in `Forecast`. `p_*` are 1.0 where nothing is asked; energy, carbon and slowing only where they are weighed.

    `work_s` is what the prompt keeps a backend busy, `decode_s` what the answer takes, `context` its mean length.
    """

    def __init__(
        self, *, fresh_tokens: Each, output_tokens: Each, context: Each, ttft_s: Floats, tpot_s: Floats
    ) -> None:
        self.fresh_tokens = fresh_tokens
        self.output_tokens = output_tokens
        self.context = context
        self.ttft_s = ttft_s
        self.tpot_s = tpot_s
        self.tpot_sd = tpot_s
        self.e2e_s = ttft_s
        self.work_s = ttft_s
        self.decode_s = tpot_s
        self.cost_usd = ttft_s
        self.p_ttft: Each = 1.0
        self.p_tpot: Each = 1.0
        self.p_e2e: Each = 1.0
        self.energy_j: Each = 0.0
        self.carbon_g: Each = 0.0
        self.slowed_usd: Each = 0.0

    def likely(self) -> Each:
        """P(every objective is met), the three taken as independent."""
        likely: Each = self.p_ttft
        for p in (self.p_tpot, self.p_e2e):
            if not isinstance(p, float):
                likely = p if isinstance(likely, float) else likely * p
        return likely
