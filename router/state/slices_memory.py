"""What `scripts/slices.lua` does, in this process: for simulations with a clock that is told what time it is.

Each replica of a simulation has an exchange of its own over one `MemorySlices`. A test holds it against the script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from router.clock import Clock
from router.domain.slices import Ask, BudgetAsk, BudgetGrant, Grant, RateAsk, RateGrant
from router.errors import StoreUnavailable

FORGET_S = 15.0
HUNGRY_S = 1.0
DEAD_S = 15.0
RESERVE_S = 0.1
LONGEST_S = 0.25


@dataclass(slots=True)
class _Holder:
    at: float
    held: float
    demand: float


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float
    holders: dict[str, _Holder] = field(default_factory=dict)


@dataclass(slots=True)
class _Share:
    at: float
    spent: float
    granted: float


@dataclass(slots=True)
class _Ledger:
    gone: float = 0.0
    shares: dict[str, _Share] = field(default_factory=dict)


def fair_share(rate: float, wishes: Sequence[float]) -> float:
    """The rate that nobody exceeds when `rate` is shared max-min."""
    left = rate
    for index, wish in enumerate(sorted(wishes)):
        even = left / (len(wishes) - index)
        if wish >= even:
            return even
        left -= wish
    return math.inf


class MemorySlices:
    """The store. `away` lets every call fail; `wipe` forgets everything."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._ledgers: dict[tuple[str, str], _Ledger] = {}
        self.away = False

    def wipe(self) -> None:
        self._buckets.clear()
        self._ledgers.clear()

    def exchange(self, replica: str, asks: Sequence[Ask]) -> list[Grant]:
        if self.away:
            raise StoreUnavailable("the store is away")
        return [
            RateGrant(amount=self._rate(replica, ask)) if isinstance(ask, RateAsk) else self._budget(replica, ask)
            for ask in asks
        ]

    def _rate(self, replica: str, ask: RateAsk) -> float:
        now = self._clock.time()
        bucket = self._buckets.setdefault((ask.tenant, ask.limit), _Bucket(ask.capacity, now))
        mine = bucket.holders.pop(replica, None)
        bucket.holders = {name: other for name, other in bucket.holders.items() if now - other.at <= FORGET_S}
        others = bucket.holders.values()
        held = max(0.0, ask.balance) + sum(max(0.0, other.held) for other in others)
        wishes = [ask.demand, *(other.demand for other in others if now - other.at <= HUNGRY_S)]
        before = held - max(0.0, ask.balance) + (max(0.0, mine.held) if mine is not None else 0.0)
        full = max(bucket.level, ask.capacity - before)
        level = min(bucket.level + max(0.0, now - bucket.at) * ask.rate, full) - ask.took + ask.back
        level = max(0.0, min(level, ask.capacity - held))
        elapsed = min(max(0.0, now - (mine.at if mine is not None else now - RESERVE_S)), LONGEST_S)
        share = fair_share(ask.rate, wishes)
        fair = min(share * elapsed, level) if share < math.inf else level
        spare = level - ask.rate * RESERVE_S
        if ask.demand == 0.0:
            fair, spare = 0.0, level - ask.capacity / 2.0
        amount = max(0.0, min(ask.want, max(fair, spare)))
        bucket.level, bucket.at = level - amount, now
        bucket.holders[replica] = _Holder(now, ask.balance + amount, ask.demand)
        return amount

    def _budget(self, replica: str, ask: BudgetAsk) -> BudgetGrant:
        now = self._clock.time()
        ledger = self._ledgers.setdefault((ask.tenant, ask.period), _Ledger())
        mine = ledger.shares.pop(replica, None)
        for name in [name for name, share in ledger.shares.items() if now - share.at > DEAD_S]:
            ledger.gone += ledger.shares.pop(name).spent
        elsewhere = sum(share.spent for share in ledger.shares.values())
        committed = sum(max(share.spent, share.granted) for share in ledger.shares.values())
        if mine is None:
            ledger.gone = max(ledger.gone - ask.acknowledged, ask.others - elsewhere, 0.0)
            mine = _Share(now, 0.0, 0.0)
        spent, granted = max(ask.spent, mine.spent), mine.granted
        free = ask.budget - ledger.gone - committed - max(spent, granted)
        if ask.want < granted:
            free += granted - max(ask.want, spent)
            granted = ask.want
        elif free > 0.0:
            base = max(spent, granted)
            more = max(0.0, min(ask.want - base, free / (len(ledger.shares) + 1)))
            granted, free = base + more, free - more
        ledger.shares[replica] = _Share(now, spent, granted)
        return BudgetGrant(granted=granted, total=ledger.gone + elsewhere + spent, free=max(0.0, free))


class MemoryExchange:
    """`SliceExchange` of one simulated replica."""

    def __init__(self, store: MemorySlices, replica: str) -> None:
        self._store = store
        self._replica = replica

    async def exchange(self, asks: Sequence[Ask]) -> Sequence[Grant]:
        return self._store.exchange(self._replica, asks)
