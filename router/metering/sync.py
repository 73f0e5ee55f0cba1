"""Hands in to the store what has changed, once a second, through every outage.

What is handed in is what a cell has come to, so a repeat after a lost answer changes nothing. The store numbers the
hand-ins of each process: when its number is behind the last one that we saw, it was wiped, restarted from an old state
or failed over to a copy that was behind, and everything that we have is handed in again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from router.clock import Clock
from router.domain.usage import UsageKey, UsageTotals, totals_of
from router.errors import StoreUnavailable
from router.metering.meter import Meter

_log = logging.getLogger(__name__)

INTERVAL_S = 1.0
PACK_EVERY_S = 60.0
STOP_LIMIT_S = 2.0
KEEP_S = 3 * 86_400.0
BATCH = 200


class UsageLedger(Protocol):
    """Where the usage of all replicas comes together; `router.state.usage.UsageStore` is one."""

    async def hand_in(
        self,
        session: str,
        known: int,
        entries: Sequence[tuple[str, UsageKey, UsageTotals]],
        *,
        after_loss: bool = False,
    ) -> int | None:
        """Sets totals, where they are later than what is there.

        Args:
            session: whose hand-ins are numbered.
            known: the number of the last one that was answered; 0 at first.
            entries: the incarnation that counted, what it counted, and what that has come to.
            after_loss: the store is known to be behind.

        Returns:
            The number of this hand-in, past `known`; None when the store is behind that: then nothing was set.

        Raises:
            StoreUnavailable: no good answer in time; the totals may have been set.
        """
        ...

    async def pack(self, now: float) -> int:
        """Makes some of what is old smaller, and tells how many totals.

        Raises:
            StoreUnavailable: no good answer in time.
        """
        ...


class UsageSync:
    """Run `run()` as a task; when that has ended and no request is left, `await stop()`.

    Attributes:
        handed_in: totals that the store has confirmed.
        failures: hand-ins without an answer.
        refills: times that the store had lost something and was given everything again.
    """

    def __init__(
        self,
        meter: Meter,
        ledger: UsageLedger,
        clock: Clock,
        *,
        keep_s: float = KEEP_S,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._meter = meter
        self._ledger = ledger
        self._clock = clock
        self._keep_s = keep_s
        self._interval_s = interval_s
        self._number = 0
        self._lost = False
        self._pack_at = clock.monotonic() + PACK_EVERY_S
        self._away = False
        self.handed_in = 0
        self.failures = 0
        self.refills = 0

    @property
    def pending(self) -> int:
        """Totals that the store does not have as they are now."""
        return len(self._meter.cells.changed)

    async def run(self) -> None:
        """For ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            # Apart, for a disk that hangs must not keep the store waiting, nor the other way round.
            group.create_task(self._keep_journal(), name="usage journal")
            group.create_task(self._hand_in_for_ever(), name="usage hand-in")

    async def step(self) -> None:
        """Hands in all that has changed, and asks the store whether it still has the rest.

        Raises:
            StoreUnavailable: what is left stays pending.
        """
        cells = self._meter.cells
        while True:
            taken = cells.take(BATCH)
            entries = [(key[1], UsageKey(key[0], *key[2:]), totals_of(numbers)) for key, numbers in taken]
            try:
                number = await self._ledger.hand_in(
                    self._meter.incarnation, self._number, entries, after_loss=self._lost
                )
            except BaseException:
                cells.give_back(key for key, _ in taken)
                raise
            if number is None:
                self._lost = True
                self.refills += 1
                cells.change_all()
                _log.warning("the state store lost usage: handing in all %d totals again", len(cells))
                continue
            self._number, self._lost = number, False
            self.handed_in += len(taken)
            if len(taken) < BATCH:
                break
        cells.forget(now=self._clock.time(), keep_s=self._keep_s)

    async def stop(self, *, timeout_s: float = STOP_LIMIT_S) -> None:
        """Hands in the rest if the store takes it in time, and closes the journal, which keeps it otherwise."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._meter.flush()
                await self.step()
        except (StoreUnavailable, TimeoutError):
            where = "the journal has them" if self._meter.durable else "they are lost"
            _log.warning("%d totals of usage were not handed in at the end; %s", self.pending, where)
        finally:
            self._meter.close()

    async def _hand_in_for_ever(self) -> None:
        while True:
            try:
                await self.step()
                if self._clock.monotonic() >= self._pack_at:
                    self._pack_at = self._clock.monotonic() + PACK_EVERY_S
                    await self._ledger.pack(self._clock.time())
                if self._away:
                    self._away = False
                    _log.info("usage is handed in again")
            except StoreUnavailable as error:
                self.failures += 1
                if not self._away:
                    self._away = True
                    _log.warning("usage is kept until the state store is back: %s", error.message)
            except Exception:  # noqa: BLE001 - nothing may end the accounting
                self.failures += 1
                _log.exception("fault while handing in usage; trying again")
            await asyncio.sleep(self._interval_s)

    async def _keep_journal(self) -> None:
        while True:
            try:
                await self._meter.keep()
            except Exception:  # noqa: BLE001 - nothing may end the accounting
                _log.exception("fault while keeping the usage journal; trying again")
            await asyncio.sleep(self._interval_s)
