"""The admin API over a real gRPC server, a real Valkey and the sync between them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from router.api.admin_service import AdminService
from router.api.wire.admin import FleetRules
from router.clock import SystemClock
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, LiveLoad
from router.domain.hardware import Hardware, Model
from router.domain.wires import Features, WireFacts
from router.state.codec import Entry
from router.state.connection import open_client
from router.state.embedded import EmbeddedValkey
from router.state.keys import Keys
from router.state.runtime import State
from router.state.store import FleetStore, SeedDocuments, ValkeyStore
from router.v1 import admin_pb2 as pb
from router.v1 import admin_pb2_grpc
from router.v1 import common_pb2 as common

StartReplica = Callable[..., Awaitable[State]]
POLICIES = "default_class: fast\nclasses:\n  fast:\n    usd_per_s: 0.001\n"
CATALOGUE = Catalogue(
    hardware={
        "h100": Hardware(id="h100", name="NVIDIA H100", kind="gpu", memory_bytes=80e9),
        "hosted": Hardware(id="hosted", name="hosted", kind="hosted"),
    },
    models={"llama-3.1-8b": Model(id="llama-3.1-8b", parameters=8e9)},
)


class OneBusy:
    """Live state in which one backend has work."""

    def live(self, backend_id: str) -> LiveLoad:
        return LiveLoad(in_flight=3, running=2, waiting=0, load_at_unix=1.8e9) if backend_id == "a" else LiveLoad()


class CountingStore(ValkeyStore):
    """The real store, which counts the pages of changes that were asked of it."""

    pages = 0

    async def changes(self, *, after: int, limit: int, block_s: float = 0.0) -> tuple[Entry, ...]:
        self.pages += 1
        return await super().changes(after=after, limit=limit, block_s=block_s)


class Admin:
    """A client of one replica's admin port, and what is behind it."""

    def __init__(self, stub: Any, state: State, service: AdminService) -> None:
        self.stub = stub
        self.state = state
        self.service = service

    async def register(self, backend_id: str, **fields: Any) -> pb.Backend:
        request = pb.RegisterBackendRequest(spec=spec(backend_id, **fields))
        return (await self.stub.RegisterBackend(request)).backend  # type: ignore[no-any-return]  # the stub is untyped


def spec(backend_id: str, **fields: Any) -> pb.BackendSpec:
    defaults: dict[str, Any] = {
        "id": backend_id,
        "wire": "openai_chat",
        "profile": "vllm",
        "address": "http://127.0.0.1:8000",
        "models": [pb.ServedModel(model="llama-3.1-8b", context_tokens=8192)],
        "hardware": common.Hardware(id="h100", count=1),
    }
    return pb.BackendSpec(**(defaults | fields))


