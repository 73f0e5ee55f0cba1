"""Keeps the view equal to the store: one task, the only writer of the snapshot.

It reads everything once, then follows the change stream from that version. Whenever it cannot be sure that it has seen
every change (after a reconnect, at a gap in the versions, when the stream was trimmed or the server restarted or wiped)
it reads everything again. While the store is away the last snapshot is served on, and its age says so. A store that has
less than this replica holds is rebuilt from it: an empty store never makes an empty fleet.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from router.clock import Clock
from router.errors import StoreUnavailable
from router.state.codec import Entry
from router.state.fold import Held, fold, lost
from router.state.store import FleetStore, SeedDocuments, SeedReport
from router.state.view import FleetView

_log = logging.getLogger(__name__)

BLOCK_S = 0.2
BACKOFF_FIRST_S = 0.02
BACKOFF_CAP_S = 0.25
_READ_LIMIT = 512
_RELOAD_PAUSE_S = 0.02


@dataclass(slots=True)
class SyncCounters:
    """Counted since the start; `outages` are times that the store went away, `attempts_failed` tries to come back."""

    changes: int = 0
    loads: int = 0
    gaps: int = 0
    outages: int = 0
    attempts_failed: int = 0
    restored: int = 0
    unreadable: int = 0
    faults: int = 0


class FleetSync:
    """Run `run()` in the owner's task group; `view.wait_loaded()` tells when there is a fleet."""

    def __init__(
        self,
        store: FleetStore,
        view: FleetView,
        *,
        clock: Clock,
        replica_id: str,
        seed: SeedDocuments | None = None,
        rng: random.Random | None = None,
        block_s: float = BLOCK_S,
    ) -> None:
        self._store = store
        self._view = view
        self._clock = clock
        self._replica_id = replica_id
        self._seed = seed
        self._rng = rng or random.Random()
        self._block_s = block_s
        self._held: Held | None = None
        self._away = False
        self.counters = SyncCounters()
        self.seed_report: SeedReport | None = None

    async def run(self) -> None:
        """Follows the store for ever; ends only by cancellation."""
        backoff = BACKOFF_FIRST_S
        try:
            while True:
                try:
                    await self._resync()
                    backoff = BACKOFF_FIRST_S
                    await self._follow()
                    pause = _RELOAD_PAUSE_S
                except StoreUnavailable as error:
                    self._went_away(error)
                    pause = backoff * self._rng.uniform(0.5, 1.0)
                    backoff = min(BACKOFF_CAP_S, backoff * 2)
                except Exception:  # noqa: BLE001 - nothing may end the replica's view of the fleet
                    self.counters.faults += 1
                    self._view.disconnect()
                    _log.exception("fault while following the state store; reading everything again")
                    pause = BACKOFF_CAP_S
                await asyncio.sleep(pause)
        finally:
            self._view.disconnect()

    async def _resync(self) -> None:
        """Reads everything, after seeding what has never been there and restoring what was lost."""
        if self._seed is not None and self.seed_report is None:
            self.seed_report = await self._store.seed(self._seed, actor=f"seed@{self._replica_id}")
            _log.info("seeded %d documents, %d kept", len(self.seed_report.written), len(self.seed_report.kept))
        loaded = await self._store.load(self._held)
        if self._held is not None:
            missing = lost(self._held, loaded)
            if missing or loaded.snapshot.version < self._held.snapshot.version:
                loaded = await self._restore(self._held, loaded)
        self.counters.loads += 1
        self.counters.unreadable += len(loaded.unreadable)
        changed = self._held is None or loaded.snapshot != self._held.snapshot
        self._held = loaded
        self._came_back()
        if changed:
            self._view.publish(loaded.snapshot)

    async def _restore(self, held: Held, loaded: Held) -> Held:
        missing = lost(held, loaded)
        _log.warning(
            "the state store lost data (fleet version %d, ours %d): putting back %d documents",
            loaded.snapshot.version,
            held.snapshot.version,
            len(missing),
        )
        restored = await self._store.restore(
            missing, fleet_version=held.snapshot.version, actor=f"restore@{self._replica_id}"
        )
        self.counters.restored += restored
        return await self._store.load(held)

    async def _follow(self) -> None:
        """Applies changes as they come; returns when everything has to be read again."""
        assert self._held is not None  # noqa: S101 - _resync went before
        cursor = self._held.snapshot.version
        pending: list[Entry] = []
        while True:
            entries = await self._store.changes(after=cursor, limit=_READ_LIMIT, block_s=self._block_s)
            self._view.contact(self._clock.monotonic())
            if not entries:
                if await self._store.version() != cursor:
                    self._gap(f"the stream ends at {cursor}, the store is elsewhere")
                    return
                continue
            for entry in entries:
                if entry.change.fleet_version != cursor + 1:
                    self._gap(f"change {entry.change.fleet_version} follows {cursor}")
                    return
                cursor += 1
                pending.append(entry)
            if not pending[-1].more:
                self._apply(pending)
                pending = []

    def _apply(self, entries: list[Entry]) -> None:
        assert self._held is not None  # noqa: S101 - _resync went before
        self._held = fold(self._held, entries)
        self.counters.changes += len(entries)
        self.counters.unreadable += sum(not entry.readable for entry in entries)
        self._view.publish(self._held.snapshot)

    def _gap(self, why: str) -> None:
        self.counters.gaps += 1
        _log.info("reading the whole fleet again: %s", why)

    def _went_away(self, error: StoreUnavailable) -> None:
        self._view.disconnect()
        self.counters.attempts_failed += 1
        if not self._away:
            self._away = True
            self.counters.outages += 1
            version = self._view.snapshot.version
            _log.warning("the state store is away, serving on from fleet version %d: %s", version, error.message)

    def _came_back(self) -> None:
        self._view.contact(self._clock.monotonic())
        if self._away:
            self._away = False
            _log.info("the state store is back")
