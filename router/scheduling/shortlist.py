"""Which of thousands of rows are worth a forecast of their own: those whose approximate rank is best.

`Facts` holds what filters and objective read of each row, as vectors; `rank_usd` is the objective with its tiers by
estimates of all rows (`prediction.many`), `choose` takes the best of it. What is chosen is then filtered, predicted,
scored and ordered exactly as in a small fleet, so that this only decides who is looked at.
"""

from __future__ import annotations

import math
from typing import Any, Final, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from router.domain.prefix_cache import BLOCK_TOKENS
from router.domain.quality import Quality
from router.domain.rows import Row, Shape
from router.scheduling.filters import Constraints, region_matches
from router.scheduling.objective import (
    CROWDED_USD,
    FIRST_ANSWERS,
    HOPELESS,
    SLOW_START_S,
    STEP_LOG,
    STEP_USD,
    TIER_USD,
    UNKNOWN_INPUT_USD,
    UNKNOWN_OUTPUT_USD,
    Weights,
    crowded,
)
from router.scheduling.picker import KAPPA, TIE_SHARE

Floats = npt.NDArray[np.floating[Any]]
Each = float | Floats
Flags = npt.NDArray[np.bool_]
Exact = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
# Of near-ties beyond what is looked at, as many get their turn with each request.
TURNS: Final = 16
# Single precision tells no smaller probability from none.
LEAST_LIKELY: Final = 1e-37
# How long a limit that is used up is taken to be so, unless the row is read again.
FILLS_UP_S: Final = 1.0
ENDLESS: Final = 1 << 62
HELD: Final = ("_flags", "_load", "_times", "_privacy", "_capabilities", "_context", "_unknown", "_region", "_quality")
INFINITE: Final = np.float32(math.inf)


class Estimates(Protocol):
    """What the objective is made of, for all rows, as in `Forecast`; a number where it is the same for all."""

    fresh_tokens: Each
    output_tokens: Each
    ttft_s: Floats
    tpot_s: Floats
    tpot_sd: Floats
    e2e_s: Floats
    cost_usd: Floats
    p_ttft: Each
    p_tpot: Each
    p_e2e: Each
    energy_j: Each
    carbon_g: Each
    slowed_usd: Each

    def likely(self) -> Each:
        """P(every objective is met)."""


