"""The usage of all replicas, as they hand it in: every run of a replica has fields of its own, readers add them up.

A field holds what a run's counter has come to, never what was added: handing in twice, late or out of order does no
harm.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import quote, unquote

from router.domain.usage import HOUR_S, UsageKey, UsageRow, UsageTotals
from router.state.client import StoreClient
from router.state.keys import USAGE_S, Keys
from router.state.lua import load_script

_log = logging.getLogger(__name__)

_HOURS_A_CALL = 200
_FIELDS_A_PAGE = 500
# What names may hold beside letters and digits without being encoded: not the separator.
_PLAIN = "/:@ +,"

Entry = tuple[str, UsageKey, UsageTotals]


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
                if size:
                    for row in await self._hour(hour, (tenant, model, backend)):
                        yield row

    async def _hour(self, hour: int, wanted: tuple[str, str, str]) -> list[UsageRow]:
        # By field: a scan may show one twice.
        found: dict[bytes, bytes] = {}
        cursor: bytes | int = 0
        while True:
            cursor, flat = await self._client.call(
                "HSCAN", self._keys.usage(hour), cursor, "COUNT", _FIELDS_A_PAGE, what="reading usage"
            )
            found.update(zip(flat[::2], flat[1::2], strict=True))
            if int(cursor) == 0:
                break
        sums: dict[UsageKey, UsageTotals] = {}
        for key, totals in self._readable(hour, found):
            if all(want in {"", has} for want, has in zip(wanted, (key.tenant, key.model, key.backend), strict=True)):
                sums[key] = sums.get(key, UsageTotals()) + totals
        return [UsageRow(key=key, totals=totals) for key, totals in sorted(sums.items(), key=lambda item: item[0])]

    def _readable(self, hour: int, found: dict[bytes, bytes]) -> Iterator[tuple[UsageKey, UsageTotals]]:
        for field, value in found.items():
            try:
                _, tenant, model, backend = map(unquote, field.decode().split("|"))
                totals = _unpack(value)
            except ValueError:
                self.unreadable += 1
                _log.warning("usage of hour %d has a field that cannot be read: %r", hour, field[:200])
                continue
            yield UsageKey(hour, tenant, model, backend), totals


def _field(incarnation: str, key: UsageKey) -> str:
    # Whatever a name holds, it is written: one that cannot be must not keep the others from being handed in.
    return "|".join(
        quote(part, safe=_PLAIN, errors="replace") for part in (incarnation, key.tenant, key.model, key.backend)
    )


def _pack(t: UsageTotals) -> str:
    return (
        f"{t.attempts} {t.requests} {t.failed_attempts} {t.input_tokens} {t.cached_input_tokens} {t.output_tokens} "
        f"{t.reasoning_tokens} {t.cost_nano_usd} {t.energy_mj}"
    )


def _unpack(value: bytes) -> UsageTotals:
    """Numbers after those that we know are a later version's.

    Raises:
        ValueError: it does not hold numbers, or too few.
    """
    attempts, requests, failed, inputs, cached, outputs, reasoning, cost, energy = map(int, value.split()[:9])
    return UsageTotals(
        attempts=attempts,
        requests=requests,
        failed_attempts=failed,
        input_tokens=inputs,
        cached_input_tokens=cached,
        output_tokens=outputs,
        reasoning_tokens=reasoning,
        cost_nano_usd=cost,
        energy_mj=energy,
    )
