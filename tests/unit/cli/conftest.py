"""Real gRPC servers with canned answers, and a way to run a command against them."""

# ruff: noqa: N802 - gRPC names its methods
from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from router.api.rescue import rescue, to_grpc_status
from router.cli.main import main
from router.errors import NotFound, StaleVersion
from router.v1 import admin_pb2, common_pb2
from router.v1 import inference_pb2 as pb
from router.v1.admin_pb2_grpc import AdminServiceServicer, add_AdminServiceServicer_to_server
from router.v1.inference_pb2_grpc import InferenceServiceServicer, add_InferenceServiceServicer_to_server

H100 = common_pb2.Hardware(id="h100-sxm-80", name="NVIDIA H100", count=4, emulated=True)


def fail(context: grpc.ServicerContext, error: Exception) -> None:
    """Ends the call as the router does."""
    status = to_grpc_status(error, "req-1")
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(rescue(error).grpc, status.message)


@dataclass
class Inference(InferenceServiceServicer):
    """Answers with `events`, then with `error` if there is one; keeps what it was asked."""

    events: list[pb.GenerateResponse] = field(default_factory=list)
    error: Exception | None = None
    decision: common_pb2.Decision = field(default_factory=common_pb2.Decision)
    requests: list[Any] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        yield from self.events
        if self.error is not None:
            fail(context, self.error)

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> pb.ExplainResponse:
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        return pb.ExplainResponse(decision=self.decision, why_not="it costs more" if request.why_not_backend else "")

    def ListModels(self, _request: pb.ListModelsRequest, _context: grpc.ServicerContext) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(
            models=[pb.ModelInfo(id="fast-chat", kind="alias", members=["llama-3.1-8b"], backends=["h100"])]
        )


@dataclass
class Admin(AdminServiceServicer):
    """One backend, one price and policies, each at a version that writes have to name."""

    backend: admin_pb2.Backend = field(
        default_factory=lambda: admin_pb2.Backend(
            spec=admin_pb2.BackendSpec(
                id="h100",
                wire="openai_chat",
                profile="vllm",
                address="http://h",
                models=[admin_pb2.ServedModel(model="llama-3.1-8b", upstream_name="meta [8b]")],
                hardware=H100,
                privacy=common_pb2.PRIVACY_LEVEL_OWN_HARDWARE,
                max_concurrency=8,
            ),
            version=7,
            state=admin_pb2.BackendState(health=common_pb2.HEALTH_STATE_HEALTHY, in_flight=3),
        )
    )
    prices: list[admin_pb2.PriceEntry] = field(default_factory=list)
    policies: admin_pb2.Policies = field(
        default_factory=lambda: admin_pb2.Policies(yaml="classes: {interactive: {}}\n", version=4)
    )
    changes: list[admin_pb2.WatchChangesResponse] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    def _write(self, request: Any, context: grpc.ServicerContext, current: int) -> None:
        self.requests.append(request)
        if request.expected_version != current:
            what = f"it is at version {current}, not at the expected {request.expected_version}"
            fail(context, StaleVersion(what, current=current))

    def ListBackends(
        self, _request: admin_pb2.ListBackendsRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.ListBackendsResponse:
        return admin_pb2.ListBackendsResponse(backends=[self.backend], fleet_version=20)

    def GetBackend(
        self, request: admin_pb2.GetBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.GetBackendResponse:
        if request.id != self.backend.spec.id:
            fail(context, NotFound(f"no backend is called '{request.id}'"))
        return admin_pb2.GetBackendResponse(backend=self.backend)

    def RegisterBackend(
        self, request: admin_pb2.RegisterBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RegisterBackendResponse:
        self._write(request, context, 0)
        return admin_pb2.RegisterBackendResponse(
            backend=admin_pb2.Backend(spec=request.spec, version=1), fleet_version=21
        )

    def UpdateBackend(
        self, request: admin_pb2.UpdateBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.UpdateBackendResponse:
        self._write(request, context, self.backend.version)
        return admin_pb2.UpdateBackendResponse(
            backend=admin_pb2.Backend(spec=request.spec, version=8), fleet_version=21
        )

    def RemoveBackend(
        self, request: admin_pb2.RemoveBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.RemoveBackendResponse:
        self._write(request, context, self.backend.version)
        return admin_pb2.RemoveBackendResponse(fleet_version=21)

    def DrainBackend(
        self, request: admin_pb2.DrainBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.DrainBackendResponse:
        self._write(request, context, self.backend.version)
        return admin_pb2.DrainBackendResponse(backend=self.backend, fleet_version=21)

    def UndrainBackend(
        self, request: admin_pb2.UndrainBackendRequest, context: grpc.ServicerContext
    ) -> admin_pb2.UndrainBackendResponse:
        self._write(request, context, self.backend.version)
        return admin_pb2.UndrainBackendResponse(backend=self.backend, fleet_version=21)

    def ListPrices(
        self, _request: admin_pb2.ListPricesRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.ListPricesResponse:
        return admin_pb2.ListPricesResponse(prices=self.prices, fleet_version=20)

    def SetPrice(self, request: admin_pb2.SetPriceRequest, context: grpc.ServicerContext) -> admin_pb2.SetPriceResponse:
        current = self.prices[0].version if self.prices else 0
        self._write(request, context, current)
        entry = admin_pb2.PriceEntry(price=request.price, version=current + 1)
        return admin_pb2.SetPriceResponse(entry=entry, fleet_version=21)

    def ClearPrice(
        self, request: admin_pb2.ClearPriceRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ClearPriceResponse:
        self._write(request, context, self.prices[0].version)
        return admin_pb2.ClearPriceResponse(entry=self.prices[0], fleet_version=21)

    def GetPolicies(
        self, _request: admin_pb2.GetPoliciesRequest, _context: grpc.ServicerContext
    ) -> admin_pb2.GetPoliciesResponse:
        return admin_pb2.GetPoliciesResponse(policies=self.policies)

    def SetPolicies(
        self, request: admin_pb2.SetPoliciesRequest, context: grpc.ServicerContext
    ) -> admin_pb2.SetPoliciesResponse:
        self._write(request, context, self.policies.version)
        return admin_pb2.SetPoliciesResponse(policies=admin_pb2.Policies(version=5), fleet_version=21)

    def WatchChanges(
        self, request: admin_pb2.WatchChangesRequest, _context: grpc.ServicerContext
    ) -> Iterator[admin_pb2.WatchChangesResponse]:
        self.requests.append(request)
        yield from self.changes


@dataclass(frozen=True)
class Server:
    """A server's address, and commands that are run against it."""

    address: str

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [*arguments, "--address", self.address], input=stdin)


def _serve(add: Callable[[grpc.Server], None]) -> Iterator[Server]:
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield Server(f"127.0.0.1:{port}")
    finally:
        server.stop(None).wait()


@pytest.fixture
def inference() -> Inference:
    return Inference()


@pytest.fixture
def admin() -> Admin:
    return Admin()


@pytest.fixture
def router(inference: Inference) -> Iterator[Server]:
    """An InferenceService that answers as `inference` says."""
    yield from _serve(lambda server: add_InferenceServiceServicer_to_server(inference, server))  # type: ignore[no-untyped-call]  # generated


@pytest.fixture
def admin_router(admin: Admin) -> Iterator[Server]:
    """An AdminService that answers as `admin` says."""
    yield from _serve(lambda server: add_AdminServiceServicer_to_server(admin, server))  # type: ignore[no-untyped-call]  # generated


@pytest.fixture
def nobody() -> Server:
    """An address at which nothing listens."""
    return Server("127.0.0.1:1")
