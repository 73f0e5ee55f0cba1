"""Counts what each request used, by hour, tenant, model and backend: once, in a few microseconds, without waiting."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from router.clock import Clock
from router.domain.outcome import AttemptOutcome
from router.domain.usage import HOUR_S
from router.metering.cells import MAX_CELLS, Cell, CellKey, Cells
from router.metering.heritage import Legacy, journals, read_dead
from router.metering.journal import REWRITE_BYTES, Journal

_log = logging.getLogger(__name__)

INHERIT_EVERY_S = 10.0
# More in one attempt is a fault of who reported it, and would end in numbers that no 64 bits hold.
MAX_TOKENS = 1 << 40
MAX_USD = 1e6
MAX_ENERGY_J = 1e12
_NANO = 1e9
_SLICE = 500
_NOT_FAILED = frozenset({"OK", "CANCELLED"})


def new_incarnation(replica_id: str, clock: Clock) -> str:
    """A name for one run of a replica that no other run has."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", replica_id)[:64] or "replica"
    return f"{plain}-{int(clock.time()):x}-{secrets.token_hex(4)}"


class Meter:
    """Give `keep()` a turn every second, and `close()` it in the end; `UsageSync` does both.

    Attributes:
        incarnation: this run of the replica, see `new_incarnation`.
        cells: all that this process answers for, its own and what dead processes left it.
        implausible: attempts whose figures were not counted, because nothing real uses as much.
        inherited: journals of dead processes that were taken over.
    """

    def __init__(
        self,
        directory: Path | None,
        incarnation: str,
        clock: Clock,
        *,
        max_cells: int = MAX_CELLS,
        rewrite_bytes: int = REWRITE_BYTES,
    ) -> None:
        self.incarnation = incarnation
        self.cells = Cells(limit=max_cells)
        self.implausible = 0
        self.inherited = 0
        self._clock = clock
        self._directory = directory
        self._max_cells = max_cells
        self._inherit_at = -math.inf
        self._journal: Journal | None = None
        if directory is None:
            _log.warning("no directory for the usage journal: a kill of this process loses what is not handed in")
        else:
            self._journal = Journal(directory, incarnation, self.cells, clock, rewrite_bytes=rewrite_bytes)
            self._journal.open()

    @property
    def durable(self) -> bool:
        """Whether what is recorded now would survive a kill -9."""
        return self._journal is not None and not self._journal.failed

    @property
    def journal_bytes(self) -> int:
        return 0 if self._journal is None else self._journal.size

    def record(self, tenant: str, attempts: Sequence[AttemptOutcome]) -> None:
        """Counts one request that has ended. Never raises for a want of space or for figures that cannot be."""
        if not attempts:
            return
        hour = max(int(self._clock.time()) // HOUR_S * HOUR_S, self.cells.floor)
        keys: dict[CellKey, None] = {}
        cell: Cell = []
        for attempt in attempts:
            key: CellKey = (hour, self.incarnation, tenant, attempt.model, attempt.backend)
            known = self.cells.values.get(key)
            if known is None:
                key, known = self.cells.open(key)
            cell = known
            self._add(cell, attempt)
            keys[key] = None
        cell[1] += 1
        self.cells.changed.update(keys)
        if self._journal is not None:
            self._journal.append(list(keys))

    async def keep(self) -> None:
        """Flushes or shortens the journal when that is due, and looks for journals of the dead."""
        if self._journal is None or self._directory is None:
            return
        await self._journal.keep()
        if self.durable and self._clock.monotonic() >= self._inherit_at:
            self._inherit_at = self._clock.monotonic() + INHERIT_EVERY_S
            for path in await asyncio.to_thread(journals, self._directory):
                if not path.name.startswith(f"{self.incarnation}."):
                    legacy = await asyncio.to_thread(read_dead, path)
                    if legacy is not None:
                        await self._inherit(legacy)

    async def flush(self) -> bool:
        """Whether everything recorded so far would survive a loss of power."""
        return self._journal is not None and await self._journal.flush()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    async def _inherit(self, legacy: Legacy) -> None:
        # One process's own cells are within the limit; what it inherited may come on top of ours.
        if len(self.cells) + len(legacy.rows) > 2 * self._max_cells or self._journal is None:
            return
        for first in range(0, len(legacy.rows), _SLICE):
            keys: list[CellKey] = []
            for row in legacy.rows[first : first + _SLICE]:
                keys.append(row[:5])
                self.cells.merge(row[:5], row[5:])
            self._journal.append(keys)
            await asyncio.sleep(0)
        if await self._journal.flush():
            await asyncio.to_thread(legacy.remove)
            self.inherited += 1
            _log.info("took over %d totals of usage from %s", len(legacy.rows), legacy.path.name)

    def _add(self, cell: Cell, attempt: AttemptOutcome) -> None:
        cell[0] += 1
        if attempt.result not in _NOT_FAILED:
            cell[2] += 1
        usage, usd, joules = attempt.usage, attempt.cost_usd, attempt.energy_j
        if not (
            0 <= usage.input <= MAX_TOKENS
            and 0 <= usage.cached_input <= MAX_TOKENS
            and 0 <= usage.output <= MAX_TOKENS
            and 0 <= usage.reasoning <= MAX_TOKENS
            and 0.0 <= usd <= MAX_USD
            and 0.0 <= joules <= MAX_ENERGY_J
        ):
            self.implausible += 1
            return
        cell[3] += usage.input
        cell[4] += usage.cached_input
        cell[5] += usage.output
        cell[6] += usage.reasoning
        cell[7] += round(usd * _NANO)
        cell[8] += round(joules * 1e3)
