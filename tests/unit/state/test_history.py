"""The mirror of the history keeps its order and its bounds, and folding it back gives what was there."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import NotFound
from router.state.history import History, StoredRevision, bounded, decode_revision, decode_stored, writes_back
from router.state.keys import MAX_REVISIONS


def revision(version: int, *, at: float | None = None, changes: bytes = b"[]") -> StoredRevision:
    when = f"{float(version) if at is None else at:.6f}"
    return StoredRevision(version, when, "ann", "peer", "SetPrice", "", changes)


VERSIONS = st.lists(st.integers(1, 40), unique=True, max_size=20).map(sorted)


def history(versions: list[int]) -> History:
    return History(tuple(revision(version) for version in versions))


@given(VERSIONS, VERSIONS)
def test_two_mirrors_merge_to_all_that_either_has(ours: list[int], theirs: list[int]) -> None:
    """Merging is a union in order, whichever comes first, and merging again changes nothing."""
    merged = history(ours).merged(history(theirs))
    assert [r.version for r in merged.revisions] == sorted({*ours, *theirs})
    assert merged == history(theirs).merged(history(ours)) == merged.merged(history(ours))


@given(VERSIONS, st.lists(st.integers(1, 40), max_size=20))
def test_a_mirror_only_grows_forward(ours: list[int], more: list[int]) -> None:
    """Whatever is read again or out of order, the versions of a mirror rise and what was there stays."""
    extended = [r.version for r in history(ours).extended(map(revision, more)).revisions]
    assert extended[: len(ours)] == ours
    assert extended == sorted(set(extended))


def test_of_two_revisions_with_one_version_the_earlier_stays() -> None:
    """A revision that a seeding replica wrote into a wiped store gives way to the one that was there before."""
    first, second = revision(3, at=1.0), revision(3, at=2.0)
    assert History((first,)).merged(History((second,))).revisions == (first,)
    assert History((second,)).merged(History((first,))).revisions == (first,)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 10), st.integers(1, 100))
def test_the_newest_that_fit_are_kept(sizes: list[int], count: int, size: int) -> None:
    """By count and by bytes, and always the newest, however large it is."""
    revisions = [revision(n, changes=b"x" * length) for n, length in enumerate(sizes, start=1)]
    kept = bounded(revisions, count=count, size=size)
    assert kept == tuple(revisions[len(revisions) - len(kept) :])
    assert len(kept) == min(len(revisions), len(kept), count)
    assert len(kept) <= 1 or sum(len(r.changes) for r in kept) <= size
    assert bool(kept) == bool(revisions)


def test_a_mirror_is_bounded() -> None:
    """However many revisions come, the mirror holds its number."""
    mirror = History().extended(revision(n) for n in range(1, MAX_REVISIONS + 100))
    assert len(mirror.revisions) == MAX_REVISIONS
    assert mirror.newest == revision(MAX_REVISIONS + 99)


def test_going_back_takes_the_oldest_text_of_each_document() -> None:
    """Of a document that changed twice the text before the first change counts; what was not there is removed."""
    policies = b'{"yaml":"one"}'
    first = b'[{"kind":"policies","id":"policies","before":' + policies + b',"after":{"yaml":"two"}}]'
    second = (
        b'[{"kind":"policies","id":"policies","before":{"yaml":"two"},"after":{"yaml":"three"}},'
        b'{"kind":"backend","id":"a","before":null,"after":{"id":"a","wire":"w","address":"","models":[]}}]'
    )
    later = [decode_revision(revision(1, changes=first)), decode_revision(revision(2, changes=second))]
    writes = {(write.kind.value, write.id): write.document for write in writes_back(later)}
    assert writes["backend", "a"] is None
    assert getattr(writes["policies", "policies"], "yaml", "") == "one"


@pytest.mark.parametrize("changes", [b"", b"nonsense", b'[{"kind":"backend"}]', b"\xff"])
def test_a_revision_that_cannot_be_read_is_said_to_be(changes: bytes) -> None:
    """Bytes of another version are an error that names the revision, not a crash."""
    with pytest.raises(NotFound, match="revision 7 is kept in a form"):
        decode_revision(revision(7, changes=changes))


def test_a_document_of_then_that_cannot_be_read_is_named() -> None:
    """Going back over a document that this version cannot decode says which."""
    text = b'[{"kind":"backend","id":"a","before":{"id":7},"after":null}]'
    with pytest.raises(NotFound, match="backend 'a' was in a form"):
        writes_back([decode_revision(revision(1, changes=text))])


@given(st.binary(max_size=20), st.dictionaries(st.sampled_from([b"at", b"actor", b"changes"]), st.binary(max_size=9)))
def test_no_entry_of_the_history_raises(entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    """Whatever the stream holds is a revision or nothing."""
    stored = decode_stored(entry_id, fields)
    assert stored is None or msgspec.json.encode(stored.version)
