"""Tenants and their API keys over gRPC: `router.v1.TenantService` on the admin port.

Reads answer from this replica's snapshot, also while the store is away; writes go to the store, and are refused at once
while it is known to be away. A key's text is made here, is in one answer, and is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from router.api.admin_call import answering
from router.api.wire import tenants as wire
from router.api.wire.checks import Checks
from router.api.wire.times import unix_of
from router.clock import Clock
from router.dispatch.tenants import TenantUse
from router.domain import api_key
from router.domain.audit import Author
from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.tenant import ApiKey, Tenant
from router.errors import InvalidRequest, NotFound, StaleVersion, StoreUnavailable, Violation
from router.settings.tenants import MAX_KEYS
from router.state.view import FleetView
from router.v1 import tenants_pb2 as pb
from router.v1 import tenants_pb2_grpc


class TenantStore(Protocol):
    """What is needed of the store; see `router.state.contract`."""

    async def get_tenant(self, tenant_id: str) -> Tenant: ...

    async def put_tenant(self, tenant: Tenant, *, expected_version: int, author: Author) -> tuple[Tenant, int]: ...

    async def remove_tenant(self, tenant_id: str, *, expected_version: int, author: Author) -> int: ...


class Use(Protocol):
    """Who knows what tenants use."""

    def state(self, tenant_id: str) -> TenantUse: ...


class TenantService(tenants_pb2_grpc.TenantServiceServicer):
    """Translates; the store decides. `policies` gives those in force, `clock.time()` is the store's."""

    def __init__(
        self,
        store: TenantStore,
        view: FleetView,
        *,
        use: Use,
        catalogue: Catalogue,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._store = store
        self._view = view
        self._use = use
        self._catalogue = catalogue
        self._policies = policies
        self._clock = clock

    @answering
    async def ListTenants(self, _request: pb.ListTenantsRequest, _author: Author) -> pb.ListTenantsResponse:
        snapshot = self._view.snapshot
        return pb.ListTenantsResponse(
            tenants=[self._encode(tenant) for _, tenant in sorted(snapshot.tenants.items())],
            fleet_version=snapshot.version,
        )

    @answering
    async def GetTenant(self, request: pb.GetTenantRequest, _author: Author) -> pb.GetTenantResponse:
        if not self._view.loaded:
            raise StoreUnavailable("the state store has not answered yet: there are no tenants to look in")
        if (tenant := self._view.snapshot.tenants.get(request.id)) is None:
            raise NotFound(f"tenant {request.id!r} does not exist")
        return pb.GetTenantResponse(tenant=self._encode(tenant))

    @answering
    async def PutTenant(self, request: pb.PutTenantRequest, author: Author) -> pb.PutTenantResponse:
        decoded = wire.decode_tenant(request.spec, (), catalogue=self._catalogue, classes=self._policies().classes)
        self._check_connected()
        keys: tuple[ApiKey, ...] = ()
        if request.expected_version:
            try:
                keys = (await self._at(decoded.id, request.expected_version)).keys
            except NotFound:
                # A removed tenant is put back without its keys; the store compares its last version.
                keys = ()
        written, fleet = await self._store.put_tenant(
            replace(decoded, keys=keys), expected_version=request.expected_version, author=author
        )
        return pb.PutTenantResponse(tenant=await self._seen(written, fleet), fleet_version=fleet)

    @answering
    async def RemoveTenant(self, request: pb.RemoveTenantRequest, author: Author) -> pb.RemoveTenantResponse:
        self._check_write(request.expected_version)
        fleet = await self._store.remove_tenant(request.id, expected_version=request.expected_version, author=author)
        await self._view.confirmed(fleet)
        return pb.RemoveTenantResponse(fleet_version=fleet)

    @answering
    async def CreateKey(self, request: pb.CreateKeyRequest, author: Author) -> pb.CreateKeyResponse:
        checks = Checks()
        expires_at = unix_of(checks, "expires_at", request.expires_at) if request.HasField("expires_at") else None
        now = self._clock.time()
        if expires_at is not None and expires_at <= now:
            checks.add("expires_at", "must be in the future")
        checks.raise_any()
        self._check_write(request.expected_version)
        tenant = await self._at(request.tenant, request.expected_version)
        keys = tenant.keys
        if len(keys) >= MAX_KEYS:
            # What is no longer valid is kept only to be named, as long as there is room.
            keys = tuple(k for k in keys if not k.revoked and (k.expires_at is None or k.expires_at > now))
        if len(keys) >= MAX_KEYS:
            raise InvalidRequest(Violation("tenant", f"has {MAX_KEYS} valid keys already; revoke some"))
        key_id, text = api_key.new_key()
        key = ApiKey(id=key_id, sha256=api_key.digest(text), created_at=now, expires_at=expires_at)
        written, fleet = await self._store.put_tenant(
            replace(tenant, keys=(*keys, key)), expected_version=request.expected_version, author=author
        )
        return pb.CreateKeyResponse(
            tenant=await self._seen(written, fleet), key=wire.encode_key(key), text=text, fleet_version=fleet
        )

    @answering
    async def RevokeKey(self, request: pb.RevokeKeyRequest, author: Author) -> pb.RevokeKeyResponse:
        self._check_write(request.expected_version)
        tenant = await self._at(request.tenant, request.expected_version)
        if all(key.id != request.key for key in tenant.keys):
            raise NotFound(f"tenant {request.tenant!r} has no key {request.key!r}")
        keys = tuple(replace(key, revoked=key.revoked or key.id == request.key) for key in tenant.keys)
        written, fleet = await self._store.put_tenant(
            replace(tenant, keys=keys), expected_version=request.expected_version, author=author
        )
        return pb.RevokeKeyResponse(tenant=await self._seen(written, fleet), fleet_version=fleet)

    async def _at(self, tenant_id: str, version: int) -> Tenant:
        """The stored tenant, which must be at this version."""
        tenant = await self._store.get_tenant(tenant_id)
        if tenant.version != version:
            raise StaleVersion(
                f"tenant {tenant_id!r} is at version {tenant.version}, not at the expected {version}",
                current=tenant.version,
            )
        return tenant

    async def _seen(self, tenant: Tenant, fleet_version: int) -> pb.Tenant:
        """The written tenant as a message, once this replica has it; it is written whether or not that takes long."""
        await self._view.confirmed(fleet_version)
        return self._encode(tenant)

    def _encode(self, tenant: Tenant) -> pb.Tenant:
        return wire.encode_tenant(tenant, self._use.state(tenant.id))

    def _check_connected(self) -> None:
        if not self._view.connected:
            raise StoreUnavailable("the state store is away: nothing can be written")

    def _check_write(self, expected_version: int) -> None:
        if expected_version == 0:
            raise InvalidRequest(Violation("expected_version", "must be the version that was read; 0 is for new ones"))
        self._check_connected()
