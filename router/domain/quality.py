"""How good a model's answers are, by task. Plain typed attributes: it compiles to native code unchanged."""

from __future__ import annotations

import math
from typing import Final

# The catalogue's figure weighs as much as so many graded answers.
PRIOR_WEIGHT: Final = 20.0
# Of a task without any figure nothing is known but that it lies between 0 and 1.
UNKNOWN_WEIGHT: Final = 2.0
# Older grades fade out once there are so many: models are replaced behind their names.
MAX_WEIGHT: Final = 500.0
# Tasks are callers' words, so their number has a bound.
MAX_TASKS: Final = 64


class Quality:
    """A Beta belief per task about the share of a model's answers that are good, in [0, 1].

    A cell is kept as mean and weight: Beta(mean * weight, (1 - mean) * weight). "*" stands for every task that has no
    cell of its own. One object per model, shared by all rows that serve it.
    """

    def __init__(self, known: tuple[tuple[str, float], ...] = ()) -> None:
        self.means: dict[str, float] = dict(known)
        self.weights: dict[str, float] = {}

    def of(self, task: str) -> float:
        """The expected quality on a task: its own, the one of "*", 0 where nothing is known."""
        mean = self.means.get(task)
        if mean is None:
            mean = self.means.get("*", 0.0)
        return mean

    def sd(self, task: str) -> float:
        """The standard deviation of the belief about a task."""
        mean = self.of(task)
        return math.sqrt(mean * (1.0 - mean) / (self.weights.get(task, PRIOR_WEIGHT) + 1.0))

    def observe(self, task: str, grade: float) -> None:
        """Takes one graded answer into the belief; a grade is 0 (useless) to 1 (as good as can be)."""
        mean = self.means.get(task)
        weight = self.weights.get(task, PRIOR_WEIGHT)
        if mean is None:
            if len(self.means) >= MAX_TASKS:
                return
            mean = self.means.get("*", 0.5)
            if "*" not in self.means:
                weight = UNKNOWN_WEIGHT
        weight += 1.0
        self.means[task] = mean + (min(1.0, max(0.0, grade)) - mean) / weight
        self.weights[task] = min(weight, MAX_WEIGHT)
