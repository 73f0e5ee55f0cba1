"""The state store freezes or dies under traffic: no request notices, writes say so, and it is found again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from router.state.embedded import EmbeddedValkey
from router.v1 import admin_pb2
from router.v1 import inference_pb2 as pb
from supervise.child import Child
from tests.integration.router.calls import Clients, clients_of, detail, eventually
from tests.integration.router.conftest import Figure
from tests.integration.router.site import MODEL, Running, Site, run_router
from tests.integration.router.traffic import Traffic, children_of, is_alive

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("emulators")]
REQUESTS = 200
Written = TypeVar("Written")
WRITE_LIMIT_S = 1.5
SLOWEST_S = 1.0


@pytest_asyncio.fixture(loop_scope="session")
async def valkey() -> AsyncGenerator[EmbeddedValkey]:
    async with EmbeddedValkey() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def stored(site: Site, fleet: Child, valkey: EmbeddedValkey) -> AsyncGenerator[Clients]:  # noqa: ARG001 - running
    """A router on that store."""
    async with run_router(site, REDIS_URL=valkey.url) as router, clients_of(router) as clients:
        yield clients


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process stands still, its sockets open, as one that swaps or is cut off from the network."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def set_price(clients: Clients, usd: float) -> admin_pb2.SetPriceResponse:
    """Sets the price of `fast`, whatever its version is."""
    listed: admin_pb2.ListPricesResponse = await clients.admin.ListPrices(admin_pb2.ListPricesRequest(backend="fast"))
    price = admin_pb2.Price(backend="fast", input_usd_per_mtok=usd, output_usd_per_mtok=usd, source="test")
    request = admin_pb2.SetPriceRequest(price=price, expected_version=listed.prices[0].version)
    written: admin_pb2.SetPriceResponse = await clients.admin.SetPrice(request)
    return written


async def refused_write(clients: Clients) -> float:
    """Seconds until a write is refused, as it must be."""
    began = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await set_price(clients, 5.0)
    took = time.monotonic() - began
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason == "STORE_UNAVAILABLE"
    return took


async def decision(clients: Clients) -> pb.ExplainResponse:
    request = pb.ExplainRequest(shape=pb.RequestShape(model=MODEL, input_tokens=500))
    explained: pb.ExplainResponse = await clients.inference.Explain(request)
    return explained


async def readyz(clients: Clients) -> dict[str, object]:
    response = await clients.http.get("/readyz")
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


async def test_a_frozen_store_is_noticed_by_operators_only(
    stored: Clients, valkey: EmbeddedValkey, figure: Figure
) -> None:
    """SIGSTOP for 200 requests: none fails or waits, writes are refused in time, the age grows; then all goes on."""
    traffic = Traffic(stored)
    await traffic.run(40)  # connections and caches
    before = await traffic.run(REQUESTS // 2)
    with frozen(valkey.pid):
        began = time.monotonic()
        during, first_write_s = await asyncio.gather(traffic.run(REQUESTS), refused_write(stored))
        state = await eventually(lambda: readyz(stored), lambda s: s["store"] == "away", limit_s=2.0)
        known_write_s = await refused_write(stored)
        ages = [(await decision(stored)).decision.snapshot_age_s]
        await eventually(lambda: decision(stored), lambda d: d.decision.snapshot_age_s > ages[0] + 0.2)
        frozen_s = time.monotonic() - began
        listed = await stored.admin.ListBackends(admin_pb2.ListBackendsRequest())
        metric = await stored.metric("router_store_connected")

    back_at = time.monotonic()
    await eventually(lambda: readyz(stored), lambda s: s["store"] == "connected", limit_s=2.0)
    await set_price(stored, 1000.0)
    await eventually(lambda: decision(stored), lambda d: d.decision.backend == "spare", limit_s=1.0)
    seen_s = time.monotonic() - back_at

    figure(f"store running: {before}")
    figure(
        f"store frozen for {frozen_s:.1f} s: {during}; write refused after {first_write_s:.2f} s, once known after "
        f"{1e3 * known_write_s:.1f} ms; after SIGCONT a change decides within {1e3 * seen_s:.0f} ms"
    )
    assert before.failed == during.failed == []
    assert during.median_s < 3.0 * before.median_s
    assert during.max_s < SLOWEST_S
    assert first_write_s < WRITE_LIMIT_S
    assert known_write_s < 0.1
    assert state["ready"] is True
    assert 0.0 < ages[0] < frozen_s + 1.0
    assert [b.spec.id for b in listed.backends] == ["fast", "spare"]
    assert metric == 0.0
    assert seen_s < 1.0


async def test_an_embedded_store_that_is_killed_comes_back_whole(
    fresh_router: Running, fresh_clients: Clients, figure: Figure
) -> None:
    """Kill -9 of the router's own Valkey under traffic: restarted with what operators had changed, no request fails."""
    clients = fresh_clients
    await set_price(clients, 1000.0)
    spec = (await clients.admin.GetBackend(admin_pb2.GetBackendRequest(id="spare"))).backend.spec
    spec.id = "third"
    await clients.admin.RegisterBackend(admin_pb2.RegisterBackendRequest(spec=spec))
    version = (await clients.admin.ListBackends(admin_pb2.ListBackendsRequest())).fleet_version
    traffic = Traffic(clients)
    await traffic.run(20)
    old = store_of(fresh_router)

    sending = asyncio.create_task(traffic.run(REQUESTS))
    await eventually(lambda: asyncio.sleep(0, traffic.sent), lambda sent: sent > 40)
    os.kill(old, signal.SIGKILL)
    killed_at = time.monotonic()
    await eventually(lambda: readyz(clients), lambda s: s["store"] == "away", limit_s=2.0)
    await eventually(lambda: readyz(clients), lambda s: s["store"] == "connected", limit_s=5.0)
    back_s = time.monotonic() - killed_at
    report = await sending
    kept = (await clients.admin.ListPrices(admin_pb2.ListPricesRequest(backend="fast"))).prices
    written = await when_rebuilt(lambda: set_price(clients, 0.1))

    figure(f"embedded store killed: back after {back_s:.2f} s; {report}")
    listed = await clients.admin.ListBackends(admin_pb2.ListBackendsRequest())
    assert report.failed == []
    assert report.max_s < SLOWEST_S
    assert set(report.backends) <= {"spare", "third"}
    assert store_of(fresh_router) != old
    assert [b.spec.id for b in listed.backends] == ["fast", "spare", "third"]
    assert written.fleet_version > version
    assert kept[0].price.input_usd_per_mtok == 1000.0


