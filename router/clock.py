"""The only place that reads real time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...

    def time(self) -> float:
        """Unix seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, *, now: float = 1_000.0, unix: float = 1_800_000_000.0) -> None:
        self._now = now
        self._unix = unix

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._unix

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._unix += seconds
