"""The one implementation of `FleetStore`, on Redis or Valkey.

Every write is one script on the server: check the expected version, write, raise the fleet version, append to the
change stream and to the history. No method waits longer than its bound and none retries: each ends well or raises a
`RouterError`. A write that timed out may still have been applied; the expected version makes it safe to read and try
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

from router.domain.audit import Author, Revision
from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant
from router.errors import NotFound, StaleVersion
from router.state import codec, replies
from router.state.client import TIMEOUT_S, Argument, StoreClient
from router.state.codec import Document, Entry, PoliciesDocument, Tombstone
from router.state.contract import FleetStore, News
from router.state.fold import Held, Lost
from router.state.history import StoredRevision
from router.state.keys import (
    MAX_CHANGES,
    MAX_HISTORY_BYTES,
    MAX_REVISIONS,
    POLICIES_ID,
    REBUILD_JUMP,
    REBUILD_S,
    Fence,
    Keys,
    Kind,
    price_id,
)
from router.state.loading import READ_LIMIT, Loader
from router.state.lua import Script, load_script
from router.state.replies import BATCH
from router.state.revisions import Revisions
from router.state.writes import ApplyResult, Judgement, SeedDocuments, SeedReport, Write

__all__ = [
    "ApplyResult",
    "Fence",
    "FleetStore",
    "Judgement",
    "News",
    "SeedDocuments",
    "SeedReport",
    "ValkeyStore",
    "Write",
]

_PUT = load_script("put", common=True)
_JUDGE = load_script("judge", common=True)
_REMOVE = load_script("remove", common=True)
_APPLY = load_script("apply", common=True)
_SEED = load_script("seed", common=True)
_RESTORE = load_script("restore", common=True)
_RECALL = load_script("recall", common=True)
_PRUNE = load_script("prune", common=True)
BULK_TIMEOUT_S = 5.0
# Documents that are decoded or encoded before the event loop has its turn: some 3 ms.
_SLICE = 128

Found = TypeVar("Found", Backend, PriceBook, Tenant)


class ValkeyStore:
    """`FleetStore` on a Redis or Valkey server of version 6.2 or later."""

    def __init__(self, client: StoreClient, *, namespace: str = "router") -> None:
        self._client = client
        self._keys = Keys(namespace)
        self._revisions = Revisions(client, self._keys)
        self._loader = Loader(client, self._keys, self._next_news)
        self._seen = 0

    @classmethod
    def connect(cls, url: str, *, namespace: str = "router", timeout_s: float = TIMEOUT_S) -> Self:
        """A store at redis://, rediss:// or unix://; connections are made when they are needed.

        Raises:
            router.state.connection.BadStoreUrlError: the URL cannot be used.
        """
        return cls(StoreClient.connect(url, timeout_s=timeout_s), namespace=namespace)

    @property
    def seen_version(self) -> int:
        return self._seen

    async def load(self, last_good: Held | None = None) -> Held:
        held = await self._loader.load(last_good or Held())
        self._saw(held.snapshot.version)
        return held

    async def version(self) -> int:
        return int(await self._client.call("GET", self._keys.version, what="read the fleet version") or 0)

    async def rebuilding(self) -> bool:
        return bool(await self._client.call("EXISTS", self._keys.rebuilding, what="ask whether it is being rebuilt"))

    async def changes(self, *, after: int, limit: int, block_s: float = 0.0) -> tuple[Entry, ...]:
        found = await self._read({self._keys.changes: after}, limit, block_s)
        return replies.entries(found.get(self._keys.changes, ()))

    async def news(self, *, after: int, after_revision: int, limit: int, block_s: float = 0.0) -> News:
        keys = self._keys
        found = await self._read({keys.changes: after, keys.history: after_revision}, limit, block_s)
        entries = replies.entries(found.get(keys.changes, ()))
        if entries:
            self._saw(entries[-1].change.fleet_version)
        return News(entries=entries, revisions=tuple(replies.revisions(found.get(keys.history, ()))))

    async def get_backend(self, backend_id: str) -> Backend:
        return await self._get(Backend, Kind.BACKEND, backend_id)

    async def get_price(self, backend: str, model: str) -> PriceBook:
        return await self._get(PriceBook, Kind.PRICE, price_id(backend, model))

    async def get_tenant(self, tenant_id: str) -> Tenant:
        return await self._get(Tenant, Kind.TENANT, tenant_id)

    async def put_backend(self, backend: Backend, *, expected_version: int, author: Author) -> tuple[Backend, int]:
        version, _, fleet = await self._put(backend.id, backend, expected_version, author)
        return replace(backend, version=version), fleet

    async def remove_backend(self, backend_id: str, *, expected_version: int, author: Author) -> int:
        return await self._remove(Kind.BACKEND, backend_id, expected_version, author)

    async def set_drained(
        self, backend_id: str, *, drained: bool, expected_version: int, author: Author
    ) -> tuple[Backend, int]:
        current = await self.get_backend(backend_id)
        if current.version != expected_version:
            raise replies.stale(Kind.BACKEND, backend_id, expected_version, current.version)
        return await self.put_backend(
            replace(current, drained=drained), expected_version=expected_version, author=author
        )

    async def put_price(self, book: PriceBook, *, expected_version: int, author: Author) -> tuple[PriceBook, int]:
        version, at, fleet = await self._put(codec.document_id(book), book, expected_version, author)
        return replace(book, version=version, changed_at=at), fleet

    async def remove_price(self, backend: str, model: str, *, expected_version: int, author: Author) -> int:
        return await self._remove(Kind.PRICE, price_id(backend, model), expected_version, author)

    async def put_tenant(self, tenant: Tenant, *, expected_version: int, author: Author) -> tuple[Tenant, int]:
        version, _, fleet = await self._put(tenant.id, tenant, expected_version, author)
        return replace(tenant, version=version), fleet

    async def remove_tenant(self, tenant_id: str, *, expected_version: int, author: Author) -> int:
        return await self._remove(Kind.TENANT, tenant_id, expected_version, author)

    async def put_policies(self, yaml: str, *, expected_version: int, author: Author) -> tuple[int, int]:
        version, _, fleet = await self._put(POLICIES_ID, PoliciesDocument(yaml), expected_version, author)
        return version, fleet

    async def put_health(
        self, backend_id: str, health: Health, *, expected_version: int, actor: str, fence: Fence | None = None
    ) -> tuple[Health, int]:
        version, _, fleet = await self._put(backend_id, health, expected_version, Author(actor=actor), fence)
        return replace(health, version=version), fleet

    async def put_judgements(self, judgements: Sequence[Judgement], *, actor: str) -> dict[str, str]:
        args: list[Argument] = []
        for one in judgements:
            args += [one.backend, one.expected_version, codec.encode(one.health), *_held(one.fence)]
        what = f"write the health of {len(judgements)} backends"
        reply = await self._change(_JUDGE, args, Author(actor=actor), what)
        if reply[0] != b"OK":
            raise replies.refused(reply, what)
        self._saw(int(reply[1]))
        told = zip(judgements, reply[2:], strict=True)
        return {one.backend: why.decode() for one, why in told if why != b"OK"}

    async def apply(
        self, writes: Sequence[Write], *, expected_config_version: int | None, author: Author
    ) -> ApplyResult:
        replies.check_writes(writes)
        args: list[Argument] = ["" if expected_config_version is None else expected_config_version]
        for number, write in enumerate(writes):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            args += [write.kind.value, write.id, b"" if write.document is None else codec.encode(write.document)]
        what = "apply the configuration"
        reply = await self._change(_APPLY, args, author, what, timeout_s=BULK_TIMEOUT_S, replicated=True)
        status, *rest = reply
        match status:
            case b"OK":
                version = int(rest[0])
                self._saw(version)
                return ApplyResult(config_version=version, changed=int(rest[1]))
            case b"STALE":
                current = int(rest[0])
                raise StaleVersion(
                    f"the configuration is at version {current}, not at the expected {expected_config_version}",
                    current=current,
                )
            case b"NO_BACKEND":
                kind, document_id = (part.decode() for part in rest)
                raise NotFound(f"{kind} {document_id!r}: backend {document_id.partition('/')[0]!r} does not exist")
            case _:
                raise replies.refused(reply, what)

    async def history(self, *, before: int, limit: int) -> tuple[Revision, ...]:
        return await self._revisions.newest(before=before, limit=limit)

    async def revision(self, version: int) -> Revision:
        return await self._revisions.one(version)

    async def documents_at(self, version: int) -> tuple[Write, ...]:
        if version > (current := await self.version()):
            raise NotFound(f"the fleet is at version {current}; {version} has not been reached")
        return await self._revisions.back_to(version)

    async def seed(self, documents: SeedDocuments, *, actor: str) -> SeedReport:
        policies = (PoliciesDocument(documents.policies_yaml),) if documents.policies_yaml else ()
        every = [*documents.backends, *documents.prices, *documents.tenants, *policies]
        args: list[Argument] = []
        for number, document in enumerate(every):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            args += [codec.kind_of(document).value, codec.document_id(document), codec.encode(document)]
        author = Author(actor=actor, action="Seed")
        _, *indexes = await self._change(_SEED, args, author, "seed the fleet", timeout_s=BULK_TIMEOUT_S)
        taken = set(indexes)
        written: list[str] = []
        kept: list[str] = []
        for index, document in enumerate(every):
            name = f"{codec.kind_of(document).value} {codec.document_id(document)}"
            (written if index in taken else kept).append(name)
        return SeedReport(written=tuple(written), kept=tuple(kept))

    async def restore(self, lost: Sequence[Lost], *, fleet_version: int, actor: str) -> int:
        restored = 0
        for start in range(0, max(len(lost), 1), BATCH):
            args: list[Argument] = [round(REBUILD_S * 1000), REBUILD_JUMP]
            for item in lost[start : start + BATCH]:
                doc = codec.encode(item.document) if item.document is not None else b""
                args += [item.kind.value, item.id, item.version, f"{item.at:.6f}", doc]
            fleet, count = await self._change(
                _RESTORE, args, Author(actor=actor), "restore the fleet", seen=fleet_version, timeout_s=BULK_TIMEOUT_S
            )
            self._saw(int(fleet))
            restored += int(count)
        return restored

    async def recall(self, revisions: Sequence[StoredRevision]) -> int:
        recalled = 0
        for batch in replies.batches(revisions):
            args: list[Argument] = []
            for stored in batch:
                args += [f"{stored.version}-0", stored.at, stored.actor, stored.origin, stored.action, stored.note]
                args.append(stored.changes)
            recalled += await self._change(
                _RECALL, args, Author(actor=""), "restore the history", timeout_s=BULK_TIMEOUT_S
            )
        return recalled

    async def prune(self, tombstones: Sequence[tuple[Kind, str]], *, older_than_s: float) -> int:
        dropped = 0
        for start in range(0, len(tombstones), BATCH):
            batch = tombstones[start : start + BATCH]
            args: list[Argument] = [older_than_s]
            for kind, document_id in batch:
                args += [kind.value, document_id]
            dropped += await self._change(_PRUNE, args, Author(actor=""), "drop old tombstones")
        return dropped

    async def ping(self) -> None:
        await self._client.call("PING", what="ping")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _change(
        self,
        script: Script,
        args: Iterable[Argument],
        author: Author,
        what: str,
        *,
        seen: int | None = None,
        timeout_s: float | None = None,
        replicated: bool = False,
    ) -> Any:
        """Runs a script that writes; what it begins with is the same of all (`scripts/common.lua`)."""
        head: tuple[Argument, ...] = (
            *(author.actor, author.origin, author.action, author.note),
            *(self._seen if seen is None else seen, MAX_CHANGES, MAX_REVISIONS, MAX_HISTORY_BYTES),
        )
        return await self._client.run(
            script, self._keys.for_scripts, (*head, *args), what=what, timeout_s=timeout_s, replicated=replicated
        )

    async def _put(
        self, document_id: str, document: Document, expected: int, author: Author, fence: Fence | None = None
    ) -> tuple[int, float, int]:
        """The document's new version, the time of the change and the fleet's version."""
        kind = codec.kind_of(document)
        reply = await self._change(
            _PUT,
            (kind.value, document_id, expected, codec.encode(document), *_held(fence)),
            author,
            f"write {kind.value} {document_id!r}",
            replicated=kind is not Kind.HEALTH,
        )
        return self._written(reply, kind, document_id, expected)

    async def _remove(self, kind: Kind, document_id: str, expected: int, author: Author) -> int:
        what = f"remove {kind.value} {document_id!r}"
        reply = await self._change(_REMOVE, (kind.value, document_id, expected), author, what, replicated=True)
        _, _, fleet = self._written(reply, kind, document_id, expected)
        return fleet

    def _written(self, reply: list[Any], kind: Kind, document_id: str, expected: int) -> tuple[int, float, int]:
        written = replies.written(reply, kind, document_id, expected)
        self._saw(written[2])
        return written

    async def _get(self, type_: type[Found], kind: Kind, document_id: str) -> Found:
        name = f"{kind.value} {document_id!r}"
        value = await self._client.call("HGET", self._keys.documents(kind), document_id, what=f"read {name}")
        if value is None:
            raise NotFound(f"{name} does not exist")
        found = codec.decode_envelope(kind, document_id, value)
        if found is None:
            raise NotFound(f"{name} is stored in a form that this version cannot read")
        if isinstance(found, Tombstone) or not isinstance(found[0], type_):
            raise NotFound(f"{name} was removed")
        return found[0]

    async def _read(self, after: dict[str, int], limit: int, block_s: float) -> dict[str, replies.StreamEntries]:
        """Entries of streams after versions, by key; waits up to `block_s` for the first of any."""
        # BLOCK 0 would wait for ever.
        block = ("BLOCK", block_ms) if (block_ms := round(block_s * 1000)) else ()
        reply = await self._client.call(
            *("XREAD", "COUNT", limit, *block, "STREAMS", *after, *(f"{version}-0" for version in after.values())),
            what="read changes",
            timeout_s=self._client.timeout_s + block_s,
        )
        return {key.decode(): entries for key, entries in reply or ()}

    async def _next_news(self, after: int, after_revision: int) -> News:
        return await self.news(after=after, after_revision=after_revision, limit=READ_LIMIT)

    def _saw(self, version: int) -> None:
        self._seen = max(self._seen, version)


def _held(fence: Fence | None) -> tuple[Argument, ...]:
    """A fence as scripts take it."""
    return ("", 0, "") if fence is None else (fence.shard, fence.token, fence.owner)
