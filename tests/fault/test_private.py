"""A request that may not leave the device does not leave it, whatever fails there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from supervise.child import Child
from tests.integration.router.calls import (
    NO_FAULTS,
    Answer,
    Clients,
    Emulators,
    ask,
    chat,
    clients_of,
    detail,
    emulators_of,
    eventually,
    generate,
    post,
    take,
)
from tests.integration.router.site import FAST, SPARE, Running, Site, Spot, run_fleet, run_router
from tests.integration.router.traffic import ON_BREAK

pytestmark = pytest.mark.asyncio(loop_scope="session")
DEVICE = Spot(id="device", usd_per_mtok=500.0, region="local", privacy="on_device")
PRIVATE = common_pb2.Placement(privacy=common_pb2.PRIVACY_LEVEL_ON_DEVICE)
OTHERS = ("fast", "spare")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A device, and two cheaper and faster backends that guarantee less."""
    dispatch = {"probe_interval_s": 0.2, "probe_timeout_s": 0.2, "first_token_timeout_s": 0.3}
    return Site.build(tmp_path_factory.mktemp("private") / "site", DEVICE, FAST, SPARE, dispatch=dispatch)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(site: Site) -> AsyncGenerator[Child]:
    """The two others only: the device is dead unless a test runs it."""
    async with run_fleet(site.part(*OTHERS)) as child:
        yield child


@pytest_asyncio.fixture(loop_scope="session")
async def others(site: Site, fleet: Child) -> AsyncGenerator[Emulators]:  # noqa: ARG001 - they must be running
    """The two others, who must be asked for nothing during the test."""
    async with emulators_of(site) as face:
        before = {name: await face.requests(name) for name in OTHERS}
        yield face
        assert {name: await face.requests(name) for name in OTHERS} == before


async def ejected(clients: Clients) -> bool:
    """Whether the probes of the device have failed often enough."""
    page: str = (await clients.http.get("/metrics")).text
    return 'router_backend_up{backend="device"} 0.0' in page


async def test_with_a_dead_device_it_fails(others: Emulators, fresh_clients: Clients, fresh_router: Running) -> None:
    """Whatever attempts and actions are allowed, over each face, before and after the device is known to be dead."""
    assert others is not None
    for action in (*ON_BREAK, *ON_BREAK):
        request = ask("secret", placement=PRIVATE, on_stream_break=ON_BREAK[action], max_attempts=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generate(fresh_clients, request)
        wishes = {"privacy": "on_device", "on_stream_break": action, "max_attempts": 5}
        in_body = await post(fresh_clients, chat("secret", router=wishes))
        headers = {"x-router-privacy": "on_device"}
        in_header = await fresh_clients.http.post("/v1/chat/completions", json=chat("secret"), headers=headers)

        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        info = detail(caught.value, error_details_pb2.ErrorInfo)
        assert info.reason in {"UPSTREAM_FAILED", "NO_ENDPOINT"}
        assert not any(name in key for key in info.metadata if "attempt" in key for name in OTHERS)
        assert {in_body.status_code, in_header.status_code} <= {502, 503}
        if action == list(ON_BREAK)[-1]:
            await eventually(lambda: ejected(fresh_clients), (True).__eq__)
    assert "secret" not in fresh_router.output()


async def test_nothing_else_is_offered(others: Emulators, fresh_clients: Clients) -> None:
    """Explain drops the others for privacy, and Pick names the device alone."""
    assert others is not None
    request = ask("secret", placement=PRIVATE, explain=True)

    decision = (await fresh_clients.inference.Explain(pb.ExplainRequest(request=request))).decision
    picked = await fresh_clients.inference.Pick(pb.PickRequest(request=request))

    assert {d.backend: d.reason for d in decision.drops} == dict.fromkeys(OTHERS, "PRIVACY")
    assert (picked.endpoint.backend, list(picked.fallbacks)) == ("device", [])


FAULTS: dict[str, dict[str, Any]] = {
    "breaks": {"break_after": 3},
    "refuses": {"fail_rate": 1.0, "fail_status": 503},
    "limits": {"fail_rate": 1.0, "fail_status": 429, "retry_after_s": 5},
    "stalls": {"stall": True},
}


async def test_a_failing_device_is_not_replaced(site: Site, others: Emulators) -> None:
    """A device that breaks off, refuses, limits or stalls: restart and continue find nobody else."""
    async with run_fleet(site.part("device")), run_router(site) as router, clients_of(router) as clients:
        assert (await generate(clients, ask(placement=PRIVATE))).backend == "device"
        for fault in FAULTS.values():
            await others.control("device", **NO_FAULTS | fault)
            for action in ON_BREAK.values():
                request = ask("secret", placement=PRIVATE, on_stream_break=action, max_attempts=5)
                answer = Answer()
                with suppress(grpc.aio.AioRpcError):
                    async for message in clients.inference.Generate(request):
                        take(answer, message)
                assert (answer.finished, answer.rerouted) == (None, [])
