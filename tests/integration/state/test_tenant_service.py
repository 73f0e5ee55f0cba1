"""The tenants' API over a real gRPC server, a real Valkey and the sync between them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from router.api.authenticate import Authenticator
from router.api.tenant_service import TenantService
from router.clock import SystemClock
from router.dispatch.tenants import TenantUse
from router.domain.catalogue import Catalogue
from router.domain.hardware import Model
from router.domain.policies import Policies
from router.errors import Unauthenticated
from router.state.embedded import EmbeddedValkey
from router.state.runtime import State
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as inference
from router.v1 import tenants_pb2 as pb
from router.v1 import tenants_pb2_grpc

StartReplica = Callable[..., Awaitable[State]]
CATALOGUE = Catalogue(models={"llama-3.1-8b": Model(id="llama-3.1-8b")}, aliases={"fast": "llama-3.1-8b"})
ME = (("x-actor", "ada"),)


class OneUse:
    """Every tenant has used the same."""

    def state(self, tenant_id: str) -> TenantUse:
        return TenantUse(usd_today=1.5, usd_this_month=4.0, in_flight=2, refused=len(tenant_id))


class Client:
    def __init__(self, stub: Any, state: State) -> None:
        self.stub = stub
        self.state = state
        self.authenticator = Authenticator(lambda: state.view.snapshot.tenants, clock=SystemClock())

    async def put(self, spec: pb.TenantSpec, version: int = 0) -> pb.Tenant:
        response = await self.stub.PutTenant(pb.PutTenantRequest(spec=spec, expected_version=version), metadata=ME)
        return response.tenant  # type: ignore[no-any-return]  # the stub is untyped


@pytest.fixture
async def client(start_replica: StartReplica) -> AsyncIterator[Client]:
    state = await start_replica()
    policies = Policies()
    service = TenantService(
        state.store, state.view, use=OneUse(), catalogue=CATALOGUE, policies=lambda: policies, clock=SystemClock()
    )
    server = grpc.aio.server()
    tenants_pb2_grpc.add_TenantServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(tenants_pb2_grpc.TenantServiceStub(channel), state)  # type: ignore[no-untyped-call]  # generated
    await server.stop(1.0)


def spec(tenant_id: str = "team-a", **fields: Any) -> pb.TenantSpec:
    return pb.TenantSpec(id=tenant_id, **fields)


async def failure(call: Awaitable[Any]) -> tuple[str, set[str]]:
    """The reason of a call that fails, and the fields that it names."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    trailing = dict(iter(raised.value.trailing_metadata()))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(fields)
    return info.reason, {violation.field for violation in fields.field_violations}


async def test_a_tenant_s_life(client: Client) -> None:
    """Created, read with its use, changed and removed; what is written is what is read, and the author is named."""
    given = spec(
        name="Team A",
        limits=pb.TenantLimits(requests_per_s=50.0, burst_s=2.0, usd_per_day=20.0, max_in_flight=8),
        policy=pb.TenantPolicy(
            models=["fast"],
            classes=["interactive"],
            privacy=common.PRIVACY_LEVEL_NO_TRAINING,
            regions=["eu-*"],
            priority=inference.PRIORITY_NORMAL,
            max_cost_usd=0.5,
        ),
    )
    created = await client.put(given)
    assert (created.version, created.spec) == (1, given)
    assert (created.state.usd_today, created.state.in_flight, created.state.refused) == (1.5, 2, 6)
    changed = await client.put(spec(disabled=True), version=1)
    got = (await client.stub.GetTenant(pb.GetTenantRequest(id="team-a"))).tenant
    assert got == changed
    assert (got.spec.disabled, got.spec.limits.HasField("requests_per_s"), got.version) == (True, False, 2)
    assert got.spec.policy.priority == inference.PRIORITY_CRITICAL
    listed = await client.stub.ListTenants(pb.ListTenantsRequest())
    assert list(listed.tenants) == [got]
    await client.stub.RemoveTenant(pb.RemoveTenantRequest(id="team-a", expected_version=2), metadata=ME)

    assert (await failure(client.stub.GetTenant(pb.GetTenantRequest(id="team-a"))))[0] == "NOT_FOUND"
    changes = await client.state.store.changes(after=0, limit=10)
    assert [(entry.change.kind, entry.change.actor) for entry in changes] == [("tenant", "ada")] * 3


