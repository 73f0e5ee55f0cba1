"""What a dollar counts for a tenant whose budget would not last: the multiplier of money in the objective.

Every ten seconds what is spent a second is compared with what may be spent a second until the period is over. Whoever
spends faster is routed ever more by price, up to a hundredfold, and back again when the pace fits (DECISION 2.5).
"""

from __future__ import annotations

import math

EVERY_S = 10.0
GAIN = 0.1
MOST = 100.0
# What one step may do at most: from nothing to everything.
LARGEST_STEP = math.log(MOST)


class BudgetPace:
    """The multiplier for one budget, 1 to 100. Times are monotonic seconds, given by the caller."""

    def __init__(self) -> None:
        self.multiplier = 1.0
        self._at = -math.inf
        self._spent = 0.0

    def at(self, now: float, *, spent_usd: float, left_usd: float, left_s: float) -> float:
        """The multiplier now, brought up to date where ten seconds are over.

        Args:
            now: monotonic seconds.
            spent_usd: spent in this period so far; starts again from zero with the next.
            left_usd: of the budget.
            left_s: until the period is over.
        """
        elapsed = now - self._at
        if elapsed < EVERY_S:
            return self.multiplier
        if math.isfinite(elapsed):
            spending = max(0.0, spent_usd - self._spent) / elapsed
            allowed = max(0.0, left_usd) / max(left_s, EVERY_S)
            ratio = spending / allowed if allowed > 0.0 else math.inf if spending > 0.0 else 0.0
            step = min(GAIN * (ratio - 1.0) * math.floor(elapsed / EVERY_S), LARGEST_STEP)
            self.multiplier = min(max(self.multiplier * math.exp(step), 1.0), MOST)
        self._at, self._spent = now, spent_usd
        return self.multiplier
