"""How long an answer will be: ln(tokens) is normal, learnt per (tenant, workload class, model) (DECISION 2.3).

What is known of few answers leans on what is known of more: of the class and the model, then of the model, then on a
constant, each as if it were ten answers. Prompt length says nothing about it (correlation 0.09 and 0.00 in two public
traces). An answer that was cut off is known to be longer than that, and is counted at what it would have been on
average.
"""

from __future__ import annotations

import math
from typing import Final

from router.domain import normal
from router.domain.length import Length
from router.domain.rows import Shape

PRIOR_TOKENS: Final = 160.0
PRIOR_SD_LOG: Final = 0.9
# Answers that what is known one level up counts for.
PRIOR_WEIGHT: Final = 10.0
# The window is about 200 answers.
KEEP: Final = 0.995
MAX_HISTORIES: Final = 4096
P90: Final = 1.2816
SQRT_2PI: Final = math.sqrt(2.0 * math.pi)
MIN_SD_LOG: Final = 0.05
# A limit so far below what is usual says nothing of the answer that it cut off.
TELLS_NOTHING_SD: Final = -2.0


class History:
    """Weight, mean and summed squared deviations of ln(tokens)."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, value: float, variance: float) -> None:
        """One more answer; `variance` is what is not known about its logarithm."""
        weight = self.weight * KEEP
        off = value - self.mean
        self.weight = weight + 1.0
        self.mean += off / self.weight
        self.squares = self.squares * KEEP + off * off * weight / self.weight + variance


class OutputLength:
    """The histories of all that is served; bounded, the one that was longest without an answer is forgotten first."""

    def __init__(self) -> None:
        self._histories: dict[tuple[str, str, str], History] = {}

    def __len__(self) -> int:
        return len(self._histories)

    def of(self, model: str, shape: Shape) -> Length:
        """The expected length of the answer to a request; the caller's own guess takes the place of the mean."""
        mean, sd = self.logarithm(model, shape.workload, shape.tenant)
        if shape.expected_output_tokens > 0.0:
            mean = math.log(shape.expected_output_tokens) - 0.5 * sd * sd
        return cut(mean, sd, shape.max_output_tokens, tenant=shape.tenant, workload=shape.workload)

    def logarithm(self, model: str, workload: str, tenant: str) -> tuple[float, float]:
        """(mean, sd) of ln(tokens) of one more answer."""
        mean, variance = math.log(PRIOR_TOKENS), PRIOR_SD_LOG * PRIOR_SD_LOG
        total = 0.0
        for key in (("", "", model), ("", workload, model), (tenant, workload, model)):
            history = self._histories.get(key)
            if history is None:
                break
            total = PRIOR_WEIGHT + history.weight
            off = history.mean - mean
            squares = PRIOR_WEIGHT * variance + history.squares + off * off * PRIOR_WEIGHT * history.weight / total
            mean += off * history.weight / total
            variance = squares / total
        if total:
            variance *= 1.0 + 1.0 / total
        return mean, max(MIN_SD_LOG, math.sqrt(variance))

    def observe(self, model: str, tokens: int, *, workload: str = "", tenant: str = "", cut_off: bool = False) -> None:
        """Takes an answer into account; `cut_off`: it ended because it was as long as it might be."""
        if tokens <= 0:
            return
        value, variance = math.log(tokens), 0.0
        if cut_off:
            mean, sd = self.logarithm(model, workload, tenant)
            above = min(6.0, (value - mean) / sd)
            if above < TELLS_NOTHING_SD:
                return
            hazard = math.exp(-0.5 * above * above) / (SQRT_2PI * normal.below(-above))
            value = max(value, mean + sd * hazard)
            variance = max(0.0, sd * sd * (1.0 - hazard * (hazard - above)))
        # The most general last: while anything of a model is kept, so is what it leans on.
        for key in ((tenant, workload, model), ("", workload, model), ("", "", model)):
            history = self._histories.pop(key, None)
            if history is None:
                history = History()
            history.add(value, variance)
            self._histories[key] = history
        while len(self._histories) > MAX_HISTORIES:
            del self._histories[next(iter(self._histories))]


def cut(mean: float, sd: float, limit: float, *, tenant: str = "", workload: str = "") -> Length:
    """The length where ln(tokens) ~ N(mean, sd^2) and no answer is longer than `limit`."""
    variance = sd * sd
    limit = max(1.0, limit)
    beyond = (math.log(limit) - mean) / sd
    longer = normal.below(-beyond)
    first = math.exp(mean + 0.5 * variance)
    tokens = first * normal.below(beyond - sd) + limit * longer
    second = math.exp(2.0 * mean + 2.0 * variance)
    square = second * normal.below(beyond - 2.0 * sd) + limit * limit * longer
    return Length(
        min(tokens, limit),
        variance=max(0.0, square - tokens * tokens),
        p90=min(limit, math.exp(mean + P90 * sd)),
        mean_log=mean,
        sd_log=sd,
        tenant=tenant,
        workload=workload,
    )
