"""What a store of the fleet offers, whatever it is made of, and the values that go in and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from router.domain.audit import Author, Revision
from router.domain.fleet import Backend, Health
from router.domain.pricing import PriceBook
from router.domain.tenant import Tenant
from router.state.codec import Entry
from router.state.fold import Held, Lost
from router.state.history import StoredRevision
from router.state.keys import Fence, Kind
from router.state.writes import ApplyResult, Judgement, SeedDocuments, SeedReport, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What the change stream and the history have after the versions that were asked for."""

    entries: tuple[Entry, ...] = ()
    revisions: tuple[StoredRevision, ...] = ()


class FleetStore(Protocol):
    """Writes answer the document with its new version, and the fleet's version.

    `expected_version` 0 means "there is none yet"; a removed one may also be put back with its tombstone's version.
    Every write of the configuration makes exactly one revision. A store that has less than it had before takes no write
    until it has been restored, nor for `keys.REBUILD_S` after that: each live replica first brings back what it has.

    Raises:
        StoreUnavailable: every method, within a bound.
        StaleVersion, AlreadyExists, NotFound: writes.
    """

    @property
    def seen_version(self) -> int:
        """The newest fleet version that the store has ever answered."""
        ...

    async def load(self, last_good: Held | None = None) -> Held:
        """Everything at one version, which is also the position in the change stream to go on from."""
        ...

    async def version(self) -> int: ...

    async def rebuilding(self) -> bool:
        """Replicas are putting back what the store lost: it may not have everything yet."""
        ...

    async def changes(self, *, after: int, limit: int, block_s: float = 0.0) -> tuple[Entry, ...]:
        """The next changes after a fleet version; waits up to `block_s` for the first.

        They start later than `after` + 1 when the stream no longer holds what follows.
        """
        ...

    async def news(self, *, after: int, after_revision: int, limit: int, block_s: float = 0.0) -> News:
        """The next changes, as of `changes`, and the next revisions; either may come before the other."""
        ...

    async def get_backend(self, backend_id: str) -> Backend: ...

    async def get_price(self, backend: str, model: str) -> PriceBook: ...

    async def get_tenant(self, tenant_id: str) -> Tenant: ...

    async def put_backend(self, backend: Backend, *, expected_version: int, author: Author) -> tuple[Backend, int]: ...

    async def remove_backend(self, backend_id: str, *, expected_version: int, author: Author) -> int:
        """Removes its prices and health as well; answers the fleet's version."""
        ...

    async def set_drained(
        self, backend_id: str, *, drained: bool, expected_version: int, author: Author
    ) -> tuple[Backend, int]: ...

    async def put_price(self, book: PriceBook, *, expected_version: int, author: Author) -> tuple[PriceBook, int]: ...

    async def remove_price(self, backend: str, model: str, *, expected_version: int, author: Author) -> int: ...

    async def put_tenant(self, tenant: Tenant, *, expected_version: int, author: Author) -> tuple[Tenant, int]: ...

    async def remove_tenant(self, tenant_id: str, *, expected_version: int, author: Author) -> int: ...

    async def put_policies(self, yaml: str, *, expected_version: int, author: Author) -> tuple[int, int]:
        """Answers the policies' version and the fleet's."""
        ...

    async def put_health(
        self, backend_id: str, health: Health, *, expected_version: int, actor: str, fence: Fence | None = None
    ) -> tuple[Health, int]:
        """With a fence it is StaleVersion when somebody else has the lease, or had it later."""
        ...

    async def put_judgements(self, judgements: Sequence[Judgement], *, actor: str) -> dict[str, str]:
        """Writes the health of many backends in one go, each for itself; answers who was refused, and why."""
        ...

    async def apply(
        self, writes: Sequence[Write], *, expected_config_version: int | None, author: Author
    ) -> ApplyResult:
        """Writes everything at one version, or nothing; what is already so is left alone.

        Raises:
            StaleVersion: the configuration is at another version than expected; `current` says which.
            NotFound: a price has no backend.
        """
        ...

    async def history(self, *, before: int, limit: int) -> tuple[Revision, ...]:
        """Revisions older than a version, newest first; `before` 0: from the newest."""
        ...

    async def revision(self, version: int) -> Revision:
        """Raises NotFound when it is not kept, or was never made."""
        ...

    async def documents_at(self, version: int) -> tuple[Write, ...]:
        """The writes that put today's configuration back to what it was at a version.

        Raises:
            NotFound: the history does not reach so far, or the version is still to come.
        """
        ...

    async def seed(self, documents: SeedDocuments, *, actor: str) -> SeedReport: ...

    async def restore(self, lost: Sequence[Lost], *, fleet_version: int, actor: str) -> int:
        """Puts back what the store lost and answers how much of it; the fleet's version will not go back."""
        ...

    async def recall(self, revisions: Sequence[StoredRevision]) -> int:
        """Puts back revisions, oldest first, that the store lost, and answers how many."""
        ...

    async def prune(self, tombstones: Sequence[tuple[Kind, str]], *, older_than_s: float) -> int:
        """Drops those tombstones that are that old, and answers how many."""
        ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...
