"""How each feed of prices is doing, as the replica that reads it wrote it down for all the others."""

from __future__ import annotations

import logging

import msgspec

from router.domain.price_feed import FeedStatus
from router.state.client import StoreClient
from router.state.keys import FEEDS_S, Keys
from router.state.lua import load_script

_log = logging.getLogger(__name__)
_PUT = load_script("feed")
_decode = msgspec.json.Decoder(FeedStatus).decode
_encode = msgspec.json.encode


class FeedBoard:
    """One small hash; statuses of feeds that nobody reads any more go with it, a week after the last write."""

    def __init__(self, client: StoreClient, *, namespace: str = "router") -> None:
        self._client = client
        self._key = Keys(namespace).feeds

    async def put(self, status: FeedStatus) -> None:
        """Raises StoreUnavailable."""
        await self._client.run(
            _PUT, (self._key,), (status.name, _encode(status), FEEDS_S), what=f"note the state of feed {status.name!r}"
        )

    async def read(self) -> dict[str, FeedStatus]:
        """By name. Raises StoreUnavailable."""
        flat = await self._client.call("HGETALL", self._key, what="read the states of feeds")
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        found = {}
        for name, value in pairs:
            try:
                found[name.decode("utf-8", "replace")] = _decode(value)
            except (msgspec.MsgspecError, ValueError) as error:
                _log.warning("skipped the state of feed %r: it cannot be read: %s", name, error)
        return found
