"""The random numbers of decisions, kept as they are drawn, so that a decision can be made again with the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

KEPT = 32


class Draws:
    """Draws from [0, 1) by `uniform`, and remembers what was drawn since the last `taken`."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._drawn: list[float] = []

    def __call__(self) -> float:
        value = self._uniform()
        if len(self._drawn) < KEPT:
            self._drawn.append(value)
        return value

    def taken(self) -> list[float]:
        """What was drawn, and forgets it."""
        drawn = self._drawn
        if drawn:
            self._drawn = []
        return drawn


class Redrawn:
    """The same numbers again. A changed decision may draw more than were: those follow from the request's id."""

    def __init__(self) -> None:
        self._left: list[float] = []
        self._more = random.Random(0)

    def begin(self, drawn: Sequence[float], seed: str) -> None:
        """Starts over for one request."""
        self._left = list(reversed(drawn))
        self._more = random.Random(seed)

    def __call__(self) -> float:
        return self._left.pop() if self._left else self._more.random()
