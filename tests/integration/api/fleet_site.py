"""Whole replicas but for their processes, over scripted backends, and clients of their FleetService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from backends.contract import GenerateRequest, Message, Sampling
from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.api.admin_faces import face
from router.api.fleet_service import FleetService
from router.api.grpc_server import GrpcServers
from router.api.inference_service import InferenceService
from router.app.core import Core, build_core
from router.app.faces import build_faces
from router.app.shared import join, open_meter
from router.app.wires import wire_facts
from router.clock import SystemClock
from router.domain.audit import Author
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.pricing import Price, books
from router.domain.request import RequestProfile
from router.settings import Seed, Settings
from router.settings.policies import parse_policies
from router.settings.router_yaml import RouterSettings
from router.state.runtime import State, open_state
from router.state.store import SeedDocuments
from router.state.store_time import StoreTime
from router.state.view import FleetView
from router.v1 import fleet_pb2 as pb
from router.v1 import fleet_pb2_grpc
from tests.integration.api.conftest import ToldDirector, connected

LIMIT_S = 10.0
AUTHOR = Author(actor="test", origin="here", action="Test")
CATALOGUE = Catalogue(
    hardware={"chip": Hardware(id="chip", name="Chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002)},
    models={"m": Model(id="m", context_tokens=8192)},
)
POLICIES = "default_class: interactive\nclasses: {interactive: {usd_per_s: 1e-5}}\n"


def backend(name: str, **facts: object) -> Backend:
    base = Backend(
        id=name,
        wire="scripted",
        address=f"http://{name}",
        models=(ServedModel(model="m"),),
        hardware="chip",
        emulated=True,
    )
    return replace(base, **facts)  # type: ignore[arg-type]  # a test's own keywords


@asynccontextmanager
async def fleet_stub(port: int) -> AsyncGenerator[Any]:
    async with connected(port) as channel:
        yield fleet_pb2_grpc.FleetServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


@asynccontextmanager
async def answering(service: FleetService) -> AsyncGenerator[tuple[int, Any]]:
    """The admin port that serves it, and a client of it."""
    servers = GrpcServers(
        inference=InferenceService(ToldDirector(), SystemClock()),
        admin=(face(service),),
        ready=lambda: True,
        grpc_port=0,
        admin_port=0,
    )
    await servers.start()
    try:
        async with fleet_stub(servers.admin_port) as stub:
            yield servers.admin_port, stub
    finally:
        await servers.stop(0.0)


@dataclass
class Running:
    """One whole replica but for its process, and a client of its admin port."""

    core: Core
    state: State
    stub: Any
    adapters: dict[str, ScriptedBackend]

    async def overview(self) -> pb.GetOverviewResponse:
        return await self.stub.GetOverview(pb.GetOverviewRequest())  # type: ignore[no-any-return]  # untyped

    async def until(self, condition: Callable[[pb.GetOverviewResponse], bool]) -> pb.GetOverviewResponse:
        """Looks as a person does, again and again, until what is shown is so."""
        async with asyncio.timeout(LIMIT_S):
            while not condition(answer := await self.overview()):
                await asyncio.sleep(0.02)
        return answer

    async def serve(self, request_id: str) -> None:
        request = GenerateRequest(
            model="m", messages=(Message(role="user", content="hi"),), sampling=Sampling(max_output_tokens=8)
        )
        async with aclosing(self.core.director.serve(request, asked(request_id))) as events:
            async for _ in events:
                pass


def asked(request_id: str) -> RequestProfile:
    return RequestProfile(request_id=request_id, model="m", input_tokens=20.0, max_output_tokens=8)


@asynccontextmanager
async def replica(url: str, name: str, directory: Path) -> AsyncGenerator[Running]:
    """As `router.app.run` joins the parts, with scripted backends: `dear` costs ten times as much as `cheap`."""
    policies = parse_policies(POLICIES, "policies.yaml")
    prices = tuple(
        Price(backend=backend_id, input_usd_per_mtok=usd, output_usd_per_mtok=usd)
        for backend_id, usd in (("cheap", 1.0), ("dear", 100.0))
    )
    seed = Seed(backends=(backend("cheap"), backend("dear")), prices=prices, policies_yaml=POLICIES)
    ports = {"grpc_port": 0, "admin_port": 0, "http_port": 0}
    settings = Settings(
        router=replace(RouterSettings(), redis_url=url, replica_id=name, state_dir=str(directory / name), **ports),  # type: ignore[arg-type]  # ports
        catalogue=CATALOGUE,
        seed=seed,
        policies=policies,
    )
    clock = SystemClock()
    store_time, view = StoreTime(clock), FleetView(clock)
    meter = open_meter(settings, store_time)
    adapters: dict[str, ScriptedBackend] = {}

    def build(spec: BackendSpec) -> ScriptedBackend:
        return adapters.setdefault(spec.id, ScriptedBackend(spec))

    core = build_core(settings, view=view, build_adapter=build, clock=store_time, meter=meter)
    documents = SeedDocuments(
        backends=seed.backends, prices=books(seed.prices), tenants=(), policies_yaml=seed.policies_yaml
    )
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(httpx.AsyncClient())
        state = await stack.enter_async_context(
            open_state(url, view=view, clock=clock, replica_id=name, seed=documents)
        )
        shared = await stack.enter_async_context(
            join(settings, core, state, meter=meter, clock=clock, store_time=store_time, control=control, env={})
        )
        async with asyncio.timeout(LIMIT_S):
            await view.wait_loaded()
        faces = build_faces(settings, core, state, shared, wires=wire_facts(), clock=store_time, env={})
        await faces.grpc.start()
        await faces.http.start()
        async with fleet_stub(faces.grpc.admin_port) as stub:
            yield Running(core, state, stub, adapters)
        await faces.grpc.stop(0.0)
        await faces.http.stop(limit_s=0.0)
