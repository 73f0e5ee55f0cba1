"""Following the stream gives what a full read gives, and a loss is told from an equal or newer store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Backend, Change, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant
from router.state.codec import Document, Entry, PoliciesDocument, Tombstone
from router.state.fold import MISSED_WITHIN_S, Draft, Held, fold, lost, without_old_tombstones
from router.state.keys import POLICIES_ID, Kind, price_id

IDS = ("a", "b", "c")


def document(kind: Kind, name: str, version: int) -> tuple[str, Document]:
    if kind is Kind.BACKEND:
        return name, Backend(id=name, wire="w", address=str(version), models=(), version=version)
    if kind is Kind.PRICE:
        return price_id(name, "m"), PriceBook(backend=name, model="m", version=version, changed_at=float(version))
    if kind is Kind.TENANT:
        return name, Tenant(id=name, name=str(version), version=version)
    if kind is Kind.HEALTH:
        return name, Health(reason=str(version), version=version)
    return POLICIES_ID, PoliciesDocument(f"v: {version}", version)


def history(steps: list[tuple[Kind, str, bool]]) -> Iterator[Entry]:
    """A stream as the scripts would write it."""
    versions: dict[tuple[Kind, str], int] = {}
    for fleet_version, (kind, name, removed) in enumerate(steps, start=1):
        document_id, _ = document(kind, name, 1)
        version = versions[kind, document_id] = versions.get((kind, document_id), 0) + 1
        operation = "removed" if removed else "set"
        yield Entry(
            change=Change(
                fleet_version=fleet_version,
                kind=kind.value,
                id=document_id,
                operation=operation,
                version=version,
                at=float(fleet_version),
            ),
            document=None if removed else document(kind, name, version)[1],
        )


def stored(entries: list[Entry]) -> Held:
    """What a full read finds after the entries."""
    last = {(Kind(e.change.kind), e.change.id): e for e in entries}
    draft = Draft(Held())
    draft.version = len(entries)
    draft.config_version = max((e.change.fleet_version for e in entries if e.change.kind != "health"), default=0)
    for (kind, document_id), e in last.items():
        at = e.change.at
        found = Tombstone(e.change.version, at) if e.document is None else (e.document, at)
        draft.take(kind, document_id, found, Held())
    return draft.done()


STEPS = st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from(IDS), st.booleans()), max_size=30)


@given(STEPS, st.data())
def test_following_gives_what_a_full_read_gives(steps: list[tuple[Kind, str, bool]], data: st.DataObject) -> None:
    """Cut anywhere into reads, a stream folds to the state that the store itself holds."""
    entries = list(history(steps))
    held, position = Held(), 0
    while position < len(entries):
        size = data.draw(st.integers(1, len(entries) - position))
        held = fold(held, entries[position : position + size])
        position += size
    assert held == stored(entries)


@given(STEPS, st.data())
def test_a_store_that_went_back_has_lost_exactly_what_is_newer(
    steps: list[tuple[Kind, str, bool]], data: st.DataObject
) -> None:
    """Against a store that forgot its last changes, the loss is every document that those changes touched."""
    entries = list(history(steps))
    kept = data.draw(st.integers(0, len(entries)))
    ours, theirs = stored(entries), stored(entries[:kept])
    touched = {(Kind(e.change.kind), e.change.id) for e in entries[kept:]}
    missing = lost(ours, theirs)
    assert {(item.kind, item.id) for item in missing} == touched
    assert lost(theirs, ours) == ()
    assert all(item.version > 0 and item.at > 0 for item in missing)


def test_a_snapshot_is_never_changed() -> None:
    """Folding makes a new snapshot; the one that requests are being decided on stays as it was."""
    before = stored(list(history([(Kind.BACKEND, "a", False)])))
    copy = replace(before.snapshot, backends=dict(before.snapshot.backends))
    entries = list(history([(Kind.BACKEND, "a", False), (Kind.BACKEND, "a", True), (Kind.BACKEND, "b", False)]))
    after = fold(before, entries[1:])
    assert before.snapshot == copy
    assert set(after.snapshot.backends) == {"b"}


def test_the_last_good_version_of_an_unreadable_document_is_kept() -> None:
    """A change or a read that cannot be decoded leaves the document that was held, and is not taken for a loss."""
    before = stored(list(history([(Kind.BACKEND, "a", False), (Kind.BACKEND, "b", False)])))
    change = Change(fleet_version=3, kind="backend", id="a", operation="set", version=2, at=1.0)
    followed = fold(before, [Entry(change=change, document=None, readable=False)])
    reading = Draft(Held())
    reading.version = reading.config_version = 3
    reading.take(Kind.BACKEND, "a", None, before)
    reading.take(Kind.BACKEND, "b", (document(Kind.BACKEND, "b", 1)[1], 2.0), before)
    reread = reading.done()
    assert followed == reread
    assert followed.snapshot.backends["a"].version == 1
    assert lost(before, reread) == ()
    nothing = Draft(Held())
    nothing.take(Kind.BACKEND, "a", None, Held())
    assert "a" not in nothing.done().snapshot.backends


def held_backend(address: str, *, version: int, at: float) -> Held:
    draft = Draft(Held())
    backend = Backend(id="a", wire="w", address=address, models=(), version=version)
    draft.put(Kind.BACKEND, "a", backend, at)
    return draft.done()


def test_of_two_documents_with_one_version_the_earlier_holds() -> None:
    """The later was written by somebody who did not know of the earlier, so only the earlier is missed."""
    early, late = held_backend("early", version=5, at=1.0), held_backend("late", version=5, at=2.0)
    assert [item.document for item in lost(early, late)] == [early.snapshot.backends["a"]]
    assert lost(late, early) == ()
    assert lost(held_backend("older", version=4, at=0.5), late) == ()


def test_old_tombstones_are_neither_kept_nor_missed() -> None:
    """After a week a tombstone is dropped, unless the configuration names the document, and no store has to have it."""
    draft = Draft(Held())
    for name, at in (("old", 0.0), ("configured", 0.0), ("young", MISSED_WITHIN_S)):
        draft.bury(Kind.BACKEND, name, Tombstone(2, at))
    held, now = draft.done(), MISSED_WITHIN_S + 3600.0
    assert {item.id for item in lost(held, Held(), now=now)} == {"young"}
    kept = without_old_tombstones(held, now=now, spared=frozenset({(Kind.BACKEND, "configured")}))
    assert {name for _, name in kept.tombstones} == {"configured", "young"}
    assert without_old_tombstones(kept, now=now, spared=frozenset({(Kind.BACKEND, "configured")})) is kept


def test_a_change_copies_only_what_it_changes() -> None:
    """A change of one health state shares every other table with the snapshot before."""
    before = stored(list(history([(Kind.BACKEND, "a", False), (Kind.PRICE, "a", False)])))
    change = Change(fleet_version=3, kind="health", id="a", operation="set", version=1, at=3.0)
    after = fold(before, [Entry(change=change, document=Health(version=1))])
    assert after.snapshot.backends is before.snapshot.backends
    assert after.snapshot.prices is before.snapshot.prices
    assert after.snapshot.config_version == 2
