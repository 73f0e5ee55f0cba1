"""What replicas tell each other of prompts that were read: blocks that are new to a backend, by their names alone.

A beat may be lost or come twice, so each says what was read in the last half second, numbered; a run of a replica
counts from 1. What is beyond the bound is not told, and costs no more than that a prefix is read again elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from router.domain.replica import Beat, Reading, Replica

TOLD_S: Final = 0.5
# Of 8 bytes each, in one beat: 8 kB.
MAX_TOLD_BLOCKS: Final = 1024


class Readings:
    """What this replica tells of, and how far it has listened to the others."""

    def __init__(self) -> None:
        self._count = 0
        self._blocks = 0
        self._told: deque[tuple[float, Reading]] = deque()
        # By replica: since when it runs, and the last number heard.
        self._heard: dict[str, tuple[float, int]] = {}

    def add(self, model: str, backend: str, blocks: tuple[int, ...], now: float) -> None:
        """A prompt was read whose `blocks` were new to the backend."""
        self._count += 1
        self._told.append((now, Reading(number=self._count, model=model, backend=backend, blocks=blocks)))
        self._blocks += len(blocks)
        while self._blocks > MAX_TOLD_BLOCKS:
            self._drop()

    def lately(self, now: float) -> tuple[Reading, ...]:
        """What belongs into a beat now."""
        while self._told and now - self._told[0][0] > TOLD_S:
            self._drop()
        return tuple([reading for _, reading in self._told])

    def new_of(self, replicas: tuple[Replica, ...]) -> Iterator[Reading]:
        """What was not heard before of what others said; who is gone is forgotten."""
        before, self._heard = self._heard, {}
        for replica in replicas:
            beat: Beat = replica.beat
            started_at, last = before.get(replica.id, (beat.started_at, 0))
            if started_at != beat.started_at:
                last = 0
            for reading in beat.read:
                if reading.number > last:
                    last = reading.number
                    yield reading
            self._heard[replica.id] = (beat.started_at, last)

    def _drop(self) -> None:
        self._blocks -= len(self._told.popleft()[1].blocks)
