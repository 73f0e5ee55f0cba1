"""Which decisions are worth their bytes: all of them while there is room, else a random share with its weight.

A request that failed or missed an objective is always kept and stands for itself. Any other is kept with probability p
and stands for 1/p, so that weighted sums over the log estimate sums over all requests without bias. p follows a budget:
so many bytes over so many seconds, a quarter of which may come at once.
"""

from __future__ import annotations

from collections.abc import Callable

SPAN_S = 6.0 * 3600.0
BURST_SHARE = 0.25
MIN_SHARE = 1e-3
ADJUST_EVERY_S = 1.0
FOLLOW = 0.2


class Sampler:
    """`share` is p now. Times are on the caller's clock."""

    def __init__(
        self,
        *,
        max_bytes: int,
        uniform: Callable[[], float],
        now: float,
        fixed: float | None = None,
        span_s: float = SPAN_S,
    ) -> None:
        self.share = 1.0 if fixed is None else fixed
        self._fixed = fixed
        self._uniform = uniform
        self._burst = BURST_SHARE * max_bytes
        self._room = self._burst
        self._bytes_per_s = max_bytes / span_s
        self._adjusted_at = now
        self._wanted_per_s = 0.0
        self._wanted = 0.0

    def weight(self, *, always: bool) -> float:
        """What the record stands for; 0 when it is not to be kept."""
        if self.share <= 0.0 and self._fixed is not None:
            return 0.0
        if always:
            return 1.0
        return 1.0 / self.share if self._uniform() < self.share else 0.0

    def wrote(self, size: int, weight: float, now: float) -> None:
        """Takes the bytes of one record into account."""
        self._room -= size
        self._wanted += size * weight
        self.adjust(now)

    def adjust(self, now: float) -> None:
        """Sets p anew when it is time."""
        elapsed = now - self._adjusted_at
        if self._fixed is not None or elapsed < ADJUST_EVERY_S:
            return
        self._adjusted_at = now
        self._room = min(self._burst, self._room + elapsed * self._bytes_per_s)
        rate = self._wanted / elapsed
        self._wanted = 0.0
        self._wanted_per_s += (rate - self._wanted_per_s) * min(1.0, FOLLOW * elapsed)
        if self._room >= 0.5 * self._burst or self._wanted_per_s <= 0.0:
            self.share = 1.0
            return
        # Full speed while half the burst is left, then down to what the budget bears.
        spare = max(0.0, 2.0 * self._room / self._burst)
        bearable = min(1.0, self._bytes_per_s / self._wanted_per_s)
        self.share = max(MIN_SHARE, spare + (1.0 - spare) * bearable)