async def failure(call: Awaitable[Any]) -> tuple[grpc.StatusCode, dict[str, str], list[str]]:
    """The status of a call that fails, its ErrorInfo metadata with the reason, and the fields that it names."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    trailing = dict(iter(raised.value.trailing_metadata()))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(fields)
    return (
        raised.value.code(),
        dict(info.metadata) | {"reason": info.reason},
        [v.field for v in fields.field_violations],
    )


@asynccontextmanager
async def serving(state: State, store: FleetStore) -> AsyncGenerator[Admin]:
    rules = FleetRules(catalogue=CATALOGUE, wires={"openai_chat": WireFacts(profiles={"vllm": Features()})})
    service = AdminService(store, state.view, live=OneBusy(), rules=rules, clock=SystemClock())
    server = grpc.aio.server()
    admin_pb2_grpc.add_AdminServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    # Without the probe the client's window stays at 64 KiB, instead of growing to megabytes with a quick connection.
    options = (("grpc.http2.bdp_probe", 0),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield Admin(admin_pb2_grpc.AdminServiceStub(channel), state, service)  # type: ignore[no-untyped-call]  # generated
    service.stop()
    await server.stop(1.0)


@pytest.fixture
async def admin(start_replica: StartReplica) -> AsyncIterator[Admin]:
    state = await start_replica()
    async with serving(state, state.store) as client:
        yield client


async def test_a_backend_s_life(admin: Admin) -> None:
    """Registered, read, updated, drained, undrained and removed: each answer holds the new version, and reads agree."""
    stub = admin.stub
    backend = await admin.register("a", credential="env:KEY", labels={"team": "x"}, privacy=4, region="eu-1")
    assert (backend.version, backend.spec.hardware.name, backend.state.in_flight) == (1, "NVIDIA H100", 3)
    assert backend.state.health == common.HEALTH_STATE_UNKNOWN
    got = (await stub.GetBackend(pb.GetBackendRequest(id="a"))).backend
    assert got == backend
    drained = (await stub.DrainBackend(pb.DrainBackendRequest(id="a", expected_version=1))).backend
    assert drained.state.drained
    update = pb.UpdateBackendRequest(spec=spec("a", region="eu-2"), expected_version=drained.version)
    updated = (await stub.UpdateBackend(update)).backend
    assert updated.state.drained
    assert (updated.spec.region, updated.version) == ("eu-2", 3)
    undrained = (await stub.UndrainBackend(pb.UndrainBackendRequest(id="a", expected_version=3))).backend
    assert not undrained.state.drained
    listed = await stub.ListBackends(pb.ListBackendsRequest())
    assert [b.spec.id for b in listed.backends] == ["a"]
    assert listed.fleet_version == 4
    assert 0 <= listed.snapshot_age_s < 1
    removed = await stub.RemoveBackend(pb.RemoveBackendRequest(id="a", expected_version=4))
    assert removed.fleet_version == 5
    assert not (await stub.ListBackends(pb.ListBackendsRequest())).backends
    code, facts, _ = await failure(stub.GetBackend(pb.GetBackendRequest(id="a")))
    assert (code, facts["reason"]) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    again = await stub.RegisterBackend(pb.RegisterBackendRequest(spec=spec("a"), expected_version=5))
    assert again.backend.version == 6


async def test_a_stale_write_is_aborted_with_the_current_version(admin: Admin) -> None:
    """Every kind of write that expects another version is ABORTED, and its ErrorInfo names the current one."""
    await admin.register("a")
    stub = admin.stub
    await stub.DrainBackend(pb.DrainBackendRequest(id="a", expected_version=1))
    await stub.SetPrice(pb.SetPriceRequest(price=pb.Price(backend="a", usd_per_hour=2.0)))
    await stub.SetPolicies(pb.SetPoliciesRequest(yaml=POLICIES))
    calls = (
        (stub.UpdateBackend(pb.UpdateBackendRequest(spec=spec("a"), expected_version=1)), "2"),
        (stub.RemoveBackend(pb.RemoveBackendRequest(id="a", expected_version=1)), "2"),
        (stub.UndrainBackend(pb.UndrainBackendRequest(id="a", expected_version=1)), "2"),
        (stub.SetPrice(pb.SetPriceRequest(price=pb.Price(backend="a", usd_per_hour=3.0))), "1"),
        (stub.SetPolicies(pb.SetPoliciesRequest(yaml=POLICIES, expected_version=7)), "1"),
    )
    for call, current in calls:
        code, facts, _ = await failure(call)
        assert (code, facts) == (
            grpc.StatusCode.ABORTED,
            {"reason": "STALE_VERSION", "current_version": current},
        )
    for expected in (0, 2):
        code, _, _ = await failure(
            stub.RegisterBackend(pb.RegisterBackendRequest(spec=spec("a"), expected_version=expected))
        )
        assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_every_wrong_field_is_named(admin: Admin) -> None:
    """A specification, a price or policies with several faults are refused with each field's own path."""
    await admin.register("a")
    wrong = spec(
        "Not An Id",
        wire="openai_caht",
        address="ftp://x",
        hardware=common.Hardware(id="h200"),
        privacy=99,
        capabilities=[77],
    )
    wrong.limits.requests_per_minute = 0
    wrong.models[0].model = "llama-3.1-8c"
    code, facts, fields = await failure(admin.stub.RegisterBackend(pb.RegisterBackendRequest(spec=wrong)))
    assert (code, facts["reason"]) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(fields) == {
        "spec.id", "spec.wire", "spec.address", "spec.hardware.id", "spec.privacy", "spec.capabilities[0]",
        "spec.limits.requests_per_minute", "spec.models[0].model",
    }  # fmt: skip
    price = pb.Price(
        backend="a", model="other", usd_per_hour=float("nan"), output_usd_per_mtok=-1.0, elastic_fraction=2.0
    )
    price.expires_at.seconds = -5
    code, _, fields = await failure(admin.stub.SetPrice(pb.SetPriceRequest(price=price)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert {
        "price.model", "price.usd_per_hour", "price.output_usd_per_mtok", "price.elastic_fraction", "price.expires_at",
    } <= set(fields)  # fmt: skip
    bad = "default_class: slow\nclasses:\n  fast:\n    usd_per_sec: 1\n"
    code, _, fields = await failure(admin.stub.SetPolicies(pb.SetPoliciesRequest(yaml=bad)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "yaml.classes.fast.usd_per_sec" in fields
    code, _, fields = await failure(admin.stub.RemoveBackend(pb.RemoveBackendRequest(id="a")))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["expected_version"])


async def test_prices_and_policies_are_set_and_read(admin: Admin) -> None:
    """Prices are listed by backend with version and time; policies can be checked without being written."""
    await admin.register("a")
    await admin.register("b")
    price = pb.Price(backend="a", model="llama-3.1-8b", input_usd_per_mtok=0.1, output_usd_per_mtok=0.4)
    price.expires_at.FromSeconds(2_000_000_000)
    entry = (await admin.stub.SetPrice(pb.SetPriceRequest(price=price))).entry
    await admin.stub.SetPrice(pb.SetPriceRequest(price=pb.Price(backend="b", usd_per_hour=0.0)))
    assert (entry.version, entry.price.source, entry.price.output_usd_per_mtok) == (1, "admin", 0.4)
    assert entry.price.expires_at.seconds == 2_000_000_000
    assert abs(entry.changed_at.seconds - time.time()) < 60
    listed = await admin.stub.ListPrices(pb.ListPricesRequest(backend="a"))
    (found,) = listed.prices
    assert (found.price, found.version, found.changed_at) == (entry.price, entry.version, entry.changed_at)
    assert (found.in_force, found.source_kind, found.factor_now) == (True, pb.PRICE_SOURCE_ADMIN, 1.0)
    assert 0.0 <= found.age_s < 60.0
    assert len((await admin.stub.ListPrices(pb.ListPricesRequest())).prices) == 2
    code, _, _ = await failure(admin.stub.SetPrice(pb.SetPriceRequest(price=pb.Price(backend="zz", usd_per_hour=1.0))))
    assert code is grpc.StatusCode.NOT_FOUND
    dry = await admin.stub.SetPolicies(pb.SetPoliciesRequest(yaml=POLICIES, validate_only=True))
    assert (dry.policies.version, dry.fleet_version) == (0, 4)
    written = await admin.stub.SetPolicies(pb.SetPoliciesRequest(yaml=POLICIES))
    got = await admin.stub.GetPolicies(pb.GetPoliciesRequest())
    assert got.policies == written.policies == pb.Policies(yaml=POLICIES, version=1)


async def test_the_state_of_a_backend_is_the_fleet_s(admin: Admin) -> None:
    """Health that any replica writes is shown with its reason and version, and load that is not known is absent."""
    await admin.register("b")
    health = Health(state=HealthState.EJECTED, reason="3 probes failed", since=1.8e9)
    _, fleet = await admin.state.store.put_health("b", health, expected_version=0, actor="probe")
    assert await admin.state.view.wait_version(fleet, timeout_s=2.0)
    state = (await admin.stub.GetBackend(pb.GetBackendRequest(id="b"))).backend.state
    assert (state.health, state.health_reason) == (common.HEALTH_STATE_EJECTED, "3 probes failed")
    assert (state.health_since.seconds, state.health_version) == (1_800_000_000, 1)
    assert not state.HasField("running")
    assert not state.HasField("load_at")


async def test_without_the_store_writes_fail_at_once_and_reads_go_on(admin: Admin, valkey: EmbeddedValkey) -> None:
    """With the store frozen a write is UNAVAILABLE without waiting, reads answer with the age, and it heals."""
    await admin.register("a")
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(3):
            await admin.state.view.wait_connected(connected=False)
        writes = (
            admin.stub.RegisterBackend(pb.RegisterBackendRequest(spec=spec("b"))),
            admin.stub.UpdateBackend(pb.UpdateBackendRequest(spec=spec("a"), expected_version=1)),
            admin.stub.RemoveBackend(pb.RemoveBackendRequest(id="a", expected_version=1)),
            admin.stub.DrainBackend(pb.DrainBackendRequest(id="a", expected_version=1)),
            admin.stub.SetPrice(pb.SetPriceRequest(price=pb.Price(backend="a", usd_per_hour=1.0))),
            admin.stub.SetPolicies(pb.SetPoliciesRequest(yaml=POLICIES)),
        )
        began = time.monotonic()
        for write in writes:
            code, facts, _ = await failure(write)
            assert (code, facts["reason"]) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert time.monotonic() - began < 0.5
        listed = await admin.stub.ListBackends(pb.ListBackendsRequest())
        assert [b.spec.id for b in listed.backends] == ["a"]
        assert listed.snapshot_age_s > 0.5
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    async with asyncio.timeout(3):
        await admin.state.view.wait_connected(connected=True)
    assert (await admin.register("b")).version == 1


async def test_a_watch_sends_every_change_and_resumes(admin: Admin) -> None:
    """A watch begins after the version it names, goes on, names who made each change, and ends with the server."""
    await admin.register("a")
    first = admin.stub.WatchChanges(pb.WatchChangesRequest())
    change = await first.read()
    assert (change.fleet_version, change.kind, change.id, change.operation) == (1, "backend", "a", "set")
    assert change.actor.startswith("ipv4:127.0.0.1")
    request = pb.SetPriceRequest(price=pb.Price(backend="a", usd_per_hour=1.0))
    await admin.stub.SetPrice(request, metadata=(("x-actor", "alice"),))
    change = await first.read()
    assert (change.kind, change.id, change.actor) == ("price", "a/", "alice")
    first.cancel()
    await admin.stub.RemoveBackend(pb.RemoveBackendRequest(id="a", expected_version=1))
    second = admin.stub.WatchChanges(pb.WatchChangesRequest(after_version=2))
    seen = [await second.read() for _ in range(2)]
    assert [(c.fleet_version, c.kind, c.operation) for c in seen] == [
        (3, "price", "removed"),
        (4, "backend", "removed"),
    ]
    admin.service.stop()
    async with asyncio.timeout(2):
        assert await second.read() is grpc.aio.EOF
        assert await second.code() is grpc.StatusCode.OK


async def test_a_watch_that_cannot_resume_says_where_to_begin(admin: Admin, valkey: EmbeddedValkey) -> None:
    """After a version that the stream no longer holds, or has not reached, a watch is ABORTED with the current one."""
    for name in ("a", "b", "c"):
        await admin.register(name)
    client = open_client(valkey.url, timeout_s=1.0)
    await client.xtrim(Keys("router").changes, maxlen=1, approximate=False)
    await client.aclose()
    for after in (1, 9):
        code, facts, _ = await failure(admin.stub.WatchChanges(pb.WatchChangesRequest(after_version=after)).read())
        assert (code, facts["current_version"]) == (grpc.StatusCode.ABORTED, "3")
    watch = admin.stub.WatchChanges(pb.WatchChangesRequest())
    assert (await watch.read()).fleet_version == 3
    watch.cancel()


async def test_a_watch_outlives_an_outage(admin: Admin, valkey: EmbeddedValkey) -> None:
    """A watch stays open while the store is frozen and sends what comes afterwards."""
    await admin.register("a")
    watch = admin.stub.WatchChanges(pb.WatchChangesRequest(after_version=1))
    waiting = asyncio.create_task(watch.read())
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(3):
            await admin.state.view.wait_connected(connected=False)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    async with asyncio.timeout(3):
        await admin.state.view.wait_connected(connected=True)
        await admin.register("b")
        assert (await waiting).id == "b"
    watch.cancel()


async def test_a_client_that_does_not_read_a_watch_stops_it_from_reading(
    start_replica: StartReplica, valkey: EmbeddedValkey
) -> None:
    """The server reads changes page by page as the client takes them, however many wait; then all of them arrive."""
    state = await start_replica()
    store = CountingStore.connect(valkey.url)
    backends = tuple(Backend(id=f"b{n}", wire="w", address="", models=()) for n in range(9_000))
    for start in range(0, len(backends), 900):  # beyond a thousand a change is read whole, not from the stream
        await store.seed(SeedDocuments(backends=backends[start : start + 900]), actor="x" * 100)
    async with serving(state, store) as admin:
        watch = admin.stub.WatchChanges(pb.WatchChangesRequest())
        assert (await watch.read()).fleet_version == 1
        before = 0
        while store.pages > before:  # until the transport's buffers are full
            before = store.pages
            await asyncio.sleep(0.1)
        assert store.pages < 35
        assert [(await watch.read()).fleet_version for _ in range(8_999)] == list(range(2, 9_001))
        assert store.pages > 70
        watch.cancel()
    await store.aclose()


async def test_a_client_that_leaves_a_watch_is_forgotten(admin: Admin) -> None:
    """Nothing of a watch stays behind when its client has cancelled it, also when nothing changes afterwards."""
    await admin.register("a")
    watches = [admin.stub.WatchChanges(pb.WatchChangesRequest()) for _ in range(5)]
    for watch in watches:
        await watch.read()
        watch.cancel()
    async with asyncio.timeout(2):
        while admin.service._watchers:
            await asyncio.sleep(0.01)  # the server learns of a cancellation from the wire
