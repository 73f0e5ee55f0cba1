"""The revisions of the configuration as a replica mirrors them, and what can be told from them.

They are kept as the server wrote them and are decoded only when somebody asks: thousands of them cost memory, not time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from router.domain.audit import DocumentChange, Revision
from router.errors import NotFound
from router.state import codec
from router.state.keys import MAX_HISTORY_BYTES, MAX_REVISIONS, Kind
from router.state.writes import Write

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """One revision as the history stream has it; `at` is the text that the server wrote."""

    version: int
    at: str
    actor: str
    origin: str
    action: str
    note: str
    changes: bytes


@dataclass(frozen=True, slots=True)
class History:
    """The last revisions, oldest first, within the same bounds as on the server."""

    revisions: tuple[StoredRevision, ...] = ()

    @property
    def newest(self) -> StoredRevision | None:
        return self.revisions[-1] if self.revisions else None

    def extended(self, more: Iterable[StoredRevision]) -> History:
        """With later revisions; those that are not later than what is there are left out."""
        last = self.revisions[-1].version if self.revisions else 0
        later = []
        for revision in more:
            if revision.version > last:
                later.append(revision)
                last = revision.version
        return History(bounded((*self.revisions, *later))) if later else self

    def merged(self, other: History) -> History:
        """Of both, in order; of two with one version the earlier."""
        found = {revision.version: revision for revision in self.revisions}
        for revision in other.revisions:
            ours = found.get(revision.version)
            if ours is None or float(revision.at) < float(ours.at):
                found[revision.version] = revision
        return History(bounded(tuple(found[version] for version in sorted(found))))


class _Changed(msgspec.Struct, frozen=True):
    kind: str
    id: str
    before: msgspec.Raw
    after: msgspec.Raw


@dataclass(slots=True)
class _Oldest:
    """The oldest text of a document since some version, which is what it had then."""

    texts: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def take(self, revision: Revision) -> None:
        for change in revision.changes:
            self.texts.setdefault((change.kind, change.id), change.before)


_decode_changes = msgspec.json.Decoder(list[_Changed]).decode


def bounded(
    revisions: Sequence[StoredRevision], *, count: int = MAX_REVISIONS, size: int = MAX_HISTORY_BYTES
) -> tuple[StoredRevision, ...]:
    """The newest of them that fit: at least one."""
    kept: list[StoredRevision] = []
    used = 0
    for revision in reversed(revisions[-count:]):
        used += len(revision.changes)
        if kept and used > size:
            break
        kept.append(revision)
    return tuple(reversed(kept))


def decode_stored(entry_id: bytes, fields: Mapping[bytes, bytes]) -> StoredRevision | None:
    """An entry of the history stream; None, with a line in the log, when it is not one of ours."""

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("utf-8", "replace")

    try:
        version = int(entry_id.partition(b"-")[0])
        float(at := text(b"at"))
    except ValueError as error:
        _log.warning("skipped entry %r of the history: it cannot be read: %s", entry_id, error)
        return None
    return StoredRevision(
        version=version,
        at=at,
        actor=text(b"actor"),
        origin=text(b"origin"),
        action=text(b"action"),
        note=text(b"note"),
        changes=fields.get(b"changes", b"[]"),
    )


def decode_revision(stored: StoredRevision) -> Revision:
    """A revision with its documents as text.

    Raises:
        NotFound: they cannot be read.
    """
    try:
        changes = tuple(_change(changed) for changed in _decode_changes(stored.changes))
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotFound(f"revision {stored.version} is kept in a form that this version cannot read: {error}") from None
    return Revision(
        version=stored.version,
        at=float(stored.at),
        actor=stored.actor,
        origin=stored.origin,
        action=stored.action,
        note=stored.note,
        changes=changes,
    )


def writes_back(later: Iterable[Revision]) -> tuple[Write, ...]:
    """The writes that undo revisions, which come oldest first.

    Raises:
        NotFound: a document of then cannot be read.
    """
    oldest = _Oldest()
    for revision in later:
        oldest.take(revision)
    return tuple(_writes(oldest.texts))


def _writes(texts: Mapping[tuple[str, str], str | None]) -> Iterator[Write]:
    for (name, document_id), text in texts.items():
        try:
            kind = Kind(name)
            document = None if text is None else codec.decode(kind, document_id, text.encode(), version=0, at=0.0)
        except (msgspec.MsgspecError, ValueError) as error:
            raise NotFound(f"{name} {document_id!r} was in a form that this version cannot read: {error}") from None
        yield Write(kind, document_id, document)


def _change(changed: _Changed) -> DocumentChange:
    return DocumentChange(kind=changed.kind, id=changed.id, before=_text(changed.before), after=_text(changed.after))


def _text(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text == "null" else text
