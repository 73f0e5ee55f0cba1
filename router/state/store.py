"""The fleet's source of truth, behind one protocol, and its one implementation on Redis or Valkey.

Every write is one script on the server: check the expected version, write, raise the fleet version, append to the
change stream. No method waits longer than its bound and none retries: each ends well or raises a `RouterError`. A write
that timed out may still have been applied; the expected version makes it safe to read and try again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from router.domain.audit import Author
from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.errors import AlreadyExists, NotFound, StaleVersion, StoreUnavailable
from router.state import codec
from router.state.client import TIMEOUT_S, Argument, StoreClient
from router.state.codec import Document, Entry, PoliciesDocument
from router.state.fold import Held, Lost, collect
from router.state.keys import MAX_CHANGES, POLICIES_ID, Keys, Kind
from router.state.lua import load_script

_LOAD = load_script("load")
_PUT = load_script("put", common=True)
_REMOVE = load_script("remove", common=True)
_SEED = load_script("seed", common=True)
_RESTORE = load_script("restore", common=True)
LOAD_TIMEOUT_S = 5.0
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDocuments:
    """What the configuration puts into a store that has never had it."""

    backends: tuple[Backend, ...] = ()
    prices: tuple[PriceBook, ...] = ()
    policies_yaml: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What was written, and what the store had, or had had, already; each as "KIND ID"."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


class FleetStore(Protocol):
    """Writes answer the document with its new version, and the fleet's version.

    `expected_version` 0 means "there is none yet"; a removed one may also be put back with its tombstone's version.

    Raises:
        StoreUnavailable: every method, within a bound.
        StaleVersion, AlreadyExists, NotFound: writes.
    """

    async def load(self, last_good: Held | None = None) -> Held:
        """Everything at one version, which is also the position in the change stream to go on from."""
        ...

    async def version(self) -> int: ...

    async def changes(self, *, after: int, limit: int, block_s: float = 0.0) -> tuple[Entry, ...]:
        """The next changes after a fleet version; waits up to `block_s` for the first.

        They start later than `after` + 1 when the stream no longer holds what follows.
        """
        ...

    async def get_backend(self, backend_id: str) -> Backend: ...

    async def put_backend(self, backend: Backend, *, expected_version: int, author: Author) -> tuple[Backend, int]: ...

    async def remove_backend(self, backend_id: str, *, expected_version: int, author: Author) -> int:
        """Removes its prices and health as well; answers the fleet's version."""
        ...

    async def set_drained(
        self,
        backend_id: str,
        *,
        drained: bool,
        expected_version: int,
        author: Author,
    ) -> tuple[Backend, int]: ...

    async def put_price(self, book: PriceBook, *, expected_version: int, author: Author) -> tuple[PriceBook, int]: ...

    async def put_policies(self, yaml: str, *, expected_version: int, author: Author) -> tuple[int, int]:
        """Answers the policies' version and the fleet's."""
        ...

    async def put_health(
        self, backend_id: str, health: Health, *, expected_version: int, actor: str
    ) -> tuple[Health, int]: ...

    async def seed(self, documents: SeedDocuments, *, actor: str) -> SeedReport: ...

    async def restore(self, lost: Sequence[Lost], *, fleet_version: int, actor: str) -> int:
        """Puts back what the store lost and answers how much of it; the fleet's version will not go back."""
        ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


