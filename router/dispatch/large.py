"""Decides over names that thousands of rows serve: a few dozen of them are looked at as in a small fleet.

Which ones follows from approximate ranks of all (`prediction.many`, `scheduling.shortlist`), kept in vectors that are
told of changes (`Fleet.touched`) and never look for them while a request waits. What nobody tells (beliefs that fade,
limits that fill up again, graded answers) is read in turn, every row once in `ROUND_S`.

The decision over those few is the exact one, hard constraints included. More are looked at until what is found ranks
no worse than the best of the others by its estimate; where nothing is found, all are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from router.dispatch.fleet import Fleet
from router.domain.length import Length
from router.domain.request import RequestProfile
from router.domain.rows import Row, Shape
from router.prediction.estimates import Each, Estimates
from router.prediction.many import Many
from router.prediction.predictor import forecasts
from router.scheduling import scheduler
from router.scheduling.filters import Constraints
from router.scheduling.objective import Weights
from router.scheduling.picker import SORTED
from router.scheduling.scheduler import Ranking
from router.scheduling.shortlist import Facts, choose

LOOKED_AT = 48
WIDER = 4
# So much worse than an estimate of what was left out may be what was found: estimates are that good, and better.
TOLERANCE = 0.02
ROUND_S = 4.0
READ_AT_ONCE = 256
MOST_NAMES = 16


class Crowd:
    """The rows of one name, with the vectors that hold them."""

    def __init__(self, rows: list[Row], now: float) -> None:
        self.rows = rows
        self.changed: set[str] = set()
        self._read_at = now
        self._next = 0
        self._turn = 0
        self._many = Many(rows)
        self._facts = Facts(rows, now)
        self._places: dict[str, list[int]] = {}
        self._find()

    def _find(self) -> None:
        self._places.clear()
        for place, row in enumerate(self.rows):
            self._places.setdefault(row.id, []).append(place)

    def follow(self, rows: list[Row], now: float) -> None:
        """Takes over what has changed since the last request; `rows` is the same list unless the fleet has changed."""
        if rows is not self.rows:
            self._replace(rows, now)
        if self.changed:
            # A beat may tell of thousands at once; the rest is read with the next requests.
            for _ in range(min(READ_AT_ONCE, len(self.changed))):
                for place in self._places.get(self.changed.pop(), ()):
                    self._read(place, now)
        count = len(rows)
        due = min(READ_AT_ONCE, int(count * (now - self._read_at) / ROUND_S))
        if due > 0:
            self._read_at = now
            for place in range(self._next, self._next + due):
                self._read(place % count, now)
            self._next = (self._next + due) % count

    def _replace(self, rows: list[Row], now: float) -> None:
        before, self.rows = self.rows, rows
        if len(before) != len(rows) or any(
            old is not row and (old.id, old.model) != (row.id, row.model) for old, row in zip(before, rows, strict=True)
        ):
            places = {(row.id, row.model): place for place, row in enumerate(before)}
            came_from = [places.get((row.id, row.model), -1) for row in rows]
            moved = [max(0, place) for place in came_from]
            self._many.move(rows, moved)
            self._facts.move(rows, moved)
            before = [before[place] for place in moved]
            self._find()
        else:
            self._many.rows = self._facts.rows = rows
        for place, row in enumerate(rows):
            if before[place] is not row:
                self._many.put(place)
                self._facts.put(place, now)
        self._facts.settle()

    def _read(self, place: int, now: float) -> None:
        self._many.read(place)
        self._facts.read(place, now)

    def rank(
        self,
        profile: RequestProfile,
        shape: Shape,
        weights: Weights,
        *,
        length_of: Callable[[str, Shape], Length],
        uniform: Callable[[], float],
        avoid: frozenset[str],
    ) -> Ranking | None:
        """The ranking of those that were looked at; None when all have to be."""
        want = Constraints(profile, avoid=avoid)

        def look(places: list[int]) -> Ranking:
            ranking = scheduler.rank(
                [self.rows[place] for place in places],
                profile,
                shape,
                weights,
                predict=forecasts,
                length_of=length_of,
                uniform=draw,
                now=shape.now,
                avoid=avoid,
            )
            ranking.partial = True
            return ranking

        draw = Draw(uniform)
        if want.only:
            ranking = look(sorted(self._at(want.only)))
            ranking.drops = len(self.rows) - ranking.candidates
            return ranking if ranking.ordered else None
        facts, count = self._facts, LOOKED_AT
        lengths = {model: length_of(model, shape) for model in self._many.models}
        seen = self._estimate(shape, weights, lengths)
        stake = facts.stake_usd(seen, shape, weights)
        out = facts.out(want, self._at(want.excluded), shape.now)
        self._turn += 1
        while count < len(self.rows):
            rank = facts.rank_usd(stake, seen, shape, weights, out, count=count)
            places, beyond = choose(facts, rank, stake, seen, shape, count=count, turn=self._turn)
            ranking = look(places.tolist())
            ordered = ranking.ordered
            if ordered and not ranking.panic and (len(ordered) > SORTED or beyond == math.inf):
                best = ordered[0]
                if len(ordered) > 1 and ordered[1].rank_usd < best.rank_usd:
                    best = ordered[1]
                if best.rank_usd <= beyond + TOLERANCE * abs(best.objective_usd):
                    ranking.drops = max(ranking.drops, int(np.count_nonzero(out)))
                    ranking.candidates = len(self.rows) - ranking.drops
                    return ranking
            if beyond == math.inf:
                return None
            count *= WIDER
        return None

    def _at(self, backends: frozenset[str]) -> list[int]:
        return [place for backend in backends for place in self._places.get(backend, ())]

    def _estimate(self, shape: Shape, weights: Weights, lengths: dict[str, Length]) -> Estimates:
        many = self._many
        fresh: Each = max(0.0, shape.input_tokens - shape.cached_tokens)
        if shape.cached_on:
            each = np.full(len(self.rows), fresh, dtype=np.float32)
            for backend, tokens in shape.cached_on.items():
                for place in self._places.get(backend, ()):
                    each[place] = max(0.0, shape.input_tokens - tokens)
            fresh = each
        # What is hopeless overflows to probability zero.
        with np.errstate(over="ignore"):
            seen = many.estimate(shape, lengths, fresh)
        if weights.usd_per_joule > 0.0:
            seen.energy_j = many.energy_j(seen)
        if weights.usd_per_g_co2 > 0.0:
            seen.carbon_g = many.carbon_g(seen)
        seen.slowed_usd = many.slowed_usd(seen, weights.usual_usd_per_slowed_s)
        return seen


class Crowds:
    """The crowds of a fleet, by name; what was not asked for the longest is forgotten beyond `MOST_NAMES`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._crowds: dict[str, Crowd] = {}

    def of(self, name: str, rows: list[Row], now: float) -> Crowd:
        crowd = self._crowds.pop(name, None)
        if crowd is None:
            if len(self._crowds) >= MOST_NAMES:
                oldest = self._crowds.pop(next(iter(self._crowds))).changed
                # Two that have heard nothing are equal, but not the same.
                self._fleet.watched_by = [changed for changed in self._fleet.watched_by if changed is not oldest]
            crowd = Crowd(rows, now)
            self._fleet.watched_by.append(crowd.changed)
        self._crowds[name] = crowd
        crowd.follow(rows, now)
        return crowd


class Draw:
    """One draw for one request, however often it is looked at."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._drawn = -1.0

    def __call__(self) -> float:
        if self._drawn < 0.0:
            self._drawn = self._uniform()
        return self._drawn
