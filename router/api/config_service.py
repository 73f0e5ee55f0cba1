"""The gRPC face of configuration as a transaction: `router.v1.ConfigService`.

A plan is made from this replica's snapshot, also while the store is away. Applying plans again here, on the snapshot
that is then in force, and writes with that snapshot's version as the expected one: what is written is what the plan of
that moment says, at one version, or nothing. Then it waits until the live replicas run it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from router.api.admin_call import answering
from router.api.wire import config as wire
from router.clock import Clock
from router.dispatch.effect import Effect
from router.domain.audit import Author, Revision
from router.domain.fleet import Backend
from router.domain.policies import Policies
from router.domain.replica import Replica
from router.domain.snapshot import FleetSnapshot
from router.domain.tenant import Tenant
from router.errors import InvalidRequest, StaleVersion, StoreUnavailable, Violation
from router.settings.change import ChangeRules, Proposal, propose
from router.settings.config_files import ConfigText
from router.settings.differences import DocumentDifference, compare
from router.settings.fleet import missing_credential
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.settings.writes import differences, needed
from router.state.codec import PoliciesDocument
from router.state.view import FleetView
from router.state.writes import ApplyResult, Write
from router.v1 import config_pb2 as pb
from router.v1 import config_pb2_grpc

CATCH_UP_S = 0.25
# How often a change that expects no version is planned again when somebody else was first.
TRIES = 4
FEW = 50


class ConfigStore(Protocol):
    """What this service needs of the store; see `router.state.contract.FleetStore`."""

    async def apply(
        self, writes: Sequence[Write], *, expected_config_version: int | None, author: Author
    ) -> ApplyResult: ...

    async def history(self, *, before: int, limit: int) -> tuple[Revision, ...]: ...

    async def revision(self, version: int) -> Revision: ...

    async def documents_at(self, version: int) -> tuple[Write, ...]: ...


class Replicas(Protocol):
    """The live replicas; see `router.state.peers.Peers`."""

    @property
    def replicas(self) -> tuple[Replica, ...]: ...

    async def wait_acknowledged(self, version: int, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]: ...


class PlaysBack(Protocol):
    """Tells what a change would have done to recent traffic; see `router.dispatch.effect.Effects`."""

    async def of(
        self,
        before: FleetSnapshot,
        after: FleetSnapshot,
        *,
        policies: Policies | None = None,
        usable: Callable[[Backend], bool] = ...,
    ) -> Effect: ...


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be written on top of a snapshot, and what that changes."""

    writes: tuple[Write, ...]
    differences: tuple[DocumentDifference, ...]


