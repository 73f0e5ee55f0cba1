"""What the rest of the router sees of the state: one immutable snapshot, how old it is, and a call when it changes.

Only the sync task writes to it; readers take one reference and never wait.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from router.domain.snapshot import FleetSnapshot

_log = logging.getLogger(__name__)

OnChange = Callable[[FleetSnapshot], None]


class FleetView:
    """Reads are `snapshot`, `connected`, `loaded` and `age_s`; `publish`, `contact` and `disconnect` are the sync's."""

    def __init__(self) -> None:
        self._snapshot = FleetSnapshot()
        self._callbacks: list[OnChange] = []
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
        """A snapshot has come from the store."""
        return self._loaded.is_set()

    def age_s(self, now_monotonic: float) -> float:
        """Seconds since the store last confirmed the snapshot; infinite before the first time."""
        return math.inf if self._contact is None else max(0.0, now_monotonic - self._contact)

    def on_change(self, callback: OnChange) -> Callable[[], None]:
        """Calls back, in the event loop, with each new snapshot; the result ends that."""
        self._callbacks.append(callback)

        def stop() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return stop

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

    def publish(self, snapshot: FleetSnapshot) -> None:
        self._snapshot = snapshot
        self._loaded.set()
        for callback in tuple(self._callbacks):
            try:
                callback(snapshot)
            except Exception:  # noqa: BLE001 - a listener's fault is not the sync's
                _log.exception("a listener failed on fleet version %d", snapshot.version)

    def contact(self, now_monotonic: float) -> None:
        self._contact = now_monotonic
        self._connect(connected=True)

    def disconnect(self) -> None:
        self._connect(connected=False)

    def _connect(self, *, connected: bool) -> None:
        self._announced[connected].set()
        self._announced[not connected].clear()
