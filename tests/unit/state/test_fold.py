"""Following the stream gives what a full read gives, and a loss is told from an equal or newer store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from router.domain.fleet import Backend, Change, Health
from router.domain.pricing import Price
from router.state.codec import Document, Entry, PoliciesDocument, Tombstone
from router.state.fold import Held, collect, fold, lost
from router.state.keys import POLICIES_ID, Kind, price_id

IDS = ("a", "b", "c")


def document(kind: Kind, name: str, version: int) -> tuple[str, Document]:
    if kind is Kind.BACKEND:
        return name, Backend(id=name, wire="w", address=str(version), models=(), version=version)
    if kind is Kind.PRICE:
        return price_id(name, "m"), Price(backend=name, model="m", request_usd=float(version), version=version)
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
                at=1.0,
            ),
            document=None if removed else document(kind, name, version)[1],
        )


def stored(entries: list[Entry]) -> Held:
    """What a full read finds after the entries."""
    last = {(Kind(e.change.kind), e.change.id): e for e in entries}
    found = (
        (kind, document_id, e.document or Tombstone(e.change.version, e.change.at))
        for (kind, document_id), e in last.items()
    )
    return collect(len(entries), found)


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
    found = {(i.kind, i.id): i.document or Tombstone(i.version, i.at or 0.0) for i in missing}
    assert all(held.version > 0 for held in found.values())


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
    reread = collect(3, [(Kind.BACKEND, "a", None), (Kind.BACKEND, *document(Kind.BACKEND, "b", 1))], last_good=before)
    assert followed == reread
    assert followed.snapshot.backends["a"].version == 1
    assert lost(before, reread) == ()
    assert "a" not in collect(3, [(Kind.BACKEND, "a", None)]).snapshot.backends
