"""The replicas among themselves: each says ten times a second that it lives, what it runs and what it is working on.

One script a beat writes this replica's word, buries whoever has been silent and answers with what the others said.
While the store is away everybody stays who was there last, and what they said grows older.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from router.clock import Clock
from router.domain.replica import Beat, Replica
from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.keys import Keys
from router.state.lua import load_script
from router.state.store_time import StoreTime

_log = logging.getLogger(__name__)
_BEAT = load_script("beat")
BEAT_S = 0.1
# While somebody waits for acknowledgements; also the least time between two beats.
HASTE_S = 0.01
# Seven beats missed: gone everywhere within a second of the last one.
SILENT_S = 0.7
EXPIRE_S = 10
TIMEOUT_S = 0.5
GOODBYE_S = 0.3


class BeatSource(Protocol):
    """Says what this replica has to say now."""

    def beat(self) -> Beat: ...


class BeatSink(Protocol):
    """Takes what the live replicas said, this one included, in answer to the beat that was made last."""

    def heard(self, replicas: tuple[Replica, ...], now_monotonic: float) -> None: ...


@dataclass(slots=True)
class PeerCounters:
    """Counted since the start; `unreadable` are words of other replicas that this version does not understand."""

    beats: int = 0
    failed: int = 0
    unreadable: int = 0
    faults: int = 0


class Peers:
    """`run` is a background task of the owner, who calls `leave` when it has ended in good order."""

    def __init__(
        self,
        client: StoreClient,
        *,
        namespace: str,
        replica: str,
        source: BeatSource,
        sink: BeatSink,
        clock: Clock,
        store_time: StoreTime,
    ) -> None:
        keys = Keys(namespace)
        self._client = client
        self._keys = (keys.beats, keys.replicas)
        self._replica = replica
        self._source = source
        self._sink = sink
        self._clock = clock
        self._store_time = store_time
        self._heard: tuple[Replica, ...] = (Replica(beat=Beat(replica=replica)),)
        self._heard_at = clock.monotonic()
        self._said: dict[str, tuple[bytes, Beat]] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Beat)
        self._poked = asyncio.Event()
        self._news = asyncio.Event()
        self._waiting = 0
        self.counters = PeerCounters()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Who lives, by id, this one included; what they said grows older while the store is away."""
        older_s = max(0.0, self._clock.monotonic() - self._heard_at)
        return tuple(replace(known, age_s=known.age_s + older_s) for known in self._heard)

    @property
    def count(self) -> int:
        """How many live, at least this one; the last known number while the store is away."""
        return len(self._heard)

    def poke(self) -> None:
        """Beats at once, so that others need not wait to hear what has just changed."""
        self._poked.set()

    async def wait_acknowledged(self, version: int, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Waits until every live replica runs this fleet version or a later one.

        Returns:
            Who does, and who lives and does not (yet, when the time is over), by id.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    # Not before the next answer of the store: a replica that has just come may not be known yet.
                    news = self._news
                    self.poke()
                    await news.wait()
                    if all(known.beat.fleet_version >= version for known in self._heard):
                        break
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        there = tuple(known.id for known in self._heard if known.beat.fleet_version >= version)
        return there, tuple(known.id for known in self._heard if known.beat.fleet_version < version)

    async def run(self) -> None:
        """Beats for ever; ends only by cancellation."""
        while True:
            began = self._clock.monotonic()
            self._poked.clear()
            try:
                await self._beat()
            except StoreUnavailable as error:
                self.counters.failed += 1
                _log.debug("beat not delivered: %s", error.message)
            except Exception:  # noqa: BLE001 - a fault of one beat must not silence the replica
                self.counters.faults += 1
                _log.exception("fault in a beat")
            await self._pause(began)

    async def leave(self) -> None:
        """Says goodbye, so that nobody waits for this replica; without the store it is missed soon enough."""
        try:
            await self._client.run(
                _BEAT, self._keys, (self._replica, b"", 0, EXPIRE_S), what="leave", timeout_s=GOODBYE_S
            )
        except StoreUnavailable as error:
            _log.debug("goodbye not delivered: %s", error.message)

    async def _pause(self, began: float) -> None:
        await asyncio.sleep(HASTE_S)
        left_s = BEAT_S - (self._clock.monotonic() - began)
        if left_s > 0.0 and not self._waiting:
            try:
                async with asyncio.timeout(left_s):
                    await self._poked.wait()
            except TimeoutError:
                pass

    async def _beat(self) -> None:
        beat = self._source.beat()
        args = (self._replica, self._encoder.encode(beat), int(SILENT_S * 1000), EXPIRE_S)
        sent = self._clock.monotonic()
        reply = await self._client.run(_BEAT, self._keys, args, what="beat", timeout_s=TIMEOUT_S)
        now = self._clock.monotonic()
        self._store_time.sample(sent=sent, received=now, server=float(reply[0]))
        self._heard = self._read(beat, reply)
        self._heard_at = now
        self.counters.beats += 1
        news, self._news = self._news, asyncio.Event()
        news.set()
        self._sink.heard(self._heard, now)

    def _read(self, own: Beat, reply: list[Any]) -> tuple[Replica, ...]:
        found = [Replica(beat=own)]
        said: dict[str, tuple[bytes, Beat]] = {}
        for index in range(1, len(reply), 3):
            replica, payload = reply[index].decode(), reply[index + 2]
            before = self._said.get(replica)
            if before is not None and before[0] == payload:
                beat = before[1]
            else:
                try:
                    beat = self._decoder.decode(payload)
                except msgspec.DecodeError as error:
                    # It lives all the same, and counts; it acknowledges nothing that could be read.
                    self.counters.unreadable += 1
                    _log.debug("beat of %s not understood: %s", replica, error)
                    beat = Beat(replica=replica)
            said[replica] = (payload, beat)
            found.append(Replica(beat=beat, age_s=max(0, int(reply[index + 1])) / 1000.0))
        self._said = said
        return tuple(sorted(found, key=lambda known: known.id))
