"""Which replica probes which backends: 128 shards, each leased to one live replica, fairly spread.

A lease is void 2 s after its last renewal by the server's clock; this replica stops believing in it a margin earlier by
its own monotonic clock, counted from before it asked, so that two replicas never both think they own a shard unless one
stood still. A new owner has a greater token, and what an old one still writes is refused by it (`Fence`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import zlib

from router.clock import Clock
from router.errors import StoreUnavailable
from router.state.client import StoreClient
from router.state.keys import Fence, Keys
from router.state.lua import load_script
from router.state.peers import SILENT_S

_log = logging.getLogger(__name__)
_LEASE = load_script("lease")
SHARDS = 128
TTL_S = 2.0
RENEW_S = 0.5
MARGIN_S = 0.3
EXPIRE_S = 10
RELEASE_S = 0.3


def shard_of(backend_id: str) -> int:
    """The same on every replica. Names that differ in a digit at their end are spread over all shards."""
    # Fibonacci hashing: the checksums of such names lie close together.
    return (zlib.crc32(backend_id.encode()) * 0x9E3779B1 & 0xFFFFFFFF) >> 25


class Leases:
    """`run` is a background task of the owner, who calls `release` when it has ended in good order."""

    def __init__(self, client: StoreClient, *, namespace: str, replica: str, clock: Clock) -> None:
        keys = Keys(namespace)
        self._client = client
        self._keys = (keys.leases, keys.replicas, keys.lease_token)
        self._replica = replica
        self._clock = clock
        self._held: dict[int, Fence] = {}
        self._believed_until = -math.inf

    @property
    def current(self) -> bool:
        """What this replica knows of its leases still holds; when not, nobody can say who probes what."""
        return self._clock.monotonic() < self._believed_until

    @property
    def count(self) -> int:
        """How many of the 128 shards are this replica's."""
        return len(self._held) if self.current else 0

    def fence(self, backend_id: str) -> Fence | None:
        """The right to judge a backend; None when another replica has it, or nobody knows."""
        return self._held.get(shard_of(backend_id)) if self.current else None

    async def run(self) -> None:
        """Renews for ever; ends only by cancellation."""
        while True:
            try:
                await self.renew()
            except StoreUnavailable as error:
                _log.debug("leases not renewed: %s", error.message)
            except Exception:  # noqa: BLE001 - the next round may do better, and until then every replica probes
                _log.exception("fault while renewing leases")
            await asyncio.sleep(RENEW_S)

    async def renew(self) -> None:
        """Renews what is ours, takes what is free and ours by fair share, gives back what is beyond it.

        Raises:
            StoreUnavailable: what was known holds until its time is over.
        """
        asked_at = self._clock.monotonic()
        reply = await self._ask("renew", RENEW_S)
        flat = [int(part) for part in reply[1:]]
        self._held = {
            shard: Fence(shard, token, self._replica) for shard, token in zip(flat[::2], flat[1::2], strict=True)
        }
        self._believed_until = asked_at + TTL_S - MARGIN_S

    async def release(self) -> None:
        """Gives everything back, so that nobody has to wait for it to expire."""
        self._believed_until = -math.inf
        try:
            await self._ask("release", RELEASE_S)
        except StoreUnavailable as error:
            _log.debug("leases not released: %s", error.message)

    async def _ask(self, action: str, timeout_s: float) -> list[bytes | int]:
        args = (self._replica, action, int(TTL_S * 1000), int(SILENT_S * 1000), SHARDS, EXPIRE_S)
        reply: list[bytes | int] = await self._client.run(
            _LEASE, self._keys, args, what=f"{action} leases", timeout_s=timeout_s
        )
        return reply
