"""Documents to write, held against a snapshot: which of them are needed, what they change, and what they make of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from router.domain.fleet import Backend
from router.domain.pricing import PriceBook
from router.domain.snapshot import FleetSnapshot
from router.domain.tenant import Tenant
from router.settings.differences import DocumentDifference, compare
from router.state import codec
from router.state.codec import PoliciesDocument
from router.state.keys import Kind, price_key
from router.state.writes import Write

Stored = Backend | PriceBook | Tenant | PoliciesDocument


def held(snapshot: FleetSnapshot, kind: Kind, document_id: str) -> Stored | None:
    """The document as the snapshot has it; None where there is none."""
    match kind:
        case Kind.BACKEND:
            return snapshot.backends.get(document_id)
        case Kind.PRICE:
            return snapshot.prices.get(price_key(document_id))
        case Kind.TENANT:
            return snapshot.tenants.get(document_id)
        case _:
            if not snapshot.policies_yaml and not snapshot.policies_version:
                return None
            return PoliciesDocument(snapshot.policies_yaml, snapshot.policies_version)


def needed(snapshot: FleetSnapshot, writes: Iterable[Write]) -> tuple[Write, ...]:
    """The writes that change something; a document that is as it should be is not written again."""
    return tuple(write for write in writes if _json(held(snapshot, write.kind, write.id)) != _json(write.document))


def differences(snapshot: FleetSnapshot, writes: Iterable[Write]) -> tuple[DocumentDifference, ...]:
    """What the writes change, by document."""
    found = (
        compare(write.kind.value, write.id, _json(held(snapshot, write.kind, write.id)), _json(write.document))
        for write in writes
    )
    return tuple(difference for difference in found if difference is not None)


def applied(snapshot: FleetSnapshot, writes: Iterable[Write]) -> FleetSnapshot:
    """The snapshot as it would be after the writes; its versions stay."""
    backends, prices, tenants = dict(snapshot.backends), dict(snapshot.prices), dict(snapshot.tenants)
    health, policies = snapshot.health, snapshot.policies_yaml
    for write in writes:
        document = write.document
        if isinstance(document, Backend):
            backends[write.id] = document
        elif isinstance(document, PriceBook):
            prices[price_key(write.id)] = document
        elif isinstance(document, Tenant):
            tenants[write.id] = document
        elif isinstance(document, PoliciesDocument):
            policies = document.yaml
        elif write.kind is Kind.BACKEND:
            backends.pop(write.id, None)
        elif write.kind is Kind.PRICE:
            prices.pop(price_key(write.id), None)
        elif write.kind is Kind.TENANT:
            tenants.pop(write.id, None)
        else:
            policies = ""
    return replace(snapshot, backends=backends, prices=prices, tenants=tenants, health=health, policies_yaml=policies)


def _json(document: codec.Document | None) -> str | None:
    return None if document is None else codec.encode(document).decode()
