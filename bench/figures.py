"""Figures: what was measured, of whom, in how many rounds, and whether the target was reached.

The target is always of the first subject, the router; the others are there to compare with.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ROUTER = "router"
Better = Literal["less", "more"]


@dataclass(slots=True)
class Figure:
    """One line of a table. `rounds` has a value per round and subject; a subject that was not measured is absent."""

    id: str
    title: str
    unit: str
    target: float | None = None
    better: Better = "less"
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: str, value: float) -> None:
        self.rounds.setdefault(subject, []).append(value)

    def median(self, subject: str) -> float | None:
        values = self.rounds.get(subject)
        return statistics.median(values) if values else None

    def ratio(self, subject: str) -> float | None:
        """How many times better the router is than `subject`; below 1 it is worse."""
        ours, theirs = self.median(ROUTER), self.median(subject)
        if ours is None or theirs is None or min(ours, theirs) <= 0.0:
            return None
        return theirs / ours if self.better == "less" else ours / theirs

    @property
    def reached(self) -> bool | None:
        """Whether the router's median meets the target; None where there is none, or no figure."""
        ours = self.median(ROUTER)
        if self.target is None or ours is None:
            return None
        return ours <= self.target if self.better == "less" else ours >= self.target


@dataclass(slots=True)
class Section:
    """One table: its figures, the subjects in the order of the columns, and what a reader has to know."""

    id: str
    title: str
    subjects: tuple[str, ...]
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def fail(self, subject: str, what: str, why: Exception) -> None:
        """A subject that answered wrongly has no figure; the others go on."""
        self.failed.add(subject)
        self.notes.append(f"{subject}{what}: NOT MEASURED, {why}")


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of them do not exceed.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
