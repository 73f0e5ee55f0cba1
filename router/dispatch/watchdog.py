"""Ends a wait that takes too long, with one timer per attempt instead of one per token.

`asyncio.timeout` around each read costs more than reading does. Here the timer is armed once and looks, when it fires,
whether the limit has moved on in the meantime. It only ever interrupts the wait itself: time that passes while the
caller takes its chunk is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from router.clock import Clock

T = TypeVar("T")
# How soon to look again at a limit that passed while nobody was waiting.
LOOK_AGAIN_S = 0.05
RESOLUTION_S = 0.001


class Watchdog:
    """Watches the waits of one attempt; `limit` is on the clock's monotonic scale. To be closed with the attempt."""

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock = clock
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[object] | None = None
        self._expired = False
        self._fires_at = limit
        self._timer = self._arm(limit - clock.monotonic())

    def move(self, limit: float) -> None:
        """From now on a wait may last until `limit`."""
        self._limit = limit
        if limit < self._fires_at:
            self._timer.cancel()
            self._fires_at = limit
            self._timer = self._arm(limit - self._clock.monotonic())

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Awaits, at most until the limit.

        Raises:
            TimeoutError: the limit came first, and what was awaited is cancelled.
        """
        task = self._waiting = asyncio.current_task()
        cancelling = task.cancelling() if task is not None else 0
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Somebody else's cancellation that came at the same moment goes first.
            if self._expired and task is not None and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        self._timer.cancel()

    def _arm(self, delay_s: float) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0.0, delay_s), self._fire)

    def _fire(self) -> None:
        left = self._limit - self._clock.monotonic()
        if left > 0.0 or self._waiting is None:
            # uvloop counts in milliseconds and may be early by one: that must not cost another round.
            delay = max(left, RESOLUTION_S) if left > 0.0 else LOOK_AGAIN_S
            self._fires_at = self._clock.monotonic() + delay
            self._timer = self._arm(delay)
            return
        self._expired = True
        self._waiting.cancel()
