"""Documents to JSON and back, typed: what cannot be decoded is reported with its name, never guessed and never fatal.

Fields that this version does not know are ignored and fields that are missing take their defaults, so that replicas of
neighbouring versions share one store. A document's version and time of change live in its envelope, not in itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from router.domain.fleet import Backend, Change, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant
from router.state.keys import POLICIES_ID, Kind, Operation, price_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoliciesDocument:
    """The text that config/policies.yaml holds."""

    yaml: str
    version: int = 0


Document = Backend | PriceBook | Tenant | Health | PoliciesDocument


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of a removed document."""

    version: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the change stream. `document` is None when it was removed, and when `readable` is False.

    `more`: the next entry belongs to the same change.
    """

    change: Change
    document: Document | None
    readable: bool = True
    more: bool = False


class _Envelope(msgspec.Struct, frozen=True):
    version: int
    at: float
    doc: msgspec.Raw


_TYPES: dict[Kind, type[Document]] = {
    Kind.BACKEND: Backend,
    Kind.PRICE: PriceBook,
    Kind.TENANT: Tenant,
    Kind.HEALTH: Health,
    Kind.POLICIES: PoliciesDocument,
}
_KINDS: dict[type[Document], Kind] = {type_: kind for kind, type_ in _TYPES.items()}
_HEAD = re.compile(rb'\{"version":(\d{1,16}),"at":(\d{1,12}(?:\.\d{1,9})?),"doc":\{')
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_DECODERS = {kind: msgspec.json.Decoder(type_) for kind, type_ in _TYPES.items()}
# Sets in one order, so that equal documents are equal bytes.
_encode = msgspec.json.Encoder(order="deterministic").encode


def kind_of(document: Document) -> Kind:
    return _KINDS[type(document)]


def encode(document: Document) -> bytes:
    """The document as it is stored: always a JSON object, which is how scripts tell it from a tombstone."""
    if isinstance(document, PriceBook):
        return _encode(replace(document, version=0, changed_at=0.0))
    return _encode(replace(document, version=0))


def decode(kind: Kind, document_id: str, doc: bytes, *, version: int, at: float) -> Document:
    """The document with its version.

    Raises:
        msgspec.MsgspecError: it is not JSON, not of this kind, or not the document of that id.
    """
    document = _DECODERS[kind].decode(doc)
    if isinstance(document, Backend | Tenant) and document.id != document_id:
        raise msgspec.ValidationError(f"it calls itself {document.id!r}")
    if isinstance(document, PriceBook):
        if price_id(document.backend, document.model) != document_id:
            raise msgspec.ValidationError(f"it calls itself {price_id(document.backend, document.model)!r}")
        return replace(document, version=version, changed_at=at)
    return replace(document, version=version)


def peek(value: bytes) -> tuple[int, float] | None:
    """Version and time of an envelope, as far as they can be told without decoding its document."""
    found = _HEAD.match(value)
    return None if found is None else (int(found[1]), float(found[2]))


def decode_envelope(kind: Kind, document_id: str, value: bytes) -> tuple[Document, float] | Tombstone | None:
    """What a hash holds, with its time; None, with a line in the log, when that cannot be read."""
    try:
        envelope = _decode_envelope(value)
        if bytes(envelope.doc) == b"null":
            return Tombstone(envelope.version, envelope.at)
        document = decode(kind, document_id, bytes(envelope.doc), version=envelope.version, at=envelope.at)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning("skipped the stored %s %r: it cannot be read: %s", kind.value, document_id, error)
        return None
    return document, envelope.at


def decode_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry | None:
    """An entry of the stream; None when it is not one of ours."""
    try:
        kind = Kind(fields[b"kind"].decode())
        change = Change(
            fleet_version=int(entry_id.partition(b"-")[0]),
            kind=kind.value,
            id=fields[b"id"].decode("utf-8", "replace"),
            operation=Operation(fields[b"op"].decode()).value,
            version=int(fields[b"version"]),
            at=float(fields[b"at"]),
            actor=fields.get(b"actor", b"").decode("utf-8", "replace"),
        )
    except (KeyError, ValueError) as error:
        _log.warning("skipped entry %r of the change stream: it cannot be read: %s", entry_id, error)
        return None
    more = fields.get(b"more") == b"1"
    if change.operation == Operation.REMOVED:
        return Entry(change=change, document=None, more=more)
    try:
        document = decode(kind, change.id, fields.get(b"doc", b""), version=change.version, at=change.at)
    except (msgspec.MsgspecError, ValueError) as error:
        _log.warning(
            "skipped change %d, %s %r: it cannot be read: %s", change.fleet_version, change.kind, change.id, error
        )
        return Entry(change=change, document=None, readable=False, more=more)
    return Entry(change=change, document=document, more=more)


def document_id(document: Backend | PriceBook | Tenant | PoliciesDocument) -> str:
    """The id of a document that names itself; a health state does not."""
    if isinstance(document, Backend | Tenant):
        return document.id
    if isinstance(document, PriceBook):
        return price_id(document.backend, document.model)
    return POLICIES_ID
