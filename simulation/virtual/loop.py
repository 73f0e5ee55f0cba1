"""Virtual time: what is to happen, in order."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]
# The router's clocks begin somewhere; where does not matter, only that zero is not special.
START_S = 1_000.0
START_UNIX = 1_800_000_000.0


class Loop:
    """Runs actions at their times. It is also the clock of all that is simulated."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Action]] = []
        self._count = 0
        self.events = 0

    def monotonic(self) -> float:
        return START_S + self.now

    def time(self) -> float:
        return START_UNIX + self.now

    def at(self, when: float, action: Action) -> None:
        """Actions of one time run in the order in which they were asked for."""
        self._count += 1
        heappush(self._queue, (when, self._count, action))

    def run(self) -> None:
        """Until nothing is left to happen."""
        queue = self._queue
        while queue:
            self.now, _, action = heappop(queue)
            self.events += 1
            action()
