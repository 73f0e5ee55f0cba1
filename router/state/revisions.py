"""Reads the history of one namespace from the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

from router.domain.audit import Revision
from router.errors import NotFound
from router.state import replies
from router.state.client import StoreClient
from router.state.history import StoredRevision, decode_revision, writes_back
from router.state.keys import Keys
from router.state.writes import Write

_TIMEOUT_S = 5.0
_PAGE = 200


class Revisions:
    """What `FleetStore` offers of the history."""

    def __init__(self, client: StoreClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def newest(self, *, before: int, limit: int) -> tuple[Revision, ...]:
        """The newest first; of those before a version, unless that is 0."""
        end = f"({before}-0" if before else "+"
        command = ("XREVRANGE", self._keys.history, end, "-", "COUNT", limit)
        reply = await self._client.call(*command, what="read the history", timeout_s=_TIMEOUT_S)
        return tuple(decode_revision(stored) for stored in replies.revisions(reply))

    async def one(self, version: int) -> Revision:
        async for stored in self._range(f"{version}-0", f"{version}-0"):
            return decode_revision(stored)
        raise NotFound(f"revision {version} is not kept, or was never made")

    async def back_to(self, version: int) -> tuple[Write, ...]:
        """The writes that undo everything after a version, which is not newer than the store."""
        command = ("XRANGE", self._keys.history, "-", "+", "COUNT", 1)
        reply = await self._client.call(*command, what="read the history", timeout_s=_TIMEOUT_S)
        oldest = next(replies.revisions(reply), None)
        if oldest is None or version < oldest.version:
            kept = "none is kept" if oldest is None else f"the oldest kept version is {oldest.version}"
            raise NotFound(f"the history does not reach back to version {version}: {kept}")
        return writes_back([decode_revision(stored) async for stored in self._range(f"({version}-0", "+")])

    async def _range(self, first: str, last: str) -> AsyncIterator[StoredRevision]:
        """Revisions from one id to another, oldest first, read by pages."""
        while True:
            command = ("XRANGE", self._keys.history, first, last, "COUNT", _PAGE)
            page = await self._client.call(*command, what="read the history", timeout_s=_TIMEOUT_S)
            for stored in replies.revisions(page):
                yield stored
            if len(page) < _PAGE:
                return
            first = f"({page[-1][0].decode()}"
