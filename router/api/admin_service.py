"""The gRPC face of the fleet's state: `router.v1.AdminService`.

Reads answer from this replica's snapshot, also while the store is away. Writes go to the store, and are answered when
this replica's own memory has the change: a read that follows sees it, and a store that is wiped gets it back. While the
store is known to be away a write is refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import grpc.aio

from router.api import rescue
from router.api.admin_call import Context, answering
from router.api.inference_service import request_id_of
from router.api.price_desk import PriceDesk
from router.api.wire import admin as wire
from router.api.wire.admin import FleetRules
from router.clock import Clock
from router.domain.audit import Author
from router.domain.fleet import Backend, Health, LiveLoad
from router.domain.snapshot import FleetSnapshot
from router.errors import AlreadyExists, InvalidRequest, NotFound, StaleVersion, StoreUnavailable, Violation
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.state.store import FleetStore
from router.state.view import FleetView
from router.v1 import admin_pb2 as pb
from router.v1 import admin_pb2_grpc

MAX_POLICIES_CHARS = 65_536
_PAGE = 128
_RETRY_S = 0.25


class LiveState(Protocol):
    def live(self, backend_id: str) -> LiveLoad:
        """What this replica sees of a backend; one that it does not know is idle."""
        ...


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Translates; the store decides. `stop` ends the watches cleanly."""

    def __init__(
        self,
        store: FleetStore,
        view: FleetView,
        *,
        live: LiveState,
        rules: FleetRules,
        clock: Clock,
        feed_max_age_s: Mapping[str, float] | None = None,
    ) -> None:
        self._store = store
        self._view = view
        self._live = live
        self._rules = rules
        self._clock = clock
        self._prices = PriceDesk(store, view, clock=clock, feed_max_age_s=feed_max_age_s or {})
        self._stopping = False
        self._watchers: set[asyncio.Event] = set()

    def stop(self) -> None:
        self._stopping = True
        for wake in self._watchers:
            wake.set()

    @answering
    async def ListBackends(self, _request: pb.ListBackendsRequest, _author: Author) -> pb.ListBackendsResponse:
        snapshot = self._view.snapshot
        return pb.ListBackendsResponse(
            backends=[self._encode(backend, snapshot) for _, backend in sorted(snapshot.backends.items())],
            fleet_version=snapshot.version,
            snapshot_age_s=self._view.age_s(self._clock.monotonic()),
        )

    @answering
    async def GetBackend(self, request: pb.GetBackendRequest, _author: Author) -> pb.GetBackendResponse:
        if not self._view.loaded:
            raise StoreUnavailable("the state store has not answered yet: there is no fleet to look in")
        snapshot = self._view.snapshot
        if (backend := snapshot.backends.get(request.id)) is None:
            raise NotFound(f"backend {request.id!r} does not exist")
        return pb.GetBackendResponse(backend=self._encode(backend, snapshot))

    @answering
    async def RegisterBackend(self, request: pb.RegisterBackendRequest, author: Author) -> pb.RegisterBackendResponse:
        backend = wire.decode_backend(request.spec, self._rules)
        self._check_connected()
        if request.expected_version and (there := await self._stored(backend.id)):
            raise AlreadyExists(f"backend {backend.id!r} exists already, at version {there.version}")
        written, fleet = await self._store.put_backend(
            backend, expected_version=request.expected_version, author=author
        )
        return pb.RegisterBackendResponse(backend=await self._seen(written, fleet), fleet_version=fleet)

    @answering
    async def UpdateBackend(self, request: pb.UpdateBackendRequest, author: Author) -> pb.UpdateBackendResponse:
        backend = wire.decode_backend(request.spec, self._rules)
        self._check_write(request.expected_version)
        current = await self._store.get_backend(backend.id)
        # A specification does not say whether the backend is drained: that stays as it is.
        backend = replace(backend, drained=current.drained)
        written, fleet = await self._store.put_backend(
            backend, expected_version=request.expected_version, author=author
        )
        return pb.UpdateBackendResponse(backend=await self._seen(written, fleet), fleet_version=fleet)

    @answering
    async def RemoveBackend(self, request: pb.RemoveBackendRequest, author: Author) -> pb.RemoveBackendResponse:
        self._check_write(request.expected_version)
        fleet = await self._store.remove_backend(request.id, expected_version=request.expected_version, author=author)
        await self._view.confirmed(fleet)
        return pb.RemoveBackendResponse(fleet_version=fleet)

    @answering
    async def DrainBackend(self, request: pb.DrainBackendRequest, author: Author) -> pb.DrainBackendResponse:
        written, fleet = await self._set_drained(request.id, request.expected_version, author, drained=True)
        return pb.DrainBackendResponse(backend=await self._seen(written, fleet), fleet_version=fleet)

    @answering
    async def UndrainBackend(self, request: pb.UndrainBackendRequest, author: Author) -> pb.UndrainBackendResponse:
        written, fleet = await self._set_drained(request.id, request.expected_version, author, drained=False)
        return pb.UndrainBackendResponse(backend=await self._seen(written, fleet), fleet_version=fleet)

    @answering
    async def SetPrice(self, request: pb.SetPriceRequest, author: Author) -> pb.SetPriceResponse:
        self._check_connected()
        entry, fleet = await self._prices.put(request, author)
        await self._view.confirmed(fleet)
        return pb.SetPriceResponse(entry=entry, fleet_version=fleet)

    @answering
    async def ClearPrice(self, request: pb.ClearPriceRequest, author: Author) -> pb.ClearPriceResponse:
        self._check_write(request.expected_version)
        entry, fleet = await self._prices.clear(request, author)
        await self._view.confirmed(fleet)
        return pb.ClearPriceResponse(entry=entry, fleet_version=fleet)

    @answering
    async def ListPrices(self, request: pb.ListPricesRequest, _author: Author) -> pb.ListPricesResponse:
        return await self._prices.listing(request)

    @answering
    async def GetPolicies(self, _request: pb.GetPoliciesRequest, _author: Author) -> pb.GetPoliciesResponse:
        snapshot = self._view.snapshot
        policies = pb.Policies(yaml=snapshot.policies_yaml, version=snapshot.policies_version)
        return pb.GetPoliciesResponse(policies=policies)

    @answering
    async def SetPolicies(self, request: pb.SetPoliciesRequest, author: Author) -> pb.SetPoliciesResponse:
        if len(request.yaml) > MAX_POLICIES_CHARS:
            raise InvalidRequest(Violation("yaml", f"must have at most {MAX_POLICIES_CHARS} characters"))
        try:
            await asyncio.to_thread(parse_policies, request.yaml, "policies")
        except ConfigError as error:
            raise wire.invalid(((p.path, p.message) for p in error.problems), under="yaml") from None
        if request.validate_only:
            snapshot = self._view.snapshot
            checked = pb.Policies(yaml=request.yaml, version=snapshot.policies_version)
            return pb.SetPoliciesResponse(policies=checked, fleet_version=snapshot.version)
        self._check_connected()
        version, fleet = await self._store.put_policies(
            request.yaml, expected_version=request.expected_version, author=author
        )
        await self._view.confirmed(fleet)
        written = pb.Policies(yaml=request.yaml, version=version)
        return pb.SetPoliciesResponse(policies=written, fleet_version=fleet)

    async def WatchChanges(self, request: pb.WatchChangesRequest, context: Context) -> None:
        """Writes to the context, as `InferenceService.Generate` does: each write waits for the client to keep up."""
        wake = asyncio.Event()
        self._watchers.add(wake)
        unsubscribe = self._view.on_change(lambda _: wake.set())
        try:
            await self._watch(request.after_version, wake, context)
        except grpc.aio.InternalError:
            return  # the watch ended while a message waited for its reader
        except Exception as error:  # noqa: BLE001 - the outermost frame, as in `answering`
            await rescue.abort(context, error, request_id_of(context))
        finally:
            unsubscribe()
            self._watchers.discard(wake)

    async def _watch(self, after: int, wake: asyncio.Event, context: Context) -> None:
        """Sends changes until `stop`. `after` 0 names no version: it means every change that is still kept."""
        cursor = after
        if after > self._view.snapshot.version and after > (newest := await self._store.version()):
            raise StaleVersion(f"the fleet is at version {newest}, {after} has not been reached", current=newest)
        while not self._stopping:
            wake.clear()
            try:
                page = await self._store.changes(after=cursor, limit=_PAGE)
            except StoreUnavailable:
                # The watch outlives an outage; what happened meanwhile is in the stream afterwards.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await wake.wait()
                continue
            for entry in page:
                if cursor and entry.change.fleet_version != cursor + 1:
                    newest = self._view.snapshot.version
                    raise StaleVersion(
                        f"the changes after version {cursor} are no longer kept: list, then watch from {newest}",
                        current=newest,
                    )
                await context.write(wire.encode_change(entry.change))
                cursor = entry.change.fleet_version
            if not page:
                await wake.wait()

    async def _set_drained(
        self, backend_id: str, expected: int, author: Author, *, drained: bool
    ) -> tuple[Backend, int]:
        self._check_write(expected)
        return await self._store.set_drained(backend_id, drained=drained, expected_version=expected, author=author)

    async def _seen(self, backend: Backend, fleet_version: int) -> pb.Backend:
        """The written backend as a message, once this replica has it; it is written whether or not that takes long."""
        await self._view.confirmed(fleet_version)
        return self._encode(backend, self._view.snapshot)

    async def _stored(self, backend_id: str) -> Backend | None:
        try:
            return await self._store.get_backend(backend_id)
        except NotFound:
            return None

    def _encode(self, backend: Backend, snapshot: FleetSnapshot) -> pb.Backend:
        health = snapshot.health.get(backend.id) or Health()
        return wire.encode_backend(backend, health, self._live.live(backend.id), self._rules.catalogue)

    def _check_connected(self) -> None:
        if not self._view.connected:
            raise StoreUnavailable("the state store is away: nothing can be written")

    def _check_write(self, expected_version: int) -> None:
        if expected_version == 0:
            raise InvalidRequest(Violation("expected_version", "must be the version that was read; 0 is for new ones"))
        self._check_connected()
