"""Bounds retries to a share of requests, so that failing backends are not hit harder than healthy ones.

Each request deposits a fraction of a retry, each retry takes a whole one; a small reserve refills with time, so that a
quiet router can retry too (the retry budget of Finagle and tower).
"""

from __future__ import annotations


class RetryBudget:
    def __init__(self, *, ratio: float, reserve: int, window_s: float, now: float) -> None:
        self.ratio = ratio
        self.reserve = float(reserve)
        self.window_s = window_s
        self._deposits = 0.0
        self._reserve_left = float(reserve)
        self._at = now

    def deposit(self) -> None:
        """A new request: worth `ratio` retries. What is saved up is bounded to one window's reserve, at least 100."""
        self._deposits = min(self._deposits + self.ratio, max(100.0, self.reserve))

    def withdraw(self, now: float) -> bool:
        """Takes one retry; False when there is none left."""
        if self.window_s > 0.0:
            refill = self.reserve * max(0.0, now - self._at) / self.window_s
            self._reserve_left = min(self.reserve, self._reserve_left + refill)
        self._at = now
        if self._deposits >= 1.0:
            self._deposits -= 1.0
            return True
        if self._reserve_left >= 1.0:
            self._reserve_left -= 1.0
            return True
        return False
