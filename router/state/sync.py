"""Keeps the view equal to the store: one task, the only writer of the snapshot.

It reads everything once, then follows the change stream and the history from that version. Whenever it cannot be sure
that it has seen every change (after a reconnect, at a gap in the versions, when the stream was trimmed or the server
restarted or wiped) it reads everything again. While the store is away the last snapshot is served on, and its age says
so. A store that has less than this replica holds is rebuilt from it: an empty store never makes an empty fleet.

A replica that starts has what an earlier run left on disk. When the store does not answer soon, that is served; when
the store has less than the disk, it is rebuilt from there before the configuration seeds what never existed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from router.clock import Clock
from router.errors import StoreUnavailable
from router.state.codec import Entry
from router.state.contract import FleetStore
from router.state.fold import MISSED_WITHIN_S, Held, Key, fold, lost, whole, without_old_tombstones
from router.state.keys import POLICIES_ID, TOMBSTONE_S, Kind, price_id
from router.state.view import FleetView
from router.state.writes import SeedDocuments, SeedReport

_log = logging.getLogger(__name__)

BLOCK_S = 0.2
BACKOFF_FIRST_S = 0.02
BACKOFF_CAP_S = 0.25
DISK_AFTER_S = 1.0
PRUNE_EVERY_S = 3600.0
_READ_LIMIT = 512
_RELOAD_PAUSE_S = 0.02
_REBUILD_LOOK_S = 0.1


@dataclass(slots=True)
class SyncCounters:
    """Counted since the start; `outages` are times that the store went away, `attempts_failed` tries to come back."""

    changes: int = 0
    loads: int = 0
    gaps: int = 0
    outages: int = 0
    attempts_failed: int = 0
    restored: int = 0
    restored_revisions: int = 0
    pruned: int = 0
    unreadable: int = 0
    faults: int = 0


class FleetSync:
    """Run `run()` in the owner's task group; `view.wait_loaded()` tells when there is a fleet.

    `from_disk`: what an earlier run held, and when that was (Unix seconds). `on_held` is called with every new state.
    """

    def __init__(
        self,
        store: FleetStore,
        view: FleetView,
        *,
        clock: Clock,
        replica_id: str,
        seed: SeedDocuments | None = None,
        from_disk: tuple[Held, float] | None = None,
        on_held: Callable[[Held], None] | None = None,
        rng: random.Random | None = None,
        block_s: float = BLOCK_S,
    ) -> None:
        self._store = store
        self._view = view
        self._clock = clock
        self._replica_id = replica_id
        self._seed = seed
        self._configured = _keys_of(seed)
        self._on_held = on_held
        self._rng = rng or random.Random()
        self._block_s = block_s
        self._held: Held | None
        self._held, self._disk_saved_at = from_disk or (None, 0.0)
        self._away = False
        self._prune_at = 0.0
        self.counters = SyncCounters()
        self.seed_report: SeedReport | None = None

    async def run(self) -> None:
        """Follows the store for ever; ends only by cancellation."""
        backoff = BACKOFF_FIRST_S
        serve_from_disk = asyncio.get_running_loop().call_later(DISK_AFTER_S, self._serve_from_disk)
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
                except Exception as error:  # noqa: BLE001 - nothing may end the replica's view of the fleet
                    self.counters.faults += 1
                    self._view.disconnect(repr(error))
                    _log.exception("fault while following the state store; reading everything again")
                    pause = BACKOFF_CAP_S
                await asyncio.sleep(pause)
        finally:
            serve_from_disk.cancel()
            self._view.leave()

    async def _resync(self) -> None:
        """Reads everything, after restoring what was lost and seeding what has never been there."""
        loaded = await self._load()
        if self._held is not None:
            loaded = await self._restore(self._held, loaded)
        if self._seed is not None and self.seed_report is None:
            self.seed_report = await self._store.seed(self._seed, actor=f"seed@{self._replica_id}")
            _log.info("seeded %d documents, %d kept", len(self.seed_report.written), len(self.seed_report.kept))
            if self.seed_report.written:
                loaded = await self._store.load(loaded)
        self.counters.loads += 1
        self.counters.unreadable += len(loaded.unreadable)
        changed = not self._view.loaded or loaded.snapshot != self._view.snapshot
        self._view.hold(revision.version for revision in loaded.history.revisions)
        self._hold(loaded)
        self._came_back()
        if changed:
            self._view.publish(loaded.snapshot)

    async def _load(self) -> Held:
        """Everything; a replica that holds nothing waits for others that are putting a store right."""
        while True:
            loaded = await self._store.load(self._held)
            if self._held is not None or not await self._store.rebuilding():
                return loaded
            self._view.rebuilding("other replicas are putting back what the store lost")
            while await self._store.rebuilding():  # noqa: ASYNC110 - the event is in the server, where none can wait
                await asyncio.sleep(_REBUILD_LOOK_S)

    async def _restore(self, held: Held, loaded: Held) -> Held:
        """Puts back what the store has less of than this replica, and answers what there is then."""
        seen = max(held.snapshot.version, self._store.seen_version)
        behind = loaded.snapshot.version < seen
        if not behind and self._held_age_s() > MISSED_WITHIN_S:
            # What the store does not have may have been removed so long ago that nothing tells of it any more.
            return loaded
        missing = lost(held, loaded, now=self._clock.time())
        history = loaded.history.merged(held.history)
        known = {revision.version for revision in loaded.history.revisions}
        forgotten = [revision for revision in history.revisions if revision.version not in known]
        if not (behind or missing or forgotten):
            return loaded
        self._view.rebuilding(
            f"the state store lost data (fleet version {loaded.snapshot.version}, ours {seen}): "
            f"putting back {len(missing)} documents and {len(forgotten)} revisions"
        )
        if behind or missing:
            actor = f"restore@{self._replica_id}"
            self.counters.restored += await self._store.restore(missing, fleet_version=seen, actor=actor)
        self.counters.restored_revisions += await self._store.recall(forgotten)
        return await self._store.load(replace(held, history=history))

    def _held_age_s(self) -> float:
        """For how long this replica has not heard of the store."""
        age_s = self._view.age_s(self._clock.monotonic())
        return self._clock.time() - self._disk_saved_at if math.isinf(age_s) else age_s

    async def _follow(self) -> None:
        """Applies changes as they come; returns when everything has to be read again."""
        assert self._held is not None  # noqa: S101 - _resync went before
        cursor = self._held.snapshot.version
        pending: list[Entry] = []
        while True:
            newest = self._held.history.newest
            news = await self._store.news(
                after=cursor,
                after_revision=0 if newest is None else newest.version,
                limit=_READ_LIMIT,
                block_s=self._block_s,
            )
            self._view.contact(self._clock.monotonic())
            if not news.entries and not news.revisions:
                if await self._store.version() != cursor:
                    self._gap(f"the stream ends at {cursor}, the store is elsewhere")
                    return
                await self._prune()
                continue
            for entry in news.entries:
                if entry.change.fleet_version != cursor + 1:
                    self._gap(f"change {entry.change.fleet_version} follows {cursor}")
                    return
                cursor += 1
                pending.append(entry)
            # Others see a change whole or not at all.
            count = whole(pending)
            ready, pending = pending[:count], pending[count:]
            self.counters.changes += count
            self.counters.unreadable += sum(not entry.readable for entry in ready)
            self._hold(fold(self._held, ready, news.revisions))
            self._view.hold(revision.version for revision in news.revisions)
            if ready:
                self._view.publish(self._held.snapshot)

    def _hold(self, held: Held) -> None:
        self._held = held
        if self._on_held is not None:
            self._on_held(held)

    async def _prune(self) -> None:
        """Now and then drops tombstones that are so old that nobody can still be behind them.

        Those of what the configuration names stay: without them the next start would bring those documents back.
        """
        now = self._clock.monotonic()
        if self._held is None or now < self._prune_at:
            return
        self._prune_at = now + PRUNE_EVERY_S * self._rng.uniform(0.8, 1.2)
        kept = without_old_tombstones(self._held, now=self._clock.time(), spared=self._configured)
        if old := self._held.tombstones.keys() - kept.tombstones.keys():
            self.counters.pruned += await self._store.prune(tuple(old), older_than_s=TOMBSTONE_S)
            self._hold(kept)

    def _serve_from_disk(self) -> None:
        if self._held is not None and not self._view.loaded:
            self._view.publish_from_disk(self._held.snapshot, "the state store has not answered since the start")

    def _gap(self, why: str) -> None:
        self.counters.gaps += 1
        _log.info("reading the whole fleet again: %s", why)

    def _went_away(self, error: StoreUnavailable) -> None:
        self._view.disconnect(error.message)
        self.counters.attempts_failed += 1
        if not self._away:
            self._away = True
            self.counters.outages += 1
            if not self._view.loaded:
                _log.warning("the state store does not answer and there is no fleet yet: %s", error.message)

    def _came_back(self) -> None:
        self._view.contact(self._clock.monotonic())
        self._away = False


def _keys_of(seed: SeedDocuments | None) -> frozenset[Key]:
    if seed is None:
        return frozenset()
    return frozenset(
        {
            *((Kind.BACKEND, backend.id) for backend in seed.backends),
            *((Kind.PRICE, price_id(book.backend, book.model)) for book in seed.prices),
            *((Kind.TENANT, tenant.id) for tenant in seed.tenants),
            (Kind.POLICIES, POLICIES_ID),
        }
    )
