"""What goes into a store at once, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass

from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant
from router.state import codec
from router.state.codec import Document
from router.state.keys import Fence, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDocuments:
    """What the configuration puts into a store that has never had it."""

    backends: tuple[Backend, ...] = ()
    prices: tuple[PriceBook, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    policies_yaml: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What was written, and what the store had, or had had, already; each as "KIND ID"."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """One document of a transaction; None removes it. Its `version` plays no part."""

    kind: Kind
    id: str
    document: Document | None

    @classmethod
    def of(cls, document: Backend | PriceBook | Tenant | codec.PoliciesDocument) -> Write:
        return cls(codec.kind_of(document), codec.document_id(document), document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was judged of a backend's health, on which version of it, and by which right (None: nobody leases it)."""

    backend: str
    health: Health
    expected_version: int
    fence: Fence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """`changed`: how many documents are not as they were; 0 when all was so already, and nothing was written."""

    config_version: int
    changed: int
