"""How long a call of the store may take, by the time in which this process could have heard the answer.

A loop that stood still (a busy machine, a suspended process) finds the answer and the end of the time at once, and
asyncio would let the end win: a store that answered would be called away, and coming back to it costs more work than
there was. So the time is counted in slices, and one that ends late counts as one, however long it took.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

SLICES = 4
# A slice that ends as late as this was not all the store's.
LATE_S = 0.05


class Bound:
    """As `asyncio.timeout`; it ends by TimeoutError after `timeout_s`, and the time that the loop stood still."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._slice_s = timeout_s / SLICES
        self._slices = SLICES
        self._spared = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._slice_s, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def left_s(self) -> float:
        """What is left if the loop goes on as it should."""
        return (self._slices - 1) * self._slice_s + self._timer.when() - self._loop.time()

    def _look(self) -> None:
        now = self._loop.time()
        self._slices -= 1
        if not self._slices and not self._spared and now - self._timer.when() > LATE_S:
            # Once: what came meanwhile is still to be read.
            self._spared = True
            self._slices = 1
        if self._slices:
            self._timer = self._loop.call_later(self._slice_s, self._look)
        else:
            self._timeout.reschedule(now)
