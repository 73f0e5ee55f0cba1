"""Which of thousands of rows are worth a forecast of their own: those whose approximate rank is best.

`Facts` holds what filters and objective read of each row, as vectors; `rank_usd` is the objective with its tiers by
estimates of all rows (`prediction.many`), `choose` takes the best of it. What is chosen is then filtered, predicted,
scored and ordered exactly as in a small fleet, so that this only decides who is looked at.
"""

from __future__ import annotations

import math
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from router.domain.estimates import Estimates, Floats
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

Exact = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
# Of near-ties beyond what is looked at, as many get their turn with each request.
TURNS: Final = 16
# Single precision tells no smaller probability from none.
LEAST_LIKELY: Final = 1e-37
ENDLESS: Final = 1 << 62


class Facts:
    """What filters and objective read of each row, by the place of the row in `rows`."""

    def __init__(self, rows: list[Row]) -> None:
        count = len(rows)
        self.rows = rows
        self._out = np.zeros(count, dtype=np.bool_)
        self._until = np.zeros(count)
        self._joined = np.zeros(count)
        self._batch = np.zeros(count, dtype=np.float32)
        self._slots = np.ones(count, dtype=np.float32)
        self._answers = np.zeros(count, dtype=np.float32)
        self._full = np.zeros(count, dtype=np.bool_)
        self._failing = np.zeros(count, dtype=np.float32)
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
            self.put(place)
        self.settle()

    def put(self, place: int) -> None:
        """Takes in a row that came into this place; `settle` is to follow."""
        row = self.rows[place]
        self._privacy[place] = row.privacy
        self._capabilities[place] = row.capabilities
        self._context[place] = row.context_tokens or ENDLESS
        self._unknown[place] = not row.price_known
        self._region[place] = self._regions.setdefault(row.region, len(self._regions))
        self._quality[place] = self._qualities.setdefault(row.quality, len(self._qualities))
        self.read(place)

    def settle(self) -> None:
        """What all rows have in common."""
        self._any_unknown = bool(self._unknown.any())
        self._least_privacy = int(self._privacy.min())
        self._least_context = int(self._context.min())
        self._common = int(np.bitwise_and.reduce(self._capabilities))

    def read(self, place: int) -> None:
        """Reads again what changes by the second."""
        row = self.rows[place]
        live = row.live
        batch = live.batch()
        until = max(live.limited_until, live.open_until)
        if live.requests_left < 1.0:
            until = max(until, live.requests_left_until)
        self._until[place] = until
        self._out[place] = (
            not row.usable
            or row.drained
            or row.ejected
            or live.ejected
            or row.warming
            or live.warming
            or live.half_open
            or 0.0 <= live.limit_requests < 1.0
            or 0.0 <= live.limit_tokens < 1.0
        )
        self._joined[place] = live.joined_at
        self._newest = max(self._newest, live.joined_at)
        self._batch[place] = batch
        self._slots[place] = row.max_concurrency
        self._answers[place] = row.learned.observations
        # As in a fleet where nobody is new: that goes by the time of each request.
        self._full[place] = crowded(row, batch, math.inf, trying=True)
        failing = live.failure_rate
        self._failing[place] = min(1.0, failing + 0.2) if row.suspect else failing

    def out(self, want: Constraints, excluded: list[int], now: float) -> npt.NDArray[np.bool_]:
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
            (weights.usd_per_slowed_s, seen.slowed_s),
        ):
            if usd > 0.0:
                stake += usd * of
        likely = seen.likely()
        if weights.usd_per_slo_miss > 0.0 and not isinstance(likely, float):
            stake += weights.usd_per_slo_miss * (1.0 - likely)
        return stake

    def rank_usd(self, stake: Floats, seen: Estimates, shape: Shape, weights: Weights) -> Exact:
        """`Forecast.rank_usd` of each row."""
        rank = stake.astype(np.float64)
        if weights.usd_per_error > 0.0:
            rank += weights.usd_per_error * self._failing
        if weights.usd_per_quality > 0.0:
            worse = [weights.usd_per_quality * (1.0 - quality.of(shape.quality_task)) for quality in self._qualities]
            rank += worse[0] if len(worse) == 1 else np.array(worse)[self._quality]
        tiers: list[Exact] = []
        if not isinstance(seen.p_e2e, float):
            tiers.append(np.where(seen.p_e2e < shape.e2e_probability, TIER_USD, 0.0))
        if not isinstance(seen.p_tpot, float):
            tiers.append(np.where(seen.p_tpot < shape.tpot_probability, 2.0 * TIER_USD, 0.0))
        late = tiers[0] if len(tiers) == 1 else np.maximum(*tiers) if tiers else None
        if not isinstance(seen.p_ttft, float):
            hopeless = seen.p_ttft < shape.ttft_probability
            if hopeless.any():
                steps = np.floor(np.log(np.maximum(seen.likely(), LEAST_LIKELY)) * (-1.0 / STEP_LOG))
                surcharge = HOPELESS * TIER_USD + steps * STEP_USD
                late = np.where(hopeless, surcharge, 0.0 if late is None else late)
        if late is not None:
            rank += late
        rank += self.crowded(shape) * CROWDED_USD
        return rank

    def crowded(self, shape: Shape) -> npt.NDArray[np.bool_]:
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
    facts: Facts, rank: Exact, stake: Floats, seen: Estimates, shape: Shape, *, count: int, turn: int
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
