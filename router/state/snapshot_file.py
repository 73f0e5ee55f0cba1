"""The last good state on disk.

A replica that starts while the store is away serves from it, and a store that was wiped while no replica ran is rebuilt
from it. One file for each store and namespace: a line that says what it is, then one line per document, tombstone and
revision. It is written beside the old one, flushed to the disk and renamed, so that a crash leaves the old or the new
one whole. Replicas on one machine may share it: the newest fleet version stays. A file that is damaged or of another
store is named in the log and left out of account. To begin anew on purpose with an empty store, remove it first.

A router that runs its own store (no `REDIS_URL`) neither writes nor reads one: there the configuration files are the
truth of every start.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from router.state import codec
from router.state.codec import Document, Tombstone
from router.state.fold import Draft, Held
from router.state.history import History, StoredRevision
from router.state.keys import Kind

_log = logging.getLogger(__name__)

FORMAT = 1
_MAGIC = b"inference-router fleet snapshot"


class BadSnapshotError(Exception):
    """The file is damaged, or of another store; the message says why."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    store: str
    version: int
    config_version: int
    saved_at: float
    documents: int
    revisions: int
    size: int
    sha256: str


class _Line(msgspec.Struct, frozen=True):
    kind: str
    id: str
    version: int
    at: float
    doc: msgspec.Raw


class _RevisionLine(msgspec.Struct, frozen=True):
    version: int
    at: str
    actor: str
    origin: str
    action: str
    note: str
    changes: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A state as lines, ready to be written."""

    version: int
    config_version: int
    documents: int
    revisions: int
    chunks: tuple[bytes, ...]


_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_revision = msgspec.json.Decoder(_RevisionLine).decode


class SnapshotFile:
    """One file; its methods wait for the disk, so the event loop calls them in a thread."""

    def __init__(self, directory: Path, store: str) -> None:
        """`store`: what `router.state.connection.store_identity` calls the store and its namespace."""
        self.path = directory / f"fleet-{store}.snapshot"
        self._store = store
        # A head may outlive its body: such a file is not newer than anything.
        self._damaged = False

    def read(self) -> tuple[Held, float] | None:
        """The state and when it was saved, Unix seconds; None when there is none that can be used."""
        try:
            data = self.path.read_bytes()
            return self._decode(data)
        except FileNotFoundError:
            return None
        except (OSError, BadSnapshotError) as error:
            self._damaged = True
            _log.warning("the fleet snapshot %s is not used: %s", self.path, error)
            return None

    def write(self, body: Body, *, saved_at: float) -> bool:
        """Replaces the file, unless it is newer; False when another replica is writing it just now.

        Raises:
            OSError: the disk does not take it.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as mine:
            if not mine:
                return False
            if not self._damaged and self._version_on_disk() > body.version:
                return True
            digest = hashlib.sha256()
            for chunk in body.chunks:
                digest.update(chunk)
            head = _Head(
                format=FORMAT,
                store=self._store,
                version=body.version,
                config_version=body.config_version,
                saved_at=saved_at,
                documents=body.documents,
                revisions=body.revisions,
                size=sum(map(len, body.chunks)),
                sha256=digest.hexdigest(),
            )
            beside = self.path.with_suffix(".new")
            with open(beside, "wb", opener=_private) as file:
                file.write(_head_line(head))
                for chunk in body.chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            _flush_directory(self.path.parent)
            self._damaged = False
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether the file is ours to write: the system frees the lock of a replica that dies."""
        with open(self.path.with_suffix(".lock"), "wb", opener=_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _version_on_disk(self) -> int:
        try:
            with self.path.open("rb") as file:
                return self._check_head(file.readline(4096)).version
        except (OSError, BadSnapshotError):
            return -1

    def _check_head(self, line: bytes) -> _Head:
        magic, _, rest = line.rstrip(b"\n").partition(b" {")
        text = b"{" + rest
        name, _, checksum = magic.rpartition(b" ")
        if name != _MAGIC or checksum != b"%08x" % zlib.crc32(text):
            raise BadSnapshotError("its first line is damaged, or it is something else")
        try:
            head = _decode_head(text)
        except msgspec.MsgspecError as error:
            raise BadSnapshotError(f"its first line cannot be read: {error}") from None
        if head.format != FORMAT:
            raise BadSnapshotError(f"its format is {head.format}, this version reads {FORMAT}")
        if head.store != self._store:
            raise BadSnapshotError("it is of another store or namespace")
        return head

    def _decode(self, data: bytes) -> tuple[Held, float]:
        first, _, body = data.partition(b"\n")
        head = self._check_head(first)
        if len(body) != head.size or hashlib.sha256(body).hexdigest() != head.sha256:
            raise BadSnapshotError("its checksum is wrong")
        lines = body.split(b"\n")[:-1]
        if len(lines) != head.documents + head.revisions:
            raise BadSnapshotError("lines are missing")
        draft = Draft(Held())
        draft.version, draft.config_version = head.version, head.config_version
        for line in lines[: head.documents]:
            _take(draft, line)
        draft.history = _history(lines[head.documents :])
        return draft.done(), head.saved_at


def document_line(kind: Kind, name: str, document: Document | Tombstone, at: float) -> bytes:
    """The line of a document or tombstone."""
    doc = b"null" if isinstance(document, Tombstone) else codec.encode(document)
    return _encode(_Line(kind.value, name, document.version, at, msgspec.Raw(doc))) + b"\n"


def _take(draft: Draft, text: bytes) -> None:
    """One document of the file; one that cannot be read is named in the log and left out."""
    try:
        line = _decode_line(text)
        kind, doc = Kind(line.kind), bytes(line.doc)
        if doc == b"null":
            draft.bury(kind, line.id, Tombstone(line.version, line.at))
        else:
            draft.put(kind, line.id, codec.decode(kind, line.id, doc, version=line.version, at=line.at), line.at)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("skipped a document of the fleet snapshot on disk: %s: %.80r", error, text)


def revision_chunks(stored: StoredRevision) -> tuple[bytes, ...]:
    """The line of a revision; its changes, which may be many megabytes, are not copied."""
    head = _encode(
        {
            "version": stored.version,
            "at": stored.at,
            "actor": stored.actor,
            "origin": stored.origin,
            "action": stored.action,
            "note": stored.note,
        }
    )
    # Between the tokens of JSON a line break means nothing, and inside of them there is none.
    changes = stored.changes.replace(b"\n", b" ") if b"\n" in stored.changes else stored.changes
    return head[:-1] + b',"changes":', changes, b"}\n"


def _history(texts: Sequence[bytes]) -> History:
    """The revisions, but for one that cannot be read and those before it: a history has no gaps."""
    found: list[StoredRevision] = []
    for text in texts:
        try:
            line = _decode_revision(text)
        except msgspec.MsgspecError as error:
            _log.warning("skipped a revision of the fleet snapshot on disk: %s: %.80r", error, text)
            found.clear()
            continue
        head = (line.version, line.at, line.actor, line.origin, line.action, line.note)
        found.append(StoredRevision(*head, changes=bytes(line.changes)))
    return History(tuple(found))


def _head_line(head: _Head) -> bytes:
    text = _encode(head)
    return b"%s %08x %s\n" % (_MAGIC, zlib.crc32(text), text)


def _private(path: str, flags: int) -> int:
    """Addresses of backends and hashes of keys are nobody else's business."""
    return os.open(path, flags, 0o600)


def _flush_directory(directory: Path) -> None:
    """A rename is on disk when its directory is."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
