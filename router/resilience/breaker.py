"""A circuit breaker per backend: CLOSED passes, OPEN rejects, HALF_OPEN admits one probe (Nygard's words).

It opens on consecutive failures, which catch a dead backend within a few requests, or when the failure rate is surely
above a limit, which catches one that fails every other request. Only evidence of sickness counts: a rate limit or a bad
request says nothing about health. The state that deciding reads lies in `Live`.
"""

from __future__ import annotations

import math
from enum import StrEnum

from router.domain.live import NEVER, Live

RATE_HALF_LIFE_S = 120.0
RATE_LIMIT = 0.2
PRIOR_SUCCESSES = 20.0
# What a circuit opens on, on top of what was seen.
PRIOR_FAILURES = 1.0
# What is expected of a backend that nobody has used for a while, estimated: hosts promise 99.9 %. If more, whoever
# was busy last would be thought more reliable than all others, and keep its traffic whatever its price becomes.
EXPECTED_FAILURES = 0.02


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Owns the circuit fields of one `Live`. Times are monotonic seconds, given by the caller."""

    def __init__(self, live: Live, *, open_after: int, open_base_s: float, open_max_s: float) -> None:
        self._live = live
        self.open_after = open_after
        self.open_base_s = open_base_s
        self.open_max_s = open_max_s
        self._consecutive = 0
        self._trips = 0
        self._failures = EXPECTED_FAILURES
        self._successes = PRIOR_SUCCESSES
        self._rate_at = NEVER
        live.failure_rate = self._rate()

    def state(self, now: float) -> State:
        """OPEN until its time is over; then HALF_OPEN until a probe has succeeded."""
        if self._trips == 0:
            return State.CLOSED
        return State.OPEN if now < self._live.open_until else State.HALF_OPEN

    def permit(self, now: float) -> bool:
        """Whether an attempt may start. In HALF_OPEN the permit goes to one attempt, which must end in a verdict."""
        state = self.state(now)
        if state is State.CLOSED:
            return True
        if state is State.OPEN or self._live.half_open:
            return False
        self._live.half_open = True
        return True

    def success(self, now: float) -> None:
        """The attempt worked: the circuit closes."""
        self._observe(now, failed=False)
        self._consecutive = 0
        self._trips = 0
        self._live.half_open = False
        self._live.open_until = NEVER

    def failure(self, now: float) -> None:
        """The attempt showed that the backend is sick."""
        self._observe(now, failed=True)
        self._consecutive += 1
        probing = self._live.half_open
        self._live.half_open = False
        if self.state(now) is State.OPEN:
            return
        if probing or self._consecutive >= self.open_after or self._surely_failing():
            self._live.open_until = now + min(self.open_max_s, self.open_base_s * 2.0**self._trips)
            self._trips += 1
            self._consecutive = 0

    def no_verdict(self) -> None:
        """The attempt ended without evidence (cancelled, rate-limited): another one may probe."""
        self._live.half_open = False

    def fade(self, now: float) -> None:
        """Brings the failure rate up to date: one that faded only when requests come would keep them away for ever."""
        if self._rate_at > NEVER:
            decay = 2.0 ** (-max(0.0, now - self._rate_at) / RATE_HALF_LIFE_S)
            self._failures = EXPECTED_FAILURES + decay * (self._failures - EXPECTED_FAILURES)
            self._successes = PRIOR_SUCCESSES + decay * (self._successes - PRIOR_SUCCESSES)
            self._rate_at = now
            self._live.failure_rate = self._rate()

    def _observe(self, now: float, *, failed: bool) -> None:
        self.fade(now)
        if failed:
            self._failures += 1.0
        else:
            self._successes += 1.0
        self._rate_at = now
        self._live.failure_rate = self._rate()

    def _rate(self) -> float:
        return self._failures / (self._failures + self._successes)

    def _surely_failing(self) -> bool:
        """True when the 5 % quantile of the failure rate (normal approximation of the Beta) is above the limit."""
        failures = self._failures + PRIOR_FAILURES - EXPECTED_FAILURES
        total = failures + self._successes
        rate = failures / total
        sd = math.sqrt(rate * (1.0 - rate) / (total + 1.0))
        return rate - 1.645 * sd > RATE_LIMIT
