"""The usage of all replicas, as they hand it in: every run of a replica has fields of its own, readers add them up.

A field holds what a run's counter has come to, never what was added: handing in twice, late or out of order does no
harm. So fields of hours that are over can be packed together, to a fraction of their size, by anybody at any time: a
counter that is there twice, packed and as a field that came late, counts as the later of the two.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import add
from typing import TypeVar

from router.domain.usage import HOUR_S, UsageKey, UsageRow, UsageTotals, totals_of
from router.state import usage_codec as codec
from router.state.client import StoreClient
from router.state.keys import USAGE_S, Keys
from router.state.lua import load_script
from router.state.usage_codec import Names, Numbers

_log = logging.getLogger(__name__)

# Replicas hand in the usage of this hour and of the one before; what comes later is packed once more.
PACK_AFTER_S = 2 * HOUR_S
PACK_HOURS = 96
_HOURS_A_CALL = 200
_FIELDS_A_PAGE = 500
_SLICE = 500

Entry = tuple[str, UsageKey, UsageTotals]
T = TypeVar("T")


class UsageStore:
    """`unreadable` counts fields that another version wrote, or nobody could have."""

    def __init__(self, client: StoreClient, keys: Keys, *, rng: random.Random | None = None) -> None:
        self._client = client
        self._keys = keys
        self._rng = rng or random.Random()
        self._set = load_script("usage")
        self._sizes = load_script("usage_sizes")
        self._pack = load_script("usage_pack")
        self.unreadable = 0

    async def hand_in(
        self, session: str, known: int, entries: Sequence[Entry], *, after_loss: bool = False
    ) -> int | None:
        """Sets totals; see `router.metering.sync.UsageLedger`.

        Raises:
            StoreUnavailable: no good answer in time; the totals may have been set.
        """
        keys = [self._keys.usage_handed_in(session)]
        index: dict[int, int] = {}
        args: list[str | int] = [known, int(after_loss), USAGE_S]
        for incarnation, key, totals in entries:
            if (at := index.get(key.hour)) is None:
                keys.append(self._keys.usage(key.hour))
                at = index[key.hour] = len(keys)
            args += (at, codec.field_of(incarnation, key), codec.value_of(totals))
        number = await self._client.run(self._set, keys, args, what="handing in usage")
        return int(number) if number >= 0 else None

    async def rows(
        self, from_hour: int, to_hour: int, *, tenant: str = "", model: str = "", backend: str = ""
    ) -> AsyncIterator[UsageRow]:
        """The hours that begin in [from_hour, to_hour), in order of their keys; "" is any.

        Raises:
            StoreUnavailable: no good answer in time.
        """
        first = -(-from_hour // HOUR_S) * HOUR_S
        hours = range(first, to_hour, HOUR_S)
        for start in range(0, len(hours), _HOURS_A_CALL):
            asked = hours[start : start + _HOURS_A_CALL]
            fields = await self._count(self._keys.usage, asked)
            packed = await self._count(self._keys.usage_packed, asked)
            for hour, *sizes in zip(asked, fields, packed, strict=True):
                if any(sizes):
                    sums = await self._sums(hour, (tenant, model, backend))
                    async for names, numbers in _in_order(sums):
                        yield UsageRow(key=UsageKey(hour, *names), totals=totals_of(numbers))

    async def pack(self, now: float) -> int:
        """Packs one of the hours that are over, if there is one to pack, and tells how many fields went.

        Raises:
            StoreUnavailable: no good answer in time; part of it may have been packed.
        """
        last = int(now - PACK_AFTER_S) // HOUR_S * HOUR_S
        hours = range(last - PACK_HOURS * HOUR_S, last, HOUR_S)
        sizes = await self._count(self._keys.usage, hours)
        waiting = [hour for hour, size in zip(hours, sizes, strict=True) if size]
        # Any of them: replicas that do this at the same time should not all do the same.
        return await self._pack_hour(self._rng.choice(waiting)) if waiting else 0

    async def _pack_hour(self, hour: int) -> int:
        fields = iter(sorted((await self._scan(self._keys.usage(hour))).items()))
        known = await self._packed(hour)
        moved = 0
        while part := dict(islice(fields, _SLICE)):
            new = {field: value for field, value in part.items() if codec.is_later(value, known.get(field))}
            blob = await asyncio.to_thread(codec.pack, new) if new else b""
            keys = (self._keys.usage(hour), self._keys.usage_packed(hour))
            args: list[str | bytes | int] = [secrets.token_hex(8), blob, USAGE_S]
            for pair in part.items():
                args += pair
            moved += len(part) * int(await self._client.run(self._pack, keys, args, what="packing usage"))
        return moved

    async def _sums(self, hour: int, wanted: Names) -> dict[Names, Numbers]:
        """The sums over all runs, by tenant, model and backend."""
        # The packed ones last: what is packed meanwhile is in both or there, never missing.
        latest = await self._scan(self._keys.usage(hour))
        for field, value in (await self._packed(hour)).items():
            if codec.is_later(value, latest.get(field)):
                latest[field] = value
        sums: dict[Names, Numbers] = {}
        async for field, value in _turns(latest.items()):
            try:
                names, numbers = codec.names_of(field), codec.numbers_of(value)
            except ValueError:
                self._skip(hour, field)
                continue
            if all(want in {"", has} for want, has in zip(wanted, names, strict=True)):
                sums[names] = tuple(map(add, sums[names], numbers)) if names in sums else numbers
        return sums

    async def _count(self, key: Callable[[int], str], hours: Sequence[int]) -> list[int]:
        return list(await self._client.run(self._sizes, [key(hour) for hour in hours], [], what="reading usage"))

    async def _scan(self, key: str) -> dict[bytes, bytes]:
        """A hash in pages, whatever its size."""
        found: dict[bytes, bytes] = {}
        cursor: bytes | int = 0
        while True:
            cursor, flat = await self._client.call("HSCAN", key, cursor, "COUNT", _FIELDS_A_PAGE, what="reading usage")
            found.update(zip(flat[::2], flat[1::2], strict=True))
            if int(cursor) == 0:
                return found

    async def _packed(self, hour: int) -> dict[bytes, bytes]:
        """The latest packed copy of each counter."""
        latest: dict[bytes, bytes] = {}
        async for name, packed in _turns((await self._scan(self._keys.usage_packed(hour))).items(), every=1):
            try:
                for field, value in codec.unpack(packed):
                    if codec.is_later(value, latest.get(field)):
                        latest[field] = value
            except ValueError:
                self._skip(hour, name)
        return latest

    def _skip(self, hour: int, field: bytes) -> None:
        self.unreadable += 1
        _log.warning("usage of hour %d has a field that cannot be read: %r", hour, field[:200])


async def _turns(items: Iterable[T], every: int = _SLICE) -> AsyncIterator[T]:
    """The items; between slices of them the loop has a turn for other work."""
    for place, item in enumerate(items):
        if place % every == 0:
            await asyncio.sleep(0)
        yield item


async def _in_order(sums: dict[Names, Numbers]) -> AsyncIterator[tuple[Names, Numbers]]:
    """Sorted, in slices as well."""
    items = iter(sums.items())
    parts: list[list[tuple[Names, Numbers]]] = []
    while part := sorted(islice(items, _SLICE)):
        parts.append(part)
        await asyncio.sleep(0)
    async for item in _turns(merge(*parts)):
        yield item
