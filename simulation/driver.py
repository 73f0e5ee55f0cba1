"""Runs an engine in real time on an event loop, with one timer for all of its requests."""

from __future__ import annotations

import asyncio

from router.clock import Clock, SystemClock
from simulation.engine import Engine, Sequence

TICK_S = 0.002
RESOLUTION_S = 0.001  # of uvloop's timers: a shorter delay would spin


class Driver:
    """Wakes up when the engine has something to hand out, but at most once per tick.

    Tokens that fall due within one tick are handed out together, as a fast server's would be read together.
    """

    def __init__(self, engine: Engine, *, tick_s: float = TICK_S, clock: Clock | None = None) -> None:
        self.engine = engine
        self._tick_s = tick_s
        self._clock = clock or SystemClock()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._last_wake = 0.0

    def submit(self, sequence: Sequence) -> None:
        """Takes a request in; its `deliver` is called whenever it got tokens."""
        self.engine.submit(sequence, self._clock.monotonic())
        self._arm()

    def cancel(self, sequence: Sequence) -> None:
        self.engine.cancel(sequence, self._clock.monotonic())
        self._arm()

    def stall(self, stalled: bool) -> None:  # noqa: FBT001 - a state, not an option
        self.engine.stall(stalled, self._clock.monotonic())
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        due = self.engine.next_due()
        if due is None:
            self.close()
            return
        at = max(due, self._last_wake + self._tick_s)
        if self._timer is not None and self._timer_at <= at:
            return
        self.close()
        self._timer_at = at
        self._timer = self._loop.call_later(max(RESOLUTION_S, at - self._clock.monotonic()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._last_wake = self._clock.monotonic()
        for sequence in self.engine.advance(self._last_wake):
            sequence.deliver(sequence)
        self._arm()