async def test_a_key_s_life(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Made, used, kept through a change of the tenant, revoked; its text is in one answer and nowhere else."""
    caplog.set_level(logging.DEBUG)
    await client.put(spec())
    made = await client.stub.CreateKey(pb.CreateKeyRequest(tenant="team-a", expected_version=1))
    assert client.authenticator.tenant(f"Bearer {made.text}") == "team-a"
    assert made.text.split("_")[1] == made.key.id
    renamed = await client.put(spec(name="A"), version=2)
    assert [key.id for key in renamed.keys] == [made.key.id]
    raw = b"".join(
        [
            await client.state.store._client.call("DUMP", "{router}:tenant", what="look"),
            str((await client.stub.ListTenants(pb.ListTenantsRequest())).tenants).encode(),
        ]
    )
    assert made.text.encode() not in raw
    assert made.text not in caplog.text
    revoked = await client.stub.RevokeKey(pb.RevokeKeyRequest(tenant="team-a", key=made.key.id, expected_version=3))
    assert revoked.tenant.keys[0].revoked
    with pytest.raises(Unauthenticated, match="revoked"):
        client.authenticator.tenant(f"Bearer {made.text}")


async def test_keys_expire(client: Client) -> None:
    """A key may have an end, which must be in the future."""
    await client.put(spec())
    request = pb.CreateKeyRequest(tenant="team-a", expected_version=1)
    request.expires_at.FromSeconds(1)
    assert await failure(client.stub.CreateKey(request)) == ("INVALID_REQUEST", {"expires_at"})
    request.expires_at.FromSeconds(4_000_000_000)
    made = await client.stub.CreateKey(request)

    assert made.key.expires_at.seconds == 4_000_000_000


async def test_every_wrong_field_is_named(client: Client) -> None:
    """The rules are those of tenants.yaml, with each field's own path."""
    wrong = spec(
        "Team A",
        limits=pb.TenantLimits(requests_per_s=-1.0, usd_per_month=float("nan"), burst_s=0.0),
        policy=pb.TenantPolicy(
            models=["nope"], classes=["nope"], default_class="nope", regions=["e u"], max_cost_usd=0.0
        ),
    )
    reason, fields = await failure(client.stub.PutTenant(pb.PutTenantRequest(spec=wrong)))

    assert reason == "INVALID_REQUEST"
    assert fields == {
        "spec.id", "spec.limits.requests_per_s", "spec.limits.usd_per_month", "spec.limits.burst_s",
        "spec.policy.models[0]", "spec.policy.classes[0]", "spec.policy.default_class", "spec.policy.regions[0]",
        "spec.policy.max_cost_usd",
    }  # fmt: skip
    bad = spec(policy=pb.TenantPolicy(privacy=77, priority=77))  # type: ignore[arg-type]  # what proto does not know
    _, fields = await failure(client.stub.PutTenant(pb.PutTenantRequest(spec=bad)))
    assert fields == {"spec.policy.privacy", "spec.policy.priority"}


async def test_a_stale_write_is_aborted(client: Client) -> None:
    """Each kind of write that expects another version is refused, and none writes without one."""
    await client.put(spec())
    stub = client.stub
    for expected, reason in ((7, "STALE_VERSION"), (0, "INVALID_REQUEST")):
        for call in (
            stub.CreateKey(pb.CreateKeyRequest(tenant="team-a", expected_version=expected)),
            stub.RevokeKey(pb.RevokeKeyRequest(tenant="team-a", key="k", expected_version=expected)),
            stub.RemoveTenant(pb.RemoveTenantRequest(id="team-a", expected_version=expected)),
        ):
            assert (await failure(call))[0] == reason
    stale = await failure(stub.PutTenant(pb.PutTenantRequest(spec=spec(), expected_version=7)))
    assert stale[0] == "STALE_VERSION"
    again = await failure(stub.PutTenant(pb.PutTenantRequest(spec=spec())))

    assert again[0] in {"ALREADY_EXISTS", "STALE_VERSION"}
    missing = stub.RevokeKey(pb.RevokeKeyRequest(tenant="team-a", key="k", expected_version=1))
    assert (await failure(missing))[0] == "NOT_FOUND"


async def test_a_removed_tenant_comes_back_without_its_keys(client: Client) -> None:
    """Put back at its last version, it has none of the keys that it had."""
    await client.put(spec())
    made = await client.stub.CreateKey(pb.CreateKeyRequest(tenant="team-a", expected_version=1))
    await client.stub.RemoveTenant(pb.RemoveTenantRequest(id="team-a", expected_version=2))
    back = await client.put(spec())

    assert not back.keys
    with pytest.raises(Unauthenticated):
        client.authenticator.tenant(f"Bearer {made.text}")


async def test_without_the_store_reads_go_on_and_writes_fail_at_once(client: Client, valkey: EmbeddedValkey) -> None:
    """With the store frozen tenants are listed, keys are valid, and a write is UNAVAILABLE."""
    await client.put(spec())
    made = await client.stub.CreateKey(pb.CreateKeyRequest(tenant="team-a", expected_version=1))
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(3):
            await client.state.view.wait_connected(connected=False)
        assert [t.spec.id for t in (await client.stub.ListTenants(pb.ListTenantsRequest())).tenants] == ["team-a"]
        assert client.authenticator.tenant(f"Bearer {made.text}") == "team-a"
        writes = (
            client.stub.PutTenant(pb.PutTenantRequest(spec=spec("b"))),
            client.stub.CreateKey(pb.CreateKeyRequest(tenant="team-a", expected_version=2)),
            client.stub.RemoveTenant(pb.RemoveTenantRequest(id="team-a", expected_version=2)),
        )
        for write in writes:
            assert (await failure(write))[0] == "STORE_UNAVAILABLE"
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
