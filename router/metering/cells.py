"""The totals of every key that this process answers for.

They are counters that only grow, so merging two copies of one is taking the later, and that is the one which has seen
more attempts: every change of a cell adds at least one. Cells of dead processes live beside our own, under the name of
their incarnation: one owner, one journal and one hand-in for all.

Bounded: when there is no room for another key, what it would count goes to model and backend "other".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from router.domain.usage import FIELDS, HOUR_S

# hour, incarnation, tenant, model, backend
CellKey = tuple[int, str, str, str, str]
# The numbers in the order of FIELDS; a list, for it is added to in place at every request.
Cell = list[int]

ATTEMPTS = 0
MAX_CELLS = 100_000
OTHER = "other"
# The hour before this one may still be recorded to by a clock that is corrected backwards.
_OPEN_HOURS = 2


class Cells:
    """`changed` are the keys whose totals the store does not have yet."""

    def __init__(self, *, limit: int = MAX_CELLS) -> None:
        self.values: dict[CellKey, Cell] = {}
        self.changed: dict[CellKey, None] = {}
        self.overflowed = 0
        # No cell is begun before this hour: those before it may be forgotten, and must not start again from nothing.
        self.floor = 0
        self._limit = limit
        self._hours: dict[int, list[CellKey]] = {}

    def __len__(self) -> int:
        return len(self.values)

    @property
    def full(self) -> bool:
        return len(self.values) >= self._limit

    def open(self, key: CellKey) -> tuple[CellKey, Cell]:
        """The cell of a key, a new one if need be; another key's where there is no room for more."""
        if key not in self.values and self.full:
            self.overflowed += 1
            hour, incarnation, tenant, _, _ = key
            key = (hour, incarnation, tenant, OTHER, OTHER)
            if key not in self.values and len(self.values) >= self._limit + self._limit // 10:
                key = (hour, incarnation, OTHER, OTHER, OTHER)
        cell = self.values.get(key)
        if cell is None:
            cell = self.values[key] = [0] * len(FIELDS)
            self._hours.setdefault(key[0], []).append(key)
        return key, cell

    def merge(self, key: CellKey, numbers: Sequence[int]) -> None:
        """Takes over a copy of a cell, if it is later than ours."""
        cell = self.values.get(key)
        if cell is None:
            self.values[key] = list(numbers)
            self._hours.setdefault(key[0], []).append(key)
        elif numbers[ATTEMPTS] > cell[ATTEMPTS]:
            cell[:] = numbers
        else:
            return
        self.changed[key] = None

    def take(self, limit: int) -> list[tuple[CellKey, tuple[int, ...]]]:
        """Up to so many changed cells as they are now; from here on they count as handed in."""
        keys = list(islice(self.changed, limit))
        for key in keys:
            del self.changed[key]
        return [(key, tuple(self.values[key])) for key in keys]

    def give_back(self, keys: Iterable[CellKey]) -> None:
        """They have not been handed in after all."""
        self.changed.update(dict.fromkeys(keys))

    def change_all(self) -> None:
        """The store has nothing of it any more."""
        self.changed = dict.fromkeys(self.values)

    def forget(self, *, now: float, keep_s: float) -> None:
        """Drops what was handed in and is old, and more of the oldest when there is little room left.

        Only when all is handed in: then nothing that is dropped is missing anywhere.
        """
        if self.changed:
            return
        oldest_open = int(now) // HOUR_S * HOUR_S - (_OPEN_HOURS - 1) * HOUR_S
        for hour in sorted(self._hours):
            crowded = len(self.values) > self._limit * 9 // 10
            if hour >= oldest_open or not (crowded or hour < now - keep_s):
                return
            for key in self._hours.pop(hour):
                del self.values[key]
            self.floor = max(self.floor, hour + HOUR_S)
