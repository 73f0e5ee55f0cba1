"""A director over scripted backends: everything real but the wire."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from backends.contract import Chunk, GenerateRequest, Message, Sampling
from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import SystemClock
from router.dispatch.decider import Decider
from router.dispatch.director import Director
from router.dispatch.events import ServeEvent
from router.dispatch.executor import Executor
from router.dispatch.feedback import Feedback
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, Health, PrivacyLevel, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import DispatchPolicy, Policies
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.prediction.output_length import OutputLength
from router.resilience.admission import Admission
from router.resilience.retry_budget import RetryBudget
from router.telemetry.metrics import Metrics
from tests.unit.dispatch.collector_site import MakeSite, build_site

CATALOGUE = Catalogue(
    hardware={
        "fast": Hardware(id="fast", name="Fast chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002),
        "slow": Hardware(id="slow", name="Slow chip", kind="hosted", fixed_ttft_s=0.5, fixed_tpot_s=0.03),
    },
    models={"m": Model(id="m", context_tokens=8192)},
    aliases={"alias": "m"},
    classes={"any": ("m", "other")},
)


@dataclass
class Rig:
    """Backends by id, and the director over them."""

    director: Director
    fleet: Fleet
    metrics: Metrics
    budget: RetryBudget
    admission: Admission
    adapters: dict[str, ScriptedBackend]
    events: list[ServeEvent] = field(default_factory=list)

    async def serve(self, request: GenerateRequest | None = None, **profile: object) -> list[ServeEvent]:
        """Serves one request to its end and returns (and keeps, also on failure) what it said."""
        self.events = []
        stream = self.director.serve(request or ask(), wanted(**profile))
        async with aclosing(stream):
            async for event in stream:
                self.events.append(event)
        return self.events

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Chunk))


def ask(*, max_output_tokens: int | None = 64) -> GenerateRequest:
    return GenerateRequest(
        model="m",
        messages=(Message(role="user", content="hello"),),
        sampling=Sampling(max_output_tokens=max_output_tokens),
    )


def wanted(**fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": "r1", "model": "m", "input_tokens": 20.0, "max_output_tokens": 64}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]


MakeRig = Callable[..., Rig]


@pytest.fixture
def make_rig() -> MakeRig:
    """Builds a rig from scripts by backend id; the order of the ids is the order of preference (their price)."""

    def make(
        scripts: dict[str, object],
        *,
        policy: DispatchPolicy | None = None,
        health: dict[str, Health] | None = None,
        wires: Wires | None = None,
        **overrides: dict[str, object],
    ) -> Rig:
        adapters: dict[str, ScriptedBackend] = {}

        def build(spec: BackendSpec) -> ScriptedBackend:
            adapters[spec.id] = ScriptedBackend(spec, scripts=scripts[spec.id])  # type: ignore[arg-type]
            return adapters[spec.id]

        clock = SystemClock()
        policies = Policies(dispatch=policy or DispatchPolicy())
        fleet = Fleet(catalogue=CATALOGUE, build_adapter=build, clock=clock, policies=policies, wires=wires)
        backends = {}
        prices = {}
        for rank, name in enumerate(scripts):
            facts: dict[str, object] = {
                "id": name,
                "wire": "scripted",
                "address": f"http://{name}.test",
                "models": (ServedModel(model="m"),),
                "hardware": "fast",
                "privacy": PrivacyLevel.ANY,
                "capabilities": frozenset({Capability.ASSISTANT_PREFILL, Capability.TOOLS}),
            }
            backends[name] = Backend(**(facts | overrides.get(name, {})))  # type: ignore[arg-type]
            usd = 10.0 ** (rank + 1)
            prices[name, ""] = book_of(Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd))
        fleet.apply(FleetSnapshot(version=7, backends=backends, prices=prices, health=health or {}))
        lengths = OutputLength()
        metrics = Metrics()
        decider = Decider(fleet=fleet, lengths=lengths, clock=clock, uniform=random.Random(7).random, age=lambda: 0.0)
        feedback = Feedback(fleet=fleet, lengths=lengths, metrics=metrics, clock=clock)
        budget = RetryBudget(ratio=0.2, reserve=10, window_s=10.0, now=clock.monotonic())
        admission = Admission(max_in_flight=100)
        director = Director(
            fleet=fleet,
            decider=decider,
            executor=Executor(decider=decider, feedback=feedback, budget=budget),
            feedback=feedback,
            admission=admission,
            metrics=metrics,
            clock=clock,
        )
        return Rig(director, fleet, metrics, budget, admission, adapters)

    return make


@pytest.fixture
def make_site() -> MakeSite:
    return build_site
