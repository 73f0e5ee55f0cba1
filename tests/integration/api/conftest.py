"""A real gRPC server on a free port over a director that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from backends.contract import Chunk, GenerateRequest
from router.api.admin_faces import face
from router.api.grpc_server import GrpcServers
from router.api.inference_service import InferenceService
from router.clock import SystemClock
from router.dispatch.events import Finished, ModelListing, Pick, Routed, ServeEvent
from router.domain.decision import Candidate, Decision, HardwareLabel, Prediction
from router.domain.fleet import Backend, PrivacyLevel
from router.domain.outcome import Outcome, PickReport, TokenUsage
from router.domain.request import RequestProfile
from router.domain.why import ChangeKind, Counterfactual, WhyNot
from router.v1 import admin_pb2_grpc, inference_pb2_grpc
from router.v1 import inference_pb2 as pb

REQUEST = pb.GenerateRequest(model="m", messages=[pb.Message(role=pb.ROLE_USER, text="hi")])
CHUNK = Chunk(text="x" * 100, events=1)
LOCAL_POOL = (("grpc.use_local_subchannel_pool", 1),)

_PREDICTION = Prediction(
    ttft_s=0.1,
    ttft_sd_log=0.2,
    ttft_p90_s=0.1,
    tpot_s=0.1,
    tpot_sd_log=0.2,
    tpot_p90_s=0.1,
    e2e_s=1.0,
    e2e_sd_log=0.2,
    e2e_p90_s=1.0,
    input_tokens=1.0,
    output_tokens=1.0,
    cost_usd=0.0,
    cost_p90_usd=0.0,
    cost_marginal_usd=0.0,
    cost_amortised_usd=0.0,
    energy_j=0.0,
)
CANDIDATE = Candidate(
    backend="a",
    model="m",
    upstream_model="m",
    hardware=HardwareLabel(id="h100", name="H100"),
    region="",
    privacy=PrivacyLevel.ANY,
    prediction=_PREDICTION,
    objective_usd=0.0,
    terms=(),
    slo_feasible=True,
    in_flight=0.0,
)


class ToldDirector:
    """Serves the events, or raises the error, that a test gives it, and says what became of each request.

    Attributes:
        events: what every request gets; `endless` repeats the last one for ever, `hang` waits for ever after it.
        error: raised after the events, or by the other methods at once.
        pulled: events that were taken so far; `advanced` is set with each.
        closed: set when a request's generator has ended, however it did.
    """

    def __init__(self) -> None:
        self.events: Sequence[ServeEvent] = ()
        self.endless = False
        self.hang = False
        self.error: Exception | None = None
        self.requests: list[tuple[GenerateRequest, RequestProfile]] = []
        self.reports: list[tuple[str, str]] = []
        self.ready = True
        self.pulled = 0
        self.open = 0
        self.advanced = asyncio.Event()
        self.closed = asyncio.Event()

    async def serve(self, request: GenerateRequest, profile: RequestProfile) -> AsyncGenerator[ServeEvent]:
        self.requests.append((request, profile))
        self.open += 1
        try:
            for event in self.events:
                yield self._count(event)
            while self.endless:
                yield self._count(self.events[-1])
            if self.hang:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
        finally:
            self.open -= 1
            self.closed.set()

    def explain(self, profile: RequestProfile) -> Decision:
        self._fail()
        return Decision(id=profile.request_id, ranked=(CANDIDATE,))

    async def why_not(self, profile: RequestProfile, backend_id: str) -> WhyNot:
        return WhyNot(
            backend=backend_id,
            why=f"{backend_id} is slower than a for {profile.model}",
            first=(Counterfactual(kind=ChangeKind.CONSTRAINT, possible=True, what="undrained"),),
            changes=(
                Counterfactual(kind=ChangeKind.PRICE, possible=True, what="cheaper", share=0.6, now=2.0, value=1.2),
            ),
        )

    def pick(self, profile: RequestProfile) -> Pick:
        self._fail()
        backend = Backend(id="a", wire="openai_chat", address="http://a", models=())
        decision = Decision(id=profile.request_id, ranked=(CANDIDATE,))
        return Pick(pick_id="p1", decision=decision, endpoints=((CANDIDATE, backend),), expires_at_unix=1.0)

    def report(self, report: PickReport) -> None:
        self._fail()
        self.reports.append((report.pick_id, report.result))

    def models(self) -> tuple[ModelListing, ...]:
        self._fail()
        return (ModelListing(id="m", kind="model", members=("m",), context_tokens=10, backends=("a",)),)

    def _count(self, event: ServeEvent) -> ServeEvent:
        self.pulled += 1
        self.advanced.set()
        return event

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def routed(request_id: str = "r") -> Routed:
    return Routed(decision=Decision(id=request_id, ranked=(CANDIDATE,)), candidate=CANDIDATE)


def finished() -> Finished:
    outcome = Outcome(
        request_id="r",
        finish_reason="stop",
        stop_sequence="",
        usage=TokenUsage(),
        cost_usd=0.0,
        energy_j=0.0,
        started_at=1.0,
        ttft_s=0.1,
        tpot_s=0.1,
        e2e_s=1.0,
        routing_s=0.0,
    )
    return Finished(outcome=outcome, candidate=CANDIDATE)


def stub_of(channel: grpc.aio.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


@asynccontextmanager
async def connected(port: int, *options: tuple[str, int]) -> AsyncIterator[grpc.aio.Channel]:
    """A channel with a connection of its own; grpc would share one between channels to the same place."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=(*LOCAL_POOL, *options)) as opened:
        yield opened


@pytest.fixture
def director() -> ToldDirector:
    return ToldDirector()


@pytest.fixture
async def grpc_servers(director: ToldDirector) -> AsyncIterator[GrpcServers]:
    running = GrpcServers(
        inference=InferenceService(director, SystemClock()),
        admin=(face(admin_pb2_grpc.AdminServiceServicer()),),
        ready=lambda: director.ready,
        grpc_port=0,
        admin_port=0,
    )
    await running.start()
    yield running
    await running.stop(0.0)


@pytest.fixture
async def channel(grpc_servers: GrpcServers) -> AsyncIterator[grpc.aio.Channel]:
    async with connected(grpc_servers.grpc_port) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return stub_of(channel)
