"""Reads the log of decisions, of one segment or of a directory of them.

What is torn or damaged is skipped and noted, never fatal: a crash leaves a torn last line, a full disk a torn one
between others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from router.decisions.record import FORMAT, DecisionLine, DocLine, LogLine, StateLine, decode
from router.decisions.segments import segments_of
from router.domain.snapshot import FleetSnapshot
from router.state import codec
from router.state.keys import Kind

NOTES = 20


class BadLogError(Exception):
    """There is nothing to read, or it is no log; the message names the file."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A decision with the configuration that it was made under, and what had been learnt, by `state`."""

    line: DecisionLine
    snapshot: FleetSnapshot
    states: dict[int, StateLine]


@dataclass(slots=True)
class Reading:
    """Decisions as they are read; `notes` say what was skipped, `skipped` how many lines."""

    path: Path
    notes: list[str] = field(default_factory=list)
    skipped: int = 0
    segments: int = 0
    read_bytes: int = 0

    def paths(self) -> list[Path]:
        """The segments, oldest first.

        Raises:
            BadLogError: there are none.
        """
        if not self.path.exists():
            raise BadLogError(f"{self.path}: no such file or directory")
        found = list(segments_of(self.path))
        if not found:
            raise BadLogError(f"{self.path}: holds no segment of a decision log (*.decisions)")
        return found

    def decisions(self) -> Iterator[Logged]:
        """Every decision of every segment.

        Raises:
            BadLogError: there are no segments, or a file is not one.
        """
        for path in self.paths():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # the oldest go while we read
            except OSError as error:
                raise BadLogError(f"{path}: cannot be read: {error.strerror}") from None
            yield from self.segment(path.name, data)

    def segment(self, name: str, data: bytes) -> Iterator[Logged]:
        """Every decision in the bytes of one segment.

        Raises:
            BadLogError: they are not of a segment.
        """
        self.segments += 1
        self.read_bytes += len(data)
        snapshot = FleetSnapshot()
        states: dict[int, StateLine] = {}
        begun = False
        for number, text in enumerate(data.split(b"\n"), start=1):
            if not text:
                continue
            try:
                line = decode(text)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                if not begun:
                    raise BadLogError(f"{name}: line {number} is not the beginning of a decision log") from None
                self._skip(f"{name}: line {number}: skipped, it is torn or damaged: {error}")
                continue
            if isinstance(line, LogLine):
                if line.format != FORMAT:
                    raise BadLogError(f"{name}: its format is {line.format}, this version reads {FORMAT}")
                begun = True
            elif not begun:
                raise BadLogError(f"{name}: line {number} is not the beginning of a decision log")
            elif isinstance(line, StateLine):
                states[line.n] = line
            elif isinstance(line, DocLine):
                try:
                    snapshot = with_document(snapshot, line)
                except (msgspec.MsgspecError, ValueError) as error:
                    self._skip(f"{name}: line {number}: skipped, {line.kind} {line.id!r} cannot be read: {error}")
            else:
                missing = [c.state for c in line.candidates if c.state not in states]
                if missing:
                    self._skip(f"{name}: line {number}: skipped, what it refers to was lost")
                else:
                    yield Logged(line, snapshot, states)

    def _skip(self, note: str) -> None:
        self.skipped += 1
        if len(self.notes) < NOTES:
            self.notes.append(note)


def with_document(snapshot: FleetSnapshot, line: DocLine) -> FleetSnapshot:
    """The snapshot with one more document, or without one.

    Raises:
        ValueError, msgspec.MsgspecError: it cannot be read.
    """
    kind = Kind(line.kind)
    document = None
    if bytes(line.doc) != b"null":
        document = codec.decode(kind, line.id, bytes(line.doc), version=line.version, at=0.0)
    if kind is Kind.POLICIES:
        text = document.yaml if isinstance(document, codec.PoliciesDocument) else ""
        return replace(snapshot, policies_yaml=text, policies_version=line.version)
    if kind is Kind.BACKEND:
        return replace(snapshot, backends=_put(snapshot.backends, line.id, document))
    if kind is Kind.HEALTH:
        return replace(snapshot, health=_put(snapshot.health, line.id, document))
    if kind is Kind.PRICE:
        backend, _, model = line.id.partition("/")
        return replace(snapshot, prices=_put(snapshot.prices, (backend, model), document))
    return snapshot


def _put(held: dict, key: object, document: object) -> dict:  # type: ignore[type-arg]  # of one kind, by the caller
    if document is None:
        return {name: value for name, value in held.items() if name != key}
    return {**held, key: document}