class ValkeyStore:
    """`FleetStore` on a Redis or Valkey server of version 6.2 or later."""

    def __init__(self, client: StoreClient, *, namespace: str = "router") -> None:
        self._client = client
        self._keys = Keys(namespace)

    @classmethod
    def connect(cls, url: str, *, namespace: str = "router", timeout_s: float = TIMEOUT_S) -> Self:
        """A store at redis://, rediss:// or unix://; connections are made when they are needed.

        Raises:
            router.state.connection.BadStoreUrlError: the URL cannot be used.
        """
        return cls(StoreClient.connect(url, timeout_s=timeout_s), namespace=namespace)

    async def load(self, last_good: Held | None = None) -> Held:
        version, config_version, *hashes = await self._client.run(
            _LOAD, self._keys.for_scripts, (), what="load the fleet", timeout_s=LOAD_TIMEOUT_S
        )
        documents = (
            (kind, *codec.decode_envelope(kind, field, value))
            for kind, flat in zip(Kind, hashes, strict=True)
            for field, value in _pairs(flat)
        )
        return collect(int(version), documents, config_version=int(config_version), last_good=last_good)

    async def version(self) -> int:
        return int(await self._client.call("GET", self._keys.version, what="read the fleet version") or 0)

    async def changes(self, *, after: int, limit: int, block_s: float = 0.0) -> tuple[Entry, ...]:
        # BLOCK 0 would wait for ever.
        block = ("BLOCK", block_ms) if (block_ms := round(block_s * 1000)) else ()
        reply = await self._client.call(
            *("XREAD", "COUNT", limit, *block, "STREAMS", self._keys.changes, f"{after}-0"),
            what="read changes",
            timeout_s=self._client.timeout_s + block_s,
        )
        found = reply[0][1] if reply else ()
        entries = (codec.decode_entry(entry_id, fields) for entry_id, fields in found)
        return tuple(entry for entry in entries if entry is not None)

    async def get_backend(self, backend_id: str) -> Backend:
        key = self._keys.documents(Kind.BACKEND)
        value = await self._client.call("HGET", key, backend_id, what=f"read backend {backend_id!r}")
        if value is None:
            raise NotFound(f"backend {backend_id!r} does not exist")
        _, document = codec.decode_envelope(Kind.BACKEND, backend_id.encode(), value)
        if document is None:
            raise NotFound(f"backend {backend_id!r} is stored in a form that this version cannot read")
        if not isinstance(document, Backend):
            raise NotFound(f"backend {backend_id!r} was removed")
        return document

    async def put_backend(self, backend: Backend, *, expected_version: int, author: Author) -> tuple[Backend, int]:
        version, _, fleet = await self._put(backend.id, backend, expected_version, author)
        return replace(backend, version=version), fleet

    async def remove_backend(self, backend_id: str, *, expected_version: int, author: Author) -> int:
        reply = await self._client.run(
            _REMOVE,
            self._keys.for_scripts,
            (author.actor, MAX_CHANGES, Kind.BACKEND.value, backend_id, expected_version),
            what=f"remove backend {backend_id!r}",
            replicated=True,
        )
        _, _, fleet = _checked(reply, Kind.BACKEND, backend_id, expected_version)
        return fleet

    async def set_drained(
        self,
        backend_id: str,
        *,
        drained: bool,
        expected_version: int,
        author: Author,
    ) -> tuple[Backend, int]:
        current = await self.get_backend(backend_id)
        if current.version != expected_version:
            raise _stale(Kind.BACKEND, backend_id, expected_version, current.version)
        return await self.put_backend(
            replace(current, drained=drained), expected_version=expected_version, author=author
        )

    async def put_price(self, book: PriceBook, *, expected_version: int, author: Author) -> tuple[PriceBook, int]:
        version, at, fleet = await self._put(codec.document_id(book), book, expected_version, author)
        return replace(book, version=version, changed_at=at), fleet

    async def put_policies(self, yaml: str, *, expected_version: int, author: Author) -> tuple[int, int]:
        version, _, fleet = await self._put(POLICIES_ID, PoliciesDocument(yaml), expected_version, author)
        return version, fleet

    async def put_health(
        self, backend_id: str, health: Health, *, expected_version: int, actor: str
    ) -> tuple[Health, int]:
        version, _, fleet = await self._put(backend_id, health, expected_version, Author(actor=actor))
        return replace(health, version=version), fleet

    async def seed(self, documents: SeedDocuments, *, actor: str) -> SeedReport:
        policies = (PoliciesDocument(documents.policies_yaml),) if documents.policies_yaml else ()
        every = [*documents.backends, *documents.prices, *policies]
        written: list[str] = []
        kept: list[str] = []
        for start in range(0, len(every), _BATCH):
            batch = every[start : start + _BATCH]
            args: list[Argument] = [actor, MAX_CHANGES]
            for document in batch:
                args += [codec.kind_of(document).value, codec.document_id(document), codec.encode(document)]
            _, *indexes = await self._client.run(
                _SEED, self._keys.for_scripts, args, what="seed the fleet", timeout_s=LOAD_TIMEOUT_S
            )
            taken = set(indexes)
            for index, document in enumerate(batch):
                name = f"{codec.kind_of(document).value} {codec.document_id(document)}"
                (written if index in taken else kept).append(name)
        return SeedReport(written=tuple(written), kept=tuple(kept))

    async def restore(self, lost: Sequence[Lost], *, fleet_version: int, actor: str) -> int:
        restored = 0
        for start in range(0, max(len(lost), 1), _BATCH):
            args: list[Argument] = [actor, MAX_CHANGES, fleet_version]
            for item in lost[start : start + _BATCH]:
                doc = codec.encode(item.document) if item.document is not None else b""
                at = f"{item.at:.6f}" if item.at is not None else ""
                args += [item.kind.value, item.id, item.version, at, doc]
            _, count = await self._client.run(
                _RESTORE, self._keys.for_scripts, args, what="restore the fleet", timeout_s=LOAD_TIMEOUT_S
            )
            restored += int(count)
        return restored

    async def ping(self) -> None:
        await self._client.call("PING", what="ping")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _put(self, document_id: str, document: Document, expected: int, author: Author) -> tuple[int, float, int]:
        """The document's new version, the time of the change and the fleet's version."""
        kind = codec.kind_of(document)
        reply = await self._client.run(
            _PUT,
            self._keys.for_scripts,
            (author.actor, MAX_CHANGES, kind.value, document_id, expected, codec.encode(document)),
            what=f"write {kind.value} {document_id!r}",
            replicated=kind is not Kind.HEALTH,
        )
        return _checked(reply, kind, document_id, expected)


def _checked(reply: list[Any], kind: Kind, document_id: str, expected: int) -> tuple[int, float, int]:
    """A script's answer: version, time and fleet version, or the error that its status stands for."""
    status, version = reply[0], int(reply[1])
    match status:
        case b"OK":
            return version, float(reply[3]), int(reply[2])
        case b"EXISTS" if kind is Kind.BACKEND:
            raise AlreadyExists(f"{kind.value} {document_id!r} exists already, at version {version}")
        case b"EXISTS" | b"STALE":
            raise _stale(kind, document_id, expected, version)
        case b"MISSING":
            raise NotFound(f"{kind.value} {document_id!r} does not exist")
        case b"NO_BACKEND":
            raise NotFound(f"backend {document_id.partition('/')[0]!r} does not exist")
        case _:
            raise StoreUnavailable(f"write {kind.value} {document_id!r}: the store answered {status!r}")


def _stale(kind: Kind, document_id: str, expected: int, current: int) -> StaleVersion:
    return StaleVersion(
        f"{kind.value} {document_id!r} is at version {current}, not at the expected {expected}", current=current
    )