async def when_rebuilt(write: Callable[[], Awaitable[Written]], *, limit_s: float = 5.0) -> Written:
    """Writes as soon as that is allowed: for two seconds after a loss each replica brings back what it has newest."""
    began = time.monotonic()
    while True:
        try:
            return await write()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() - began > limit_s:
                raise
        await asyncio.sleep(0.05)


def store_of(router: Running) -> int:
    """The process id of a router's embedded Valkey."""
    found = [pid for pid, name in children_of(router.child.pid).items() if "valkey" in name or "redis" in name]
    assert len(found) == 1, children_of(router.child.pid)
    return found[0]


async def test_a_router_stops_while_its_store_is_frozen(
    fresh_router: Running, fresh_clients: Clients, figure: Figure
) -> None:
    """SIGTERM with the embedded Valkey standing still: the router ends with 0 all the same, and takes it along."""
    await Traffic(fresh_clients).run(4)
    store = store_of(fresh_router)
    os.kill(store, signal.SIGSTOP)

    fresh_router.send(signal.SIGTERM)
    told_at = time.monotonic()
    status = await asyncio.wait_for(fresh_router.child.wait(), 10.0)

    figure(f"SIGTERM with a frozen store: exit after {time.monotonic() - told_at:.2f} s")
    assert status == 0, fresh_router.output()
    assert not is_alive(store)


async def test_a_killed_router_takes_its_store_along(fresh_router: Running, figure: Figure) -> None:
    """Kill -9 of the router: its Valkey is gone within two seconds."""
    store = store_of(fresh_router)

    fresh_router.send(signal.SIGKILL)
    killed_at = time.monotonic()
    await fresh_router.child.wait()
    await eventually(lambda: asyncio.sleep(0, is_alive(store)), (False).__eq__, limit_s=2.0)

    figure(f"router killed: its Valkey gone after {1e3 * (time.monotonic() - killed_at):.0f} ms")
