"""What a change makes of a snapshot: pure functions, so that every replica makes the same of the same stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from router.domain.snapshot import FleetSnapshot
from router.state.codec import Document, Entry, PoliciesDocument, Tombstone
from router.state.history import History, StoredRevision
from router.state.keys import POLICIES_ID, TOMBSTONE_S, Kind, price_id, price_key

Key = tuple[Kind, str]
# Older tombstones are not missed: another replica, whose clock is ahead, may have dropped them.
MISSED_WITHIN_S = TOMBSTONE_S - 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All that a replica knows of the store: enough to serve from, and to build the store again after a loss.

    `times`: when each document was written, Unix seconds of the server. `unreadable` are documents of the store that
    this replica cannot decode.
    """

    snapshot: FleetSnapshot = field(default_factory=FleetSnapshot)
    tombstones: dict[Key, Tombstone] = field(default_factory=dict)
    times: dict[Key, float] = field(default_factory=dict)
    unreadable: frozenset[Key] = frozenset()
    history: History = field(default=History())

    def find(self, kind: Kind, document_id: str) -> Document | None:
        snapshot = self.snapshot
        if kind is Kind.BACKEND:
            return snapshot.backends.get(document_id)
        if kind is Kind.PRICE:
            return snapshot.prices.get(price_key(document_id))
        if kind is Kind.TENANT:
            return snapshot.tenants.get(document_id)
        if kind is Kind.HEALTH:
            return snapshot.health.get(document_id)
        return (
            PoliciesDocument(snapshot.policies_yaml, snapshot.policies_version) if snapshot.policies_version else None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A document, or a tombstone (None), that the store should have and has not. `at`: when it was written."""

    kind: Kind
    id: str
    version: int
    at: float
    document: Document | None


def fold(held: Held, entries: Iterable[Entry], revisions: Iterable[StoredRevision] = ()) -> Held:
    """The state after the entries. A change that cannot be read leaves the document as it was: the last good one."""
    draft = Draft(held)
    for entry in entries:
        kind, document_id, at = Kind(entry.change.kind), entry.change.id, entry.change.at
        draft.version = entry.change.fleet_version
        if kind is not Kind.HEALTH:
            draft.config_version = draft.version
        if not entry.readable:
            draft.unreadable.add((kind, document_id))
        elif entry.document is None:
            draft.bury(kind, document_id, Tombstone(entry.change.version, at))
        else:
            draft.put(kind, document_id, entry.document, at)
    draft.history = draft.history.extended(revisions)
    return draft.done()


def whole(entries: Sequence[Entry]) -> int:
    """How many of the entries, from the first, are whole changes: the rest of the last one is still to be read."""
    return next((n for n in range(len(entries), 0, -1) if not entries[n - 1].more), 0)


def lost(ours: Held, theirs: Held, *, now: float | None = None) -> tuple[Lost, ...]:
    """What we hold in a newer version than the store: it was wiped, or went back to an older state.

    Of two documents with one version the earlier holds: the later was written by somebody who did not know of it.
    Tombstones that are too old at `now` to be kept are not missed.
    """
    return tuple(_lost(ours, theirs, now))


def documents(held: Held) -> Iterator[tuple[Kind, str, Document]]:
    """Every document, backends before their prices."""
    for kind, table in _tables(held):
        for key, document in table.items():
            yield kind, _id(key), document


def without_old_tombstones(held: Held, *, now: float, spared: frozenset[Key]) -> Held:
    """Without the tombstones that nobody keeps any more."""
    kept = {
        key: tombstone
        for key, tombstone in held.tombstones.items()
        if now - tombstone.at < TOMBSTONE_S or key in spared
    }
    return held if len(kept) == len(held.tombstones) else replace(held, tombstones=kept)


def _lost(ours: Held, theirs: Held, now: float | None) -> Iterator[Lost]:
    for (kind, our_table), (_, their_table) in zip(_tables(ours), _tables(theirs), strict=True):
        for key, document in our_table.items():
            # Nearly always the same object: a reload keeps what has not changed.
            if (found := their_table.get(key)) is document:
                continue
            document_id = _id(key)
            at = ours.times.get((kind, document_id), 0.0)
            if _newer(theirs, (kind, document_id), found, document.version, at):
                yield Lost(kind=kind, id=document_id, version=document.version, at=at, document=document)
    for (kind, document_id), tombstone in ours.tombstones.items():
        if theirs.tombstones.get((kind, document_id)) == tombstone:
            continue
        if now is not None and now - tombstone.at > MISSED_WITHIN_S:
            continue
        found = theirs.find(kind, document_id)
        if _newer(theirs, (kind, document_id), found, tombstone.version, tombstone.at):
            yield Lost(kind=kind, id=document_id, version=tombstone.version, at=tombstone.at, document=None)


def _newer(theirs: Held, key: Key, found: Document | None, version: int, at: float) -> bool:
    if key in theirs.unreadable:
        return False
    if found is not None:
        their_version, their_at = found.version, theirs.times.get(key, 0.0)
    elif tombstone := theirs.tombstones.get(key):
        their_version, their_at = tombstone.version, tombstone.at
    else:
        return True
    return version > their_version or (version == their_version and at < their_at)


class Draft:
    """A state to change: of what it is made from, only the dictionaries that differ are copied, each once."""

    def __init__(self, held: Held) -> None:
        snapshot = held.snapshot
        self.version = snapshot.version
        self.config_version = snapshot.config_version
        self.unreadable = set(held.unreadable)
        self.history = held.history
        self._tombstones = held.tombstones
        self._times = held.times
        self._tables: dict[Kind, dict[Any, Any]] = dict(_tables(held))
        self._copied: set[Kind | str] = set()

    def put(self, kind: Kind, document_id: str, document: Document, at: float) -> None:
        self._table(kind)[_key(kind, document_id)] = document
        self._own_times()[kind, document_id] = at
        self._forget(kind, document_id)

    def bury(self, kind: Kind, document_id: str, tombstone: Tombstone) -> None:
        self._table(kind).pop(_key(kind, document_id), None)
        self._own_times().pop((kind, document_id), None)
        self._forget(kind, document_id)
        self._own_tombstones()[kind, document_id] = tombstone

    def take(
        self, kind: Kind, document_id: str, found: tuple[Document, float] | Tombstone | None, before: Held
    ) -> None:
        """What a full read found; of a document that cannot be read (None) the one of before, if there is one."""
        if isinstance(found, Tombstone):
            self.bury(kind, document_id, found)
        elif found is not None:
            self.put(kind, document_id, *found)
        else:
            if (document := before.find(kind, document_id)) is not None:
                self.put(kind, document_id, document, before.times.get((kind, document_id), 0.0))
            self.unreadable.add((kind, document_id))

    def done(self) -> Held:
        policies = self._tables[Kind.POLICIES].get(POLICIES_ID, PoliciesDocument(""))
        snapshot = FleetSnapshot(
            version=self.version,
            config_version=self.config_version,
            backends=self._tables[Kind.BACKEND],
            prices=self._tables[Kind.PRICE],
            health=self._tables[Kind.HEALTH],
            tenants=self._tables[Kind.TENANT],
            policies_yaml=policies.yaml,
            policies_version=policies.version,
        )
        return Held(
            snapshot=snapshot,
            tombstones=self._tombstones,
            times=self._times,
            unreadable=frozenset(self.unreadable),
            history=self.history,
        )

    def _forget(self, kind: Kind, document_id: str) -> None:
        """What stood for the document before: a tombstone, or that it could not be read."""
        key = (kind, document_id)
        if key in self._tombstones:
            del self._own_tombstones()[key]
        self.unreadable.discard(key)

    def _table(self, kind: Kind) -> dict[Any, Any]:
        if kind not in self._copied:
            self._copied.add(kind)
            self._tables[kind] = dict(self._tables[kind])
        return self._tables[kind]

    def _own_times(self) -> dict[Key, float]:
        if "times" not in self._copied:
            self._copied.add("times")
            self._times = dict(self._times)
        return self._times

    def _own_tombstones(self) -> dict[Key, Tombstone]:
        if "tombstones" not in self._copied:
            self._copied.add("tombstones")
            self._tombstones = dict(self._tombstones)
        return self._tombstones


def _tables(held: Held) -> tuple[tuple[Kind, dict[Any, Any]], ...]:
    snapshot = held.snapshot
    policies = held.find(Kind.POLICIES, POLICIES_ID)
    return (
        (Kind.BACKEND, snapshot.backends),
        (Kind.PRICE, snapshot.prices),
        (Kind.TENANT, snapshot.tenants),
        (Kind.HEALTH, snapshot.health),
        (Kind.POLICIES, {} if policies is None else {POLICIES_ID: policies}),
    )


def _id(key: str | tuple[str, str]) -> str:
    return key if isinstance(key, str) else price_id(*key)


def _key(kind: Kind, document_id: str) -> str | tuple[str, str]:
    return price_key(document_id) if kind is Kind.PRICE else document_id
