"""The usage of all replicas, as they hand it in: every run of a replica has fields of its own, readers add them up.

A field holds what a run's counter has come to, never what was added: handing in twice, late or out of order does no
harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from heapq import merge
from itertools import islice
from operator import add
from urllib.parse import quote, unquote

from router.domain.usage import HOUR_S, UsageKey, UsageRow, UsageTotals
from router.state.client import StoreClient
from router.state.keys import USAGE_S, Keys
from router.state.lua import load_script

_log = logging.getLogger(__name__)

_HOURS_A_CALL = 200
_FIELDS_A_PAGE = 500
_SLICE = 500
# What names may hold beside letters and digits without being encoded: not the separator.
_PLAIN = "/:@ +,"

# In the order of a value; those of a later version come behind.
_NUMBERS = (
    "attempts",
    "requests",
    "failed_attempts",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
    "energy_mj",
)

Entry = tuple[str, UsageKey, UsageTotals]
# Tenant, model and backend.
Names = tuple[str, str, str]
Numbers = tuple[int, ...]


class UsageStore:
    """`unreadable` counts fields that another version wrote, or nobody could have."""

    def __init__(self, client: StoreClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._set = load_script("usage")
        self._sizes = load_script("usage_sizes")
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
            args += (at, _field(incarnation, key), _pack(totals))
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
            sizes = await self._client.run(self._sizes, [self._keys.usage(h) for h in asked], [], what="reading usage")
            for hour, size in zip(asked, sizes, strict=True):
                if not size:
                    continue
                sums = await self._hour(hour, (tenant, model, backend))
                async for names, numbers in _in_order(sums):
                    yield UsageRow(key=UsageKey(hour, *names), totals=UsageTotals(**_named(numbers)))

    async def _hour(self, hour: int, wanted: Names) -> dict[Names, Numbers]:
        """The sums over all runs, by tenant, model and backend."""
        seen: set[bytes] = set()
        sums: dict[Names, Numbers] = {}
        cursor: bytes | int = 0
        while True:
            cursor, flat = await self._client.call(
                "HSCAN", self._keys.usage(hour), cursor, "COUNT", _FIELDS_A_PAGE, what="reading usage"
            )
            for field, value in zip(flat[::2], flat[1::2], strict=True):
                if field in seen:  # a scan may show one twice
                    continue
                seen.add(field)
                try:
                    names, numbers = _names(field), _numbers(value)
                except ValueError:
                    self.unreadable += 1
                    _log.warning("usage of hour %d has a field that cannot be read: %r", hour, field[:200])
                    continue
                if all(want in {"", has} for want, has in zip(wanted, names, strict=True)):
                    sums[names] = tuple(map(add, sums[names], numbers)) if names in sums else numbers
            if int(cursor) == 0:
                return sums


async def _in_order(sums: dict[Names, Numbers]) -> AsyncIterator[tuple[Names, Numbers]]:
    """Sorted in slices: the loop has other work while an hour of a large fleet is read."""
    items = iter(sums.items())
    parts: list[list[tuple[Names, Numbers]]] = []
    while part := sorted(islice(items, _SLICE)):
        parts.append(part)
        await asyncio.sleep(0)
    for place, item in enumerate(merge(*parts)):
        if place % _SLICE == 0:
            await asyncio.sleep(0)
        yield item


def _names(field: bytes) -> Names:
    """Tenant, model and backend.

    Raises:
        ValueError: it is not a field of usage.
    """
    _, tenant, model, backend = field.decode().split("|")
    return unquote(tenant), unquote(model), unquote(backend)


def _numbers(value: bytes) -> Numbers:
    """Numbers after those that we know are a later version's.

    Raises:
        ValueError: it does not hold numbers, or too few.
    """
    numbers = tuple(map(int, value.split()[: len(_NUMBERS)]))
    if len(numbers) < len(_NUMBERS):
        raise ValueError("too few numbers")
    return numbers


def _named(numbers: Numbers) -> dict[str, int]:
    return dict(zip(_NUMBERS, numbers, strict=True))


def _field(incarnation: str, key: UsageKey) -> str:
    # Whatever a name holds, it is written: one that cannot be must not keep the others from being handed in.
    return "|".join(
        quote(part, safe=_PLAIN, errors="replace") for part in (incarnation, key.tenant, key.model, key.backend)
    )


def _pack(totals: UsageTotals) -> str:
    return " ".join(str(getattr(totals, name)) for name in _NUMBERS)