class Facts:
    """What filters and objective read of each row, by the place of the row in `rows`."""

    def __init__(self, rows: list[Row], now: float) -> None:
        count = len(rows)
        self.rows = rows
        self._flags = np.zeros((2, count), dtype=np.bool_)
        self._load = np.zeros((4, count), dtype=np.float32)
        # Seconds on a clock need more digits.
        self._times = np.zeros((2, count))
        self._name()
        self._newest = -math.inf
        self._privacy = np.zeros(count, dtype=np.int64)
        self._capabilities = np.zeros(count, dtype=np.int64)
        self._context = np.zeros(count, dtype=np.int64)
        self._unknown = np.zeros(count, dtype=np.bool_)
        self._region = np.zeros(count, dtype=np.intp)
        self._quality = np.zeros(count, dtype=np.intp)
        self._regions: dict[str, int] = {}
        self._qualities: dict[Quality, int] = {}
        self._lots: Lots | None = None
        for place in range(count):
            self.put(place, now)
        self.settle()

    def _name(self) -> None:
        self._out, self._full = self._flags
        self._batch, self._slots, self._answers, self._failing = self._load
        self._until, self._joined = self._times

    def move(self, rows: list[Row], before: list[int]) -> None:
        """Other rows, of which each was at a place `before`; those that were not are to be `put`."""
        self.rows = rows
        self._lots = None
        for name in HELD:
            setattr(self, name, getattr(self, name).take(before, axis=-1))
        self._name()

    def put(self, place: int, now: float) -> None:
        """Takes in a row that came into this place; `settle` is to follow."""
        row = self.rows[place]
        self._privacy[place] = row.privacy
        self._capabilities[place] = row.capabilities
        self._context[place] = row.context_tokens or ENDLESS
        self._unknown[place] = not row.price_known
        self._region[place] = self._regions.setdefault(row.region, len(self._regions))
        self._quality[place] = self._qualities.setdefault(row.quality, len(self._qualities))
        self.read(place, now)

    def settle(self) -> None:
        """What all rows have in common."""
        self._any_unknown = bool(self._unknown.any())
        self._least_privacy = int(self._privacy.min())
        self._least_context = int(self._context.min())
        self._common = int(np.bitwise_and.reduce(self._capabilities))

    def read(self, place: int, now: float) -> None:
        """Reads again what changes by the second."""
        row = self.rows[place]
        live = row.live
        batch = live.batch()
        until = max(live.limited_until, live.open_until)
        if live.requests_left < 1.0:
            until = max(until, live.requests_left_until)
        if 0.0 <= live.limit_requests < 1.0 or 0.0 <= live.limit_tokens < 1.0:
            until = max(until, now + FILLS_UP_S)
        out = not row.usable or row.drained or row.ejected or row.warming
        out = out or live.ejected or live.warming or live.half_open
        joined = live.joined_at
        self._newest = max(self._newest, joined)
        failing = live.failure_rate
        if row.suspect:
            failing = min(1.0, failing + 0.2)
        # As where nobody is new: that goes by the time of each request.
        self._flags[:, place] = (out, crowded(row, batch, math.inf, trying=True))
        self._load[:, place] = (batch, row.max_concurrency, row.learned.observations, failing)
        self._times[:, place] = (until, joined)

    def out(self, want: Constraints, excluded: list[int], now: float) -> Flags:
        """True for what the filters would drop; not all that they drop, and more than that by some seconds."""
        out = self._out | (self._until > now)
        if want.privacy > self._least_privacy:
            out |= self._privacy < want.privacy
        if (self._common & want.needs) != want.needs:
            out |= (self._capabilities & want.needs) != want.needs
        if self._least_context < want.context:
            out |= self._context < want.context
        if want.regions:
            out |= ~np.array([region_matches(region, want.regions) for region in self._regions])[self._region]
        if want.minimum_quality >= 0.0:
            below = np.array([quality.of(want.task) < want.minimum_quality for quality in self._qualities])
            out |= below[self._quality]
        if want.max_cost_usd >= 0.0 and self._any_unknown:
            out |= self._unknown
        out[excluded] = True
        return out

    def stake_usd(self, seen: Estimates, shape: Shape, weights: Weights) -> Floats:
        """`picker.at_stake` of each row."""
        cost = seen.cost_usd
        if self._any_unknown:
            unknown = UNKNOWN_INPUT_USD * shape.input_tokens + UNKNOWN_OUTPUT_USD * seen.output_tokens
            cost = np.where(self._unknown, np.float32(unknown), cost)
        stake: Floats = cost * (weights.cost * shape.money_multiplier)
        for usd, of in (
            (weights.usd_per_s, seen.e2e_s),
            (weights.usd_per_ttft_s, seen.ttft_s),
            (weights.usd_per_joule, seen.energy_j),
            (weights.usd_per_g_co2, seen.carbon_g),
        ):
            if usd > 0.0:
                stake += usd * of
        stake += seen.slowed_usd
        likely = seen.likely()
        if weights.usd_per_slo_miss > 0.0 and not isinstance(likely, float):
            stake += weights.usd_per_slo_miss * (1.0 - likely)
            if shape.headroom < math.inf:
                stake += weights.usd_per_slo_miss * _tight(seen, shape)
        return stake

    def rank_usd(
        self, stake: Floats, seen: Estimates, shape: Shape, weights: Weights, out: Flags, *, count: int
    ) -> Floats | Exact:
        """`Forecast.rank_usd` of each row, infinite for what is out.

        Where more than `count` meet every objective and have room, it is infinite for all others as well: they come
        after these, and telling tiers apart takes twice the digits and twice the time.
        """
        rank: Floats = stake + weights.usd_per_error * self._failing
        if weights.usd_per_quality > 0.0:
            worse = [weights.usd_per_quality * (1.0 - quality.of(shape.quality_task)) for quality in self._qualities]
            rank += worse[0] if len(worse) == 1 else np.array(worse, dtype=np.float32)[self._quality]
        crowded_now = self.crowded(shape)
        good = out | crowded_now
        np.logical_not(good, out=good)
        for p, wanted in (
            (seen.p_ttft, shape.ttft_probability),
            (seen.p_tpot, shape.tpot_probability),
            (seen.p_e2e, shape.e2e_probability),
        ):
            if not isinstance(p, float):
                good &= p >= wanted
        if np.count_nonzero(good) > count:
            return np.where(good, rank, INFINITE)
        exact = rank.astype(np.float64)
        late = np.zeros(len(rank))
        if not isinstance(seen.p_e2e, float):
            late[seen.p_e2e < shape.e2e_probability] = TIER_USD
        if not isinstance(seen.p_tpot, float):
            late[seen.p_tpot < shape.tpot_probability] = 2.0 * TIER_USD
        if not isinstance(seen.p_ttft, float):
            hopeless = seen.p_ttft < shape.ttft_probability
            late[hopeless] = HOPELESS * TIER_USD + _steps(seen)[hopeless] * STEP_USD
        exact += late
        exact[crowded_now] += CROWDED_USD
        exact[out] = math.inf
        return exact

    def crowded(self, shape: Shape) -> Flags:
        """`objective.crowded` of each row."""
        if shape.now - self._newest >= SLOW_START_S:
            return self._full
        age = shape.now - self._joined
        new = age < SLOW_START_S
        room = np.maximum(1.0, self._slots * age * (1.0 / SLOW_START_S))
        held = self._batch + 1.0 > room
        if not shape.batch:
            held |= self._answers < FIRST_ANSWERS
        return self._full | (new & held)

    def lots(self, seed: str) -> npt.NDArray[np.uint32]:
        """`picker.lot` of each row."""
        if self._lots is None:
            self._lots = Lots([f"\0{row.id}\0{row.model}".encode() for row in self.rows])
        return self._lots.of(seed)


