"""Tenants' limits shared by all replicas: one script hands out slices, ten times a second, for all that want some.

A rate is one token bucket by the server's clock. What replicas hold and what the bucket holds is never more than may be
saved up, so all together use at most `rate * T + burst` in any time T beside what each may use in advance (the gates'
slice). Its refill is shared max-min: a replica that wants little has it, the others share the rest evenly, and the last
tenth of a second's worth of a bucket goes to nobody beyond its share. What an idle replica holds it gives back; what a
dead one held ends with it.

A budget is a hash of what each replica has spent and was granted in the whole period. The sum of what is committed
(the greater of the two) is never granted beyond the budget; a replica not heard of for 15 s counts with what it had
spent. A store that was wiped is rebuilt from what the replicas say of themselves and of each other.

Calls are numbered, so one that arrives late changes nothing. When the store does not answer, the source is told so.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from router.clock import Clock
from router.domain.slices import Ask, BudgetAsk, BudgetGrant, Grant, RateAsk, RateGrant
from router.errors import StoreUnavailable
from router.state.client import Argument, StoreClient
from router.state.keys import Keys
from router.state.lua import load_script

_log = logging.getLogger(__name__)
_SLICES = load_script("slices")
EVERY_S = 0.1
PAUSE_S = 0.01
_BATCH = 256
_TTL_S = {"usd_per_day": 2 * 86_400, "usd_per_month": 40 * 86_400}


class SliceSource(Protocol):
    """Who wants slices. Times are monotonic seconds; `hungry` is set by who cannot wait for the next round."""

    hungry: asyncio.Event

    def asks(self, now: float) -> Sequence[Ask]: ...

    def answered(self, asks: Sequence[Ask], grants: Sequence[Grant], sent_at: float) -> None: ...

    def unanswered(self, now: float) -> None: ...


class SliceExchange(Protocol):
    """Who hands them out."""

    async def exchange(self, asks: Sequence[Ask]) -> Sequence[Grant]:
        """The grants, in the order of the asks.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        ...


class ValkeySlices:
    """`SliceExchange` on the store. `replica` is made unique, for figures are of one process from its start."""

    def __init__(self, client: StoreClient, *, namespace: str, replica: str) -> None:
        self._client = client
        self._keys = Keys(namespace)
        self._replica = f"{replica}/{secrets.token_hex(4)}"
        self._call = 0

    async def exchange(self, asks: Sequence[Ask]) -> Sequence[Grant]:
        self._call += 1
        keys: list[str] = []
        args: list[Argument] = [self._replica, self._call]
        for ask in asks:
            keys.append(self._key(ask))
            args += _arguments(ask)
        reply: list[Any] = await self._client.run(_SLICES, keys, args, what="share out tenants' limits")
        return [_grant(ask, answer) for ask, answer in zip(asks, reply, strict=True)]

    def _key(self, ask: Ask) -> str:
        if isinstance(ask, RateAsk):
            return self._keys.rate(ask.tenant, ask.limit)
        return self._keys.budget(ask.tenant, ask.period)


def _arguments(ask: Ask) -> tuple[Argument, ...]:
    if isinstance(ask, RateAsk):
        return ("rate", ask.rate, ask.capacity, ask.balance, ask.want, ask.back, ask.took, ask.demand)
    ttl = _TTL_S[ask.limit]
    return ("budget", ask.budget, ask.spent, ask.want, ask.acknowledged, ask.others, ttl, "")


def _grant(ask: Ask, answer: Any) -> Grant:
    if isinstance(ask, BudgetAsk):
        granted, total, free = answer
        return BudgetGrant(granted=float(granted), total=float(total), free=float(free))
    return RateGrant(amount=float(answer))


class SliceSync:
    """The background task that keeps a source in slices. Nobody waits for it."""

    def __init__(self, source: SliceSource, exchange: SliceExchange, *, clock: Clock) -> None:
        self._source = source
        self._exchange = exchange
        self._clock = clock
        self._away = False

    async def run(self) -> None:
        """Ends only by cancellation."""
        while True:
            self._source.hungry.clear()
            await self.once()
            await asyncio.sleep(PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S - PAUSE_S):
                    await self._source.hungry.wait()

    async def once(self) -> None:
        """Asks for all that is wanted now."""
        asks = self._source.asks(self._clock.monotonic())
        for start in range(0, len(asks), _BATCH):
            batch = asks[start : start + _BATCH]
            sent_at = self._clock.monotonic()
            try:
                grants = await self._exchange.exchange(batch)
            except StoreUnavailable as error:
                if not self._away:
                    _log.warning("tenants' limits are no longer shared: %s", error.message)
                self._away = True
                self._source.unanswered(self._clock.monotonic())
                return
            if self._away:
                _log.info("tenants' limits are shared again")
            self._away = False
            self._source.answered(batch, grants, sent_at)
