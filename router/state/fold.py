"""What a change makes of a snapshot: pure functions, so that every replica makes the same of the same stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.domain.snapshot import FleetSnapshot
from router.domain.tenant import Tenant
from router.state.codec import Document, Entry, PoliciesDocument, Tombstone
from router.state.keys import POLICIES_ID, Kind, price_id, price_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All that a replica knows of the store: enough to serve from, and to build the store again after a loss.

    `unreadable` are documents of the store that this replica cannot decode.
    """

    snapshot: FleetSnapshot = field(default_factory=FleetSnapshot)
    tombstones: dict[tuple[Kind, str], Tombstone] = field(default_factory=dict)
    unreadable: frozenset[tuple[Kind, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A document, or a tombstone (None), that the store should have and has not. `at` None: not known."""

    kind: Kind
    id: str
    version: int
    at: float | None
    document: Document | None


def fold(held: Held, entries: Iterable[Entry]) -> Held:
    """The state after the entries. A change that cannot be read leaves the document as it was: the last good one."""
    draft = _Draft(held)
    for entry in entries:
        kind, document_id = Kind(entry.change.kind), entry.change.id
        draft.version = entry.change.fleet_version
        if kind is not Kind.HEALTH:
            draft.config_version = draft.version
        if not entry.readable:
            draft.unreadable.add((kind, document_id))
            continue
        draft.unreadable.discard((kind, document_id))
        if entry.document is None:
            draft.remove(kind, document_id)
            draft.tombstones[kind, document_id] = Tombstone(entry.change.version, entry.change.at)
        else:
            draft.put(document_id, entry.document)
            draft.tombstones.pop((kind, document_id), None)
    return draft.done()


def collect(
    version: int,
    documents: Iterable[tuple[Kind, str, Document | Tombstone | None]],
    *,
    config_version: int = 0,
    last_good: Held | None = None,
) -> Held:
    """The state of a full read. Of a document that cannot be read (None) the last good one is kept, if there is one."""
    draft = _Draft(Held())
    draft.version, draft.config_version = version, config_version
    before = {} if last_good is None else _documents(last_good.snapshot)
    for kind, document_id, found in documents:
        document = found
        if document is None:
            draft.unreadable.add((kind, document_id))
            document = before.get((kind, document_id))
        if isinstance(document, Tombstone):
            draft.tombstones[kind, document_id] = document
        elif document is not None:
            draft.put(document_id, document)
    return draft.done()


def lost(ours: Held, theirs: Held) -> tuple[Lost, ...]:
    """What we hold in a newer version than the store: it was wiped, or went back to an older state."""
    versions = {key: document.version for key, document in _documents(theirs.snapshot).items()}
    versions |= {key: tombstone.version for key, tombstone in theirs.tombstones.items()}

    def newer(key: tuple[Kind, str], version: int) -> bool:
        return key not in theirs.unreadable and version > versions.get(key, 0)

    documents = tuple(
        Lost(
            kind=kind,
            id=document_id,
            version=document.version,
            at=document.changed_at if isinstance(document, PriceBook) else None,
            document=document,
        )
        for (kind, document_id), document in _documents(ours.snapshot).items()
        if newer((kind, document_id), document.version)
    )
    graves = tuple(
        Lost(kind=kind, id=document_id, version=tombstone.version, at=tombstone.at, document=None)
        for (kind, document_id), tombstone in ours.tombstones.items()
        if newer((kind, document_id), tombstone.version)
    )
    return documents + graves


def _documents(snapshot: FleetSnapshot) -> dict[tuple[Kind, str], Document]:
    every: dict[tuple[Kind, str], Document] = {(Kind.BACKEND, id_): b for id_, b in snapshot.backends.items()}
    every.update({(Kind.PRICE, price_id(*key)): price for key, price in snapshot.prices.items()})
    every.update({(Kind.TENANT, id_): tenant for id_, tenant in snapshot.tenants.items()})
    every.update({(Kind.HEALTH, id_): health for id_, health in snapshot.health.items()})
    if snapshot.policies_version:
        every[Kind.POLICIES, POLICIES_ID] = PoliciesDocument(snapshot.policies_yaml, snapshot.policies_version)
    return every


class _Draft:
    """A copy to change; each dictionary is copied once, however many entries there are."""

    def __init__(self, held: Held) -> None:
        snapshot = held.snapshot
        self.version = snapshot.version
        self.config_version = snapshot.config_version
        self.tombstones = dict(held.tombstones)
        self.unreadable = set(held.unreadable)
        self._snapshot = snapshot
        self._backends: dict[str, Backend] = dict(snapshot.backends)
        self._prices: dict[tuple[str, str], PriceBook] = dict(snapshot.prices)
        self._tenants: dict[str, Tenant] = dict(snapshot.tenants)
        self._health: dict[str, Health] = dict(snapshot.health)
        self._policies = PoliciesDocument(snapshot.policies_yaml, snapshot.policies_version)

    def put(self, document_id: str, document: Document) -> None:
        if isinstance(document, Backend):
            self._backends[document_id] = document
        elif isinstance(document, PriceBook):
            self._prices[price_key(document_id)] = document
        elif isinstance(document, Tenant):
            self._tenants[document_id] = document
        elif isinstance(document, Health):
            self._health[document_id] = document
        else:
            self._policies = document

    def remove(self, kind: Kind, document_id: str) -> None:
        if kind is Kind.BACKEND:
            self._backends.pop(document_id, None)
        elif kind is Kind.PRICE:
            self._prices.pop(price_key(document_id), None)
        elif kind is Kind.TENANT:
            self._tenants.pop(document_id, None)
        elif kind is Kind.HEALTH:
            self._health.pop(document_id, None)
        else:
            self._policies = PoliciesDocument("")

    def done(self) -> Held:
        snapshot = replace(
            self._snapshot,
            version=self.version,
            config_version=self.config_version,
            backends=self._backends,
            prices=self._prices,
            health=self._health,
            tenants=self._tenants,
            policies_yaml=self._policies.yaml,
            policies_version=self._policies.version,
        )
        return Held(snapshot=snapshot, tombstones=self.tombstones, unreadable=frozenset(self.unreadable))