class Lots:
    """The lots of many names that begin alike: a checksum is linear, so the beginning is taken in once for each length.

    crc(a + b) = crc(b) ^ shift(crc(a)), where the shift depends on the length of b alone.
    """

    def __init__(self, names: list[bytes]) -> None:
        self._crc = np.array([crc32(name) for name in names], dtype=np.uint32)
        self._lengths = sorted({len(name) for name in names})
        number = {length: n for n, length in enumerate(self._lengths)}
        self._length = np.array([number[len(name)] for name in names], dtype=np.intp)

    def of(self, seed: str) -> npt.NDArray[np.uint32]:
        begun = crc32(seed.encode())
        shifts = [crc32(bytes(length), begun) ^ crc32(bytes(length)) for length in self._lengths]
        n = self._crc ^ np.array(shifts, dtype=np.uint32)[self._length]
        n = (n ^ (n >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        n = (n ^ (n >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        return n ^ (n >> np.uint32(16))


def choose(
    facts: Facts, rank: Floats | Exact, stake: Floats, seen: Estimates, shape: Shape, *, count: int, turn: int
) -> tuple[Places, float]:
    """The places of about `count` rows to look at, in order, and the rank of the best that is left out.

    Rank is infinite for what is out. `turn` is another number for each request: more near-ties than are looked at
    get their turn, unless the request keeps to one of them.
    """
    parts = np.argpartition(rank, count)
    best = parts[:count]
    beyond = float(rank[parts[count]])
    chosen = [best[np.isfinite(rank[best])]]
    lead = int(best[rank[best].argmin()])
    margin = TIE_SHARE * abs(float(stake[lead]))
    limit = float(rank[lead]) + margin
    if beyond <= limit:
        near = np.flatnonzero(rank <= limit)
        if shape.seed:
            # Whoever holds most of the prompt, to a block, and of those the highest lot: as the picker keeps to one.
            after = -facts.lots(shape.seed)[near].astype(np.float64)
            if not isinstance(seen.fresh_tokens, float):
                after += np.round(seen.fresh_tokens[near] * (1.0 / BLOCK_TOKENS)) * 2.0**32
            chosen.append(near[np.argpartition(after, TURNS)[:TURNS]])
        else:
            step = max(1, len(near) // TURNS)
            chosen.append(near[turn % step :: step])
    if shape.explore:
        credited = rank - KAPPA * seen.tpot_sd * stake - CROWDED_USD * facts.crowded(shape)
        few = np.argpartition(credited, count // 2)[: count // 2]
        chosen.append(few[np.isfinite(credited[few])])
    if len(chosen) == 1:
        return np.sort(chosen[0]), beyond
    return np.unique(np.concatenate(chosen)), beyond


def _steps(seen: Estimates) -> Floats:
    """`objective._steps` of each."""
    steps: Floats = np.floor(np.log(np.maximum(seen.likely(), LEAST_LIKELY)) * (-1.0 / STEP_LOG))
    return steps


def _tight(seen: Estimates, shape: Shape) -> Flags:
    """What is expected beyond the headroom of an objective, as `objective.score` has it."""
    tight = seen.ttft_s > shape.headroom * shape.ttft_slo_s
    tight |= seen.tpot_s > shape.headroom * shape.tpot_slo_s
    tight |= seen.e2e_s > shape.headroom * shape.e2e_slo_s
    return tight