_Make = Callable[[FleetSnapshot], Awaitable[_Change]]


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    """Translates; `settings.change` plans, the store decides."""

    def __init__(
        self,
        store: ConfigStore,
        view: FleetView,
        *,
        rules: ChangeRules,
        replicas: Replicas,
        effects: PlaysBack,
        clock: Clock,
    ) -> None:
        self._store = store
        self._view = view
        self._rules = rules
        self._replicas = replicas
        self._effects = effects
        self._clock = clock
        # Reading files takes the interpreter from those who serve: never more than one at a time.
        self._planning = asyncio.Lock()

    @answering
    async def Plan(self, request: pb.PlanRequest, _author: Author) -> pb.PlanResponse:
        files = wire.decode_files(request.files)
        if not self._view.loaded:
            raise StoreUnavailable("the state store has not answered yet: there is no configuration to plan against")
        proposal = await self._propose(files, self._view.snapshot, prune=request.prune)
        effect = await self._effects.of(
            proposal.base, proposal.snapshot, policies=proposal.policies, usable=self._usable
        )
        return pb.PlanResponse(
            config_version=proposal.base.config_version,
            differences=await _encoded(proposal.differences),
            effect=wire.encode_effect(effect),
            notes=proposal.notes,
        )

    @answering
    async def Apply(self, request: pb.ApplyRequest, author: Author) -> pb.ApplyResponse:
        files = wire.decode_files(request.files)
        wait_s = wire.decode_wait(request.wait_s)
        author = replace(author, note=wire.decode_note(request.note))

        async def make(snapshot: FleetSnapshot) -> _Change:
            proposal = await self._propose(files, snapshot, prune=request.prune)
            return _Change(proposal.writes, proposal.differences)

        change, version = await self._commit(make, request.expected_config_version, author)
        there, missing, waited_s = await self._acknowledged(change, version, wait_s)
        return pb.ApplyResponse(
            config_version=version,
            differences=await _encoded(change.differences),
            acknowledged=wire.encode_replicas(there, self._replicas.replicas),
            missing=wire.encode_replicas(missing, self._replicas.replicas),
            waited_s=waited_s,
        )

    @answering
    async def ListHistory(self, request: pb.ListHistoryRequest, _author: Author) -> pb.ListHistoryResponse:
        limit = wire.decode_limit(request.limit)
        self._check_connected("the history is in the state store, which is away")
        revisions = await self._store.history(before=request.before_version, limit=limit)
        encoded = await asyncio.to_thread(lambda: [wire.encode_revision(revision) for revision in revisions])
        return pb.ListHistoryResponse(revisions=encoded, config_version=self._view.snapshot.config_version)

    @answering
    async def GetRevision(self, request: pb.GetRevisionRequest, _author: Author) -> pb.GetRevisionResponse:
        self._check_connected("the history is in the state store, which is away")
        revision = await self._store.revision(request.version)
        return await asyncio.to_thread(_told, revision)

    @answering
    async def Rollback(self, request: pb.RollbackRequest, author: Author) -> pb.RollbackResponse:
        wait_s = wire.decode_wait(request.wait_s)
        note = wire.decode_note(request.note)
        author = replace(author, note=note, action=f"Rollback to {request.version}")
        if request.version == 0:
            raise InvalidRequest(Violation("version", "must be one of the history"))

        async def make(snapshot: FleetSnapshot) -> _Change:
            back = await self._store.documents_at(request.version)
            return await asyncio.to_thread(_rolled_back, snapshot, back, request.version)

        if request.plan_only:
            self._check_connected("the state store is away: it has the history")
            snapshot = await self._base(request.expected_config_version)
            change = await make(snapshot)
            return pb.RollbackResponse(
                config_version=snapshot.config_version,
                differences=await _encoded(change.differences),
            )
        change, version = await self._commit(make, request.expected_config_version, author)
        there, missing, waited_s = await self._acknowledged(change, version, wait_s)
        return pb.RollbackResponse(
            config_version=version,
            differences=await _encoded(change.differences),
            acknowledged=wire.encode_replicas(there, self._replicas.replicas),
            missing=wire.encode_replicas(missing, self._replicas.replicas),
            waited_s=waited_s,
        )

    async def _propose(self, files: Sequence[ConfigText], snapshot: FleetSnapshot, *, prune: bool) -> Proposal:
        now = self._clock.time()
        async with self._planning:
            try:
                return await asyncio.to_thread(propose, files, snapshot, self._rules, prune=prune, now=now)
            except ConfigError as error:
                raise wire.refused(error.problems) from None

    async def _commit(self, make: _Make, expected: int, author: Author) -> tuple[_Change, int]:
        """Writes a change, and answers it with the version that it made; a change of nothing makes none.

        Raises:
            StaleVersion: the configuration is not, or no longer, at the version that is expected.
        """
        for _ in range(TRIES):
            self._check_connected("the state store is away: nothing can be written")
            snapshot = await self._base(expected)
            change = await make(snapshot)
            if not change.writes:
                return change, snapshot.config_version
            try:
                result = await self._store.apply(
                    change.writes, expected_config_version=snapshot.config_version, author=author
                )
            except StaleVersion as error:
                if expected:
                    raise _meanwhile(expected, error.current) from None
                await self._seen(error.current)
                continue
            if result.changed:
                await self._view.confirmed(result.config_version)
            return change, result.config_version
        current = self._view.snapshot.config_version
        raise StaleVersion(f"others change the configuration all the time; it is at version {current}", current=current)

    async def _base(self, expected: int) -> FleetSnapshot:
        """The snapshot to plan on; it may take a moment to come when the caller planned with another replica."""
        if expected > self._view.snapshot.config_version:
            await self._seen(expected)
        snapshot = self._view.snapshot
        if expected and snapshot.config_version != expected:
            raise _meanwhile(expected, snapshot.config_version)
        return snapshot

    async def _seen(self, config_version: int) -> None:
        """Gives this replica a moment to have a configuration that somebody else has already."""
        await self._view.wait_for(lambda s: s.config_version >= config_version, timeout_s=CATCH_UP_S)

    async def _acknowledged(
        self, change: _Change, version: int, wait_s: float
    ) -> tuple[tuple[str, ...], tuple[str, ...], float]:
        if not change.writes:
            return (), (), 0.0
        began = self._clock.monotonic()
        there, missing = await self._replicas.wait_acknowledged(version, wait_s)
        return there, missing, self._clock.monotonic() - began

    def _usable(self, backend: Backend) -> bool:
        return missing_credential(backend.credential, self._rules.env) is None

    def _check_connected(self, what: str) -> None:
        if not self._view.connected:
            raise StoreUnavailable(what)


async def _encoded(found: Sequence[DocumentDifference]) -> list[pb.DocumentDifference]:
    """The differences as messages; thousands of them are made beside the event loop."""
    if len(found) <= FEW:
        return [wire.encode_difference(difference) for difference in found]
    return await asyncio.to_thread(lambda: [wire.encode_difference(difference) for difference in found])


def _meanwhile(expected: int, current: int) -> StaleVersion:
    return StaleVersion(
        f"the configuration is at version {current}, not at the expected {expected}: "
        "somebody changed it meanwhile; plan again",
        current=current,
    )


def _rolled_back(snapshot: FleetSnapshot, back: Sequence[Write], version: int) -> _Change:
    """What takes a snapshot back, but for the keys of tenants that are still there.

    Who was locked out stays so, and who was let in since is not locked out by undoing a price.

    Raises:
        InvalidRequest: the policies of then are not understood by this router.
    """
    for write in back:
        if isinstance(write.document, PoliciesDocument):
            try:
                parse_policies(write.document.yaml, f"policies of version {version}")
            except ConfigError as error:
                raise wire.refused(error.problems) from None
    writes = needed(snapshot, [_with_keys_of_now(write, snapshot) for write in back])
    return _Change(writes, differences(snapshot, writes))


def _with_keys_of_now(write: Write, snapshot: FleetSnapshot) -> Write:
    now = snapshot.tenants.get(write.id)
    if not isinstance(write.document, Tenant) or now is None:
        return write
    return replace(write, document=replace(write.document, keys=now.keys))


def _told(revision: Revision) -> pb.GetRevisionResponse:
    found = (compare(change.kind, change.id, change.before, change.after) for change in revision.changes)
    return pb.GetRevisionResponse(
        revision=wire.encode_revision(revision),
        differences=[wire.encode_difference(difference) for difference in found if difference is not None],
    )
