"""The store's clock as this replica estimates it, so that replicas whose own clocks are wrong agree on what time it is.

It goes with the local monotonic clock and not with the local wall clock: stepping the latter changes nothing here, and
while the store is away it goes on evenly from the last estimate.
"""

from __future__ import annotations

from collections import deque

from router.clock import Clock

SAMPLES = 30
# Beyond what the two round trips can explain, the server's clock itself was set, or there is another server.
STEP_S = 0.01


class StoreTime:
    """A `Clock`. Before the first answer of the store its time is the local wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # (round trip, store's time less local monotonic time); the shortest trip says most.
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._best: tuple[float, float] | None = None

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        """Unix seconds."""
        if self._best is None:
            return self._clock.time()
        return self._clock.monotonic() + self._best[1]

    @property
    def known(self) -> bool:
        """The store has answered at least once."""
        return self._best is not None

    @property
    def local_error_s(self) -> float:
        """How far the local wall clock is ahead of the store's; 0 before the first answer."""
        return self._clock.time() - self.time()

    @property
    def uncertainty_s(self) -> float:
        """How far the estimate may be off, at most: half the round trip that it comes from."""
        return self._best[0] / 2.0 if self._best is not None else float("inf")

    def sample(self, *, sent: float, received: float, server: float) -> None:
        """Takes in an answer: local monotonic times of sending and receiving, and the server's Unix time between."""
        trip = max(0.0, received - sent)
        new = (trip, server - 0.5 * (sent + received))
        best = self._best
        if best is not None and abs(new[1] - best[1]) > 0.5 * (trip + best[0]) + STEP_S:
            self._samples.clear()
        self._samples.append(new)
        self._best = min(self._samples)
