"""Reads everything that a store holds, by small pages.

A fleet of ten thousand in one answer would keep the server from all other replicas, and this one from its requests, for
a tenth of a second. So it is read by pages, which may be of different versions, and then the changes that were made
since the first page are followed: what a page had already is written over with the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from router.errors import StoreUnavailable
from router.state import codec, replies
from router.state.client import StoreClient
from router.state.codec import Entry
from router.state.contract import News
from router.state.fold import Draft, Held, fold, whole
from router.state.history import History, StoredRevision
from router.state.keys import Keys, Kind

READ_LIMIT = 512
# A page is decoded within some 3 ms.
_PAGE = 128
_HISTORY_PAGE = 100
_TRIES = 5

ReadNews = Callable[[int, int], Awaitable[News]]


class Loader:
    """`news` answers what comes after a fleet version and a revision, at most `READ_LIMIT` of each, without waiting."""

    def __init__(self, client: StoreClient, keys: Keys, news: ReadNews) -> None:
        self._client = client
        self._keys = keys
        self._news = news

    async def load(self, before: Held) -> Held:
        """The state at one version; what has not changed since `before` are the same objects.

        Raises:
            StoreUnavailable: also when more changes at a time than can be followed.
        """
        for _ in range(_TRIES):
            if (held := await self._followed(await self._pages(before))) is not None:
                return held
        raise StoreUnavailable("load the fleet: it changes faster than it can be read")

    async def _pages(self, before: Held) -> Held:
        what = "load the fleet"
        versions = await self._client.call("MGET", self._keys.version, self._keys.config, what=what)
        draft = Draft(Held())
        draft.version, draft.config_version = (int(version or 0) for version in versions)
        for kind in Kind:
            async for page in self._scan(kind):
                for field, value in page:
                    document_id = field.decode("utf-8", "replace")
                    found = replies.unchanged(before, kind, document_id, value)
                    draft.take(kind, document_id, found or codec.decode_envelope(kind, document_id, value), before)
        draft.history = await self._history(before.history)
        return draft.done()

    async def _scan(self, kind: Kind) -> AsyncIterator[tuple[tuple[bytes, bytes], ...]]:
        """The fields of a hash by pages; one that changes meanwhile may come twice."""
        cursor = b"0"
        while True:
            cursor, flat = await self._client.call(
                *("HSCAN", self._keys.documents(kind), cursor, "COUNT", _PAGE), what="load the fleet"
            )
            pairs = tuple(replies.pairs(flat))
            # A small hash comes whole, whatever the count.
            for start in range(0, len(pairs), _PAGE):
                yield pairs[start : start + _PAGE]
                await asyncio.sleep(0)
            if cursor == b"0":
                return

    async def _history(self, before: History) -> History:
        """Goes on from what is known, when the server has the same."""
        newest = before.newest
        if newest is not None and await self._has(newest):
            return before.extended([stored async for stored in self._revisions(f"({newest.version}-0")])
        return History().extended([stored async for stored in self._revisions("-")])

    async def _has(self, revision: StoredRevision) -> bool:
        at = f"{revision.version}-0"
        found = await self._client.call("XRANGE", self._keys.history, at, at, what="load the history")
        return any(stored.at == revision.at for stored in replies.revisions(found))

    async def _revisions(self, first: str) -> AsyncIterator[StoredRevision]:
        while True:
            page = await self._client.call(
                *("XRANGE", self._keys.history, first, "+", "COUNT", _HISTORY_PAGE), what="load the history"
            )
            for stored in replies.revisions(page):
                yield stored
            if len(page) < _HISTORY_PAGE:
                return
            first = f"({page[-1][0].decode()}"

    async def _followed(self, held: Held) -> Held | None:
        """With the changes since the first page; None when the stream does not have them any more."""
        cursor = held.snapshot.version
        pending: list[Entry] = []
        while True:
            newest = held.history.newest
            news = await self._news(cursor, 0 if newest is None else newest.version)
            for entry in news.entries:
                if entry.change.fleet_version != cursor + 1:
                    return None
                cursor += 1
                pending.append(entry)
            count = whole(pending)
            held = fold(held, pending[:count], news.revisions)
            pending = pending[count:]
            if not news.entries and not news.revisions:
                version = await self._client.call("GET", self._keys.version, what="read the fleet version")
                if int(version or 0) == cursor and not pending:
                    return held
                if int(version or 0) < cursor or not await self._follows(cursor):
                    return None

    async def _follows(self, cursor: int) -> bool:
        """Whether the stream has what comes next."""
        return bool((await self._news(cursor, 0)).entries)
