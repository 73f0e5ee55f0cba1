"""Who changed what in the configuration, when, from where: one `Revision` per change, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass

# Documents that operators own; health is not one of them.
CONFIG_KINDS = frozenset({"backend", "price", "policies", "tenant"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who makes a change: what the caller calls itself, the address of the call, what was called, and why."""

    actor: str
    origin: str = ""
    action: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChange:
    """One document of a revision. `before` and `after` are its JSON, None where it was not there."""

    kind: str
    id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """`version` is the fleet version that the change ended at; `at` the store's clock, Unix seconds.

    `origin` is the address that the call came from, `action` what was called ("SetPrice", "Apply", "Rollback to 12").
    """

    version: int
    at: float
    actor: str
    origin: str = ""
    action: str = ""
    note: str = ""
    changes: tuple[DocumentChange, ...] = ()
