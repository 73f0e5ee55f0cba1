"""What the rest of the router sees of the state: one immutable snapshot, how old it is, and a call when it changes.

Only the sync task writes to it; readers take one reference and never wait.

An admin's write is answered when it is `confirmed`: this replica's memory holds it and its revision, so that a store
which loses everything in the next moment gets it back from here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from router.clock import Clock, SystemClock
from router.domain.snapshot import FleetSnapshot
from router.errors import StoreUnavailable

_log = logging.getLogger(__name__)

CONFIRM_LIMIT_S = 2.0
_REVISIONS_KEPT = 10_000


class StoreMode(StrEnum):
    """What this replica serves from, and why."""

    EMPTY = "empty"
    """Nothing yet: the store has not answered and there is nothing on disk."""
    CONNECTED = "connected"
    AWAY = "away"
    """The store does not answer: the last snapshot."""
    REBUILDING = "rebuilding"
    """The store answers, but has lost data, which is being put back: the last snapshot."""
    FROM_DISK = "from disk"
    """The store has not answered since the start: the snapshot of an earlier run."""


OnChange = Callable[[FleetSnapshot], None]
OnMode = Callable[[StoreMode], None]
Listener = TypeVar("Listener")


class FleetView:
    """Reads are `snapshot`, `mode`, `connected`, `loaded`, `age_s` and the waits; the rest is the sync's to call."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._snapshot = FleetSnapshot()
        self._mode = StoreMode.EMPTY
        self._mode_since = self._clock.monotonic()
        self._callbacks: list[OnChange] = []
        self._mode_callbacks: list[OnMode] = []
        self._revisions: OrderedDict[int, None] = OrderedDict()
        # Set, and replaced, whenever anything here changes.
        self._news = asyncio.Event()
        self._contact: float | None = None
        self._announced = {True: asyncio.Event(), False: asyncio.Event()}
        self._announced[False].set()
        self._loaded = asyncio.Event()

    @property
    def snapshot(self) -> FleetSnapshot:
        return self._snapshot

    @property
    def connected(self) -> bool:
        """The store answered last time."""
        return self._announced[True].is_set()

    @property
    def loaded(self) -> bool:
        """There is a fleet to serve: a snapshot has come from the store, or from the disk."""
        return self._loaded.is_set()

    @property
    def mode(self) -> StoreMode:
        return self._mode

    def mode_age_s(self, now_monotonic: float) -> float:
        """For how long it has been so."""
        return max(0.0, now_monotonic - self._mode_since)

    def age_s(self, now_monotonic: float) -> float:
        """Seconds since the store last confirmed the snapshot; infinite before the first time."""
        return math.inf if self._contact is None else max(0.0, now_monotonic - self._contact)

    def on_change(self, callback: OnChange) -> Callable[[], None]:
        """Calls back, in the event loop, with each new snapshot; the result ends that."""
        return _added(self._callbacks, callback)

    def on_mode(self, callback: OnMode) -> Callable[[], None]:
        """Calls back, in the event loop, with each new mode; the result ends that."""
        return _added(self._mode_callbacks, callback)

    async def wait_loaded(self) -> None:
        await self._loaded.wait()

    async def wait_connected(self, *, connected: bool) -> None:
        """Waits until the store answers, or until it does not."""
        await self._announced[connected].wait()

    async def wait_version(self, version: int, *, timeout_s: float | None = None) -> bool:
        """Waits until the snapshot is at this fleet version; False when it has not come in time."""
        return await self.wait_for(lambda snapshot: snapshot.version >= version, timeout_s=timeout_s)

    async def wait_for(self, condition: Callable[[FleetSnapshot], bool], *, timeout_s: float | None = None) -> bool:
        """Waits for a snapshot that meets the condition; False when none has come in time."""
        if condition(self._snapshot):
            return True
        reached = asyncio.Event()
        stop = self.on_change(lambda snapshot: reached.set() if condition(snapshot) else None)
        try:
            async with asyncio.timeout(timeout_s):
                await reached.wait()
        except TimeoutError:
            return False
        finally:
            stop()
        return True

    async def confirmed(self, version: int, *, timeout_s: float = CONFIRM_LIMIT_S) -> None:
        """Returns when this replica holds a change of the configuration that ended at this fleet version.

        To have reached the version is not enough: a store that lost the change and was rebuilt is past it as well.

        Raises:
            StoreUnavailable: the store went away, or this replica has not seen the change in time. It is written, and
                may be lost if the store loses its data.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (version in self._revisions and self._snapshot.version >= version):
                    if not self.connected:
                        raise _unconfirmed(version, "the state store went away")
                    await self._news.wait()
        except TimeoutError:
            raise _unconfirmed(version, f"it has not come back in {timeout_s:g} s") from None

    def publish(self, snapshot: FleetSnapshot) -> None:
        self._snapshot = snapshot
        self._loaded.set()
        self._pulse()
        for callback in tuple(self._callbacks):
            try:
                callback(snapshot)
            except Exception:  # noqa: BLE001 - a listener's fault is not the sync's
                _log.exception("a listener failed on fleet version %d", snapshot.version)

    def hold(self, revisions: Iterable[int]) -> None:
        """These changes of the configuration are in this replica's memory."""
        for version in revisions:
            self._revisions[version] = None
        while len(self._revisions) > _REVISIONS_KEPT:
            self._revisions.popitem(last=False)
        self._pulse()

    def contact(self, now_monotonic: float) -> None:
        self._contact = now_monotonic
        self._connect(connected=True)
        self._enter(StoreMode.CONNECTED)

    def disconnect(self, why: str = "") -> None:
        self._connect(connected=False)
        if self._mode is not StoreMode.FROM_DISK:
            self._enter(StoreMode.AWAY if self.loaded else StoreMode.EMPTY, why)

    def leave(self) -> None:
        """This replica stops following the store, whose mode nobody asks for any more."""
        self._connect(connected=False)

    def rebuilding(self, why: str) -> None:
        self._enter(StoreMode.REBUILDING, why)

    def publish_from_disk(self, snapshot: FleetSnapshot, why: str) -> None:
        self._enter(StoreMode.FROM_DISK, why)
        self.publish(snapshot)

    def _enter(self, mode: StoreMode, why: str = "") -> None:
        if mode is self._mode:
            return
        now = self._clock.monotonic()
        before, lasted = self._mode, self.mode_age_s(now)
        self._mode, self._mode_since = mode, now
        level = logging.INFO if mode is StoreMode.CONNECTED else logging.WARNING
        explained = f": {why}" if why else ""
        _log.log(
            level,
            "state store: %s, after %.1f s %s; serving fleet version %d%s",
            *(mode.value, lasted, before.value, self._snapshot.version, explained),
        )
        for callback in tuple(self._mode_callbacks):
            try:
                callback(mode)
            except Exception:  # noqa: BLE001 - a listener's fault is not the sync's
                _log.exception("a listener failed on the mode %s", mode.value)

    def _connect(self, *, connected: bool) -> None:
        if self._announced[connected].is_set():
            return
        self._announced[connected].set()
        self._announced[not connected].clear()
        self._pulse()

    def _pulse(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _added(callbacks: list[Listener], callback: Listener) -> Callable[[], None]:
    callbacks.append(callback)

    def stop() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return stop


def _unconfirmed(version: int, why: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"written at fleet version {version}, but not confirmed: {why}",
        hint="Read what is there now: the change may have been made, and is not safe before it is read back.",
    )
