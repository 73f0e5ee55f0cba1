"""How attempts on each backend went in the last seconds, on this replica: counts in a sliding window of ten seconds.

A backend without attempts in the window has no entry, so memory is bounded by the fleet's busy part.
"""

from __future__ import annotations

from router.domain.replica import Outcomes

WINDOW_S = 10
# How long what was summed up once is handed out again: ten beats a second need not count ten times.
REUSE_S = 0.5


class _Window:
    """A count for each of the last `WINDOW_S` whole seconds, and their sums."""

    __slots__ = ("bad", "failed", "good", "last_error", "ok", "run", "second")

    def __init__(self, second: int) -> None:
        self.second = second
        self.good = [0] * WINDOW_S
        self.bad = [0] * WINDOW_S
        self.ok = 0
        self.failed = 0
        self.run = 0
        self.last_error = ""

    def move_to(self, second: int) -> None:
        """Drops what is older than the window."""
        for passed in range(self.second + 1, min(second, self.second + WINDOW_S) + 1):
            slot = passed % WINDOW_S
            self.ok -= self.good[slot]
            self.failed -= self.bad[slot]
            self.good[slot] = self.bad[slot] = 0
        self.second = max(second, self.second)


class Passive:
    """Times are monotonic seconds. Only evidence counts: who is told to wait, or gives up, says nothing of health."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._summed: dict[str, Outcomes] = {}
        self._summed_at = float("-inf")

    def ok(self, backend: str, now: float) -> None:
        """An attempt worked."""
        window = self._at(backend, now)
        window.good[window.second % WINDOW_S] += 1
        window.ok += 1
        window.run = 0

    def failed(self, backend: str, now: float, error: str) -> None:
        """An attempt showed that the backend is sick."""
        window = self._at(backend, now)
        window.bad[window.second % WINDOW_S] += 1
        window.failed += 1
        window.run += 1
        window.last_error = error

    def outcomes(self, now: float) -> dict[str, Outcomes]:
        """The sums of every backend with attempts in the window; at most `REUSE_S` old. Not to be changed."""
        if now - self._summed_at < REUSE_S:
            return self._summed
        self._summed_at = now
        self._summed = {}
        for backend, window in list(self._windows.items()):
            window.move_to(int(now))
            if window.ok or window.failed:
                self._summed[backend] = Outcomes(
                    ok=window.ok,
                    failed=window.failed,
                    consecutive_failures=window.run,
                    last_error=window.last_error if window.failed else "",
                )
            else:
                del self._windows[backend]
        return self._summed

    def _at(self, backend: str, now: float) -> _Window:
        second = int(now)
        window = self._windows.get(backend)
        if window is None:
            window = self._windows[backend] = _Window(second)
        elif window.second != second:
            window.move_to(second)
        return window
