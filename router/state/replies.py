"""What the server answers, as values: entries of streams, and the errors that a script's status stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from router.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    RouterError,
    StaleVersion,
    StoreUnavailable,
    Violation,
)
from router.state import codec
from router.state.codec import Document, Entry
from router.state.fold import Held
from router.state.history import StoredRevision, decode_stored
from router.state.keys import Kind
from router.state.writes import Write

BATCH = 500
_BATCH_BYTES = 4 * 1024 * 1024
# As XRANGE answers: the id of each entry, and names and values of its fields, one after the other.
StreamEntries = Sequence[tuple[bytes, Sequence[bytes]]]


def pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What the server answers one after the other: names and values."""
    return zip(flat[::2], flat[1::2], strict=True)


def entries(found: StreamEntries) -> tuple[Entry, ...]:
    """Those of the change stream that are ours."""
    decoded = (codec.decode_entry(entry_id, dict(pairs(fields))) for entry_id, fields in found)
    return tuple(entry for entry in decoded if entry is not None)


def revisions(found: StreamEntries) -> Iterator[StoredRevision]:
    """Those of the history that are ours."""
    for entry_id, fields in found:
        if (stored := decode_stored(entry_id, dict(pairs(fields)))) is not None:
            yield stored


def unchanged(before: Held, kind: Kind, document_id: str, value: bytes) -> tuple[Document, float] | None:
    """The document that is held already when the stored one has its version and time: nothing has to be decoded."""
    head = codec.peek(value)
    if head is None:
        return None
    version, at = head
    document = before.find(kind, document_id)
    if document is None or document.version != version or before.times.get((kind, document_id)) != at:
        return None
    return document, at


def batches(stored: Sequence[StoredRevision]) -> Iterator[tuple[StoredRevision, ...]]:
    """Not more at once than the server should be busy with."""
    batch: list[StoredRevision] = []
    size = 0
    for revision in stored:
        if batch and (len(batch) >= BATCH or size + len(revision.changes) > _BATCH_BYTES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(revision)
        size += len(revision.changes)
    if batch:
        yield tuple(batch)


def check_writes(writes: Sequence[Write]) -> None:
    """Refuses what a transaction cannot mean.

    Raises:
        InvalidRequest: a document twice, under another name than its own, or of a kind that operators do not write.
    """
    seen: set[tuple[Kind, str]] = set()
    violations = []
    for write in writes:
        name, document = f"{write.kind.value} {write.id}", write.document
        if (write.kind, write.id) in seen:
            violations.append(Violation(name, "is written twice"))
        elif write.kind is Kind.HEALTH:
            violations.append(Violation(name, "health is not configuration"))
        elif document is not None and not _named(document, write):
            violations.append(Violation(name, "holds another document"))
        seen.add((write.kind, write.id))
    if violations:
        raise InvalidRequest(*violations)


def written(reply: Sequence[Any], kind: Kind, document_id: str, expected: int) -> tuple[int, float, int]:
    """A script's answer: version, time and fleet version, or the error that its status stands for."""
    status, version = reply[0], int(reply[1])
    match status:
        case b"OK":
            return version, float(reply[3]), int(reply[2])
        case b"EXISTS" if kind in {Kind.BACKEND, Kind.TENANT}:
            raise AlreadyExists(f"{kind.value} {document_id!r} exists already, at version {version}")
        case b"EXISTS" | b"STALE":
            raise stale(kind, document_id, expected, version)
        case b"FENCED":
            raise StaleVersion(f"{kind.value} {document_id!r} is watched by another replica now", current=version)
        case b"MISSING":
            raise NotFound(f"{kind.value} {document_id!r} does not exist")
        case b"NO_BACKEND":
            raise NotFound(f"backend {document_id.partition('/')[0]!r} does not exist")
        case _:
            raise refused(reply, f"write {kind.value} {document_id!r}")


def stale(kind: Kind, document_id: str, expected: int, current: int) -> StaleVersion:
    return StaleVersion(
        f"{kind.value} {document_id!r} is at version {current}, not at the expected {expected}", current=current
    )


def refused(reply: Sequence[Any], what: str) -> RouterError:
    """Why a store that answers takes no change."""
    match reply[0]:
        case b"BEHIND":
            why = f"it has lost changes (it is at fleet version {int(reply[1])}) and has not been restored yet"
            return StoreUnavailable(f"{what}: {why}", retry_after_s=1.0)
        case b"REBUILDING":
            left_s = max(0, int(reply[1])) / 1000
            return StoreUnavailable(f"{what}: the state store is being rebuilt", retry_after_s=left_s)
        case status:
            return StoreUnavailable(f"{what}: the store answered {status!r}")


def _named(document: Document, write: Write) -> bool:
    return codec.kind_of(document) is write.kind and codec.document_id(document) == write.id  # type: ignore[arg-type]
