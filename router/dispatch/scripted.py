"""A director that plays a script: what tests of the edges talk to, and what a benchmark of an edge alone stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

from backends.contract import GenerateRequest
from router.dispatch.events import Finished, ModelListing, Pick, Routed, ServeEvent
from router.domain.decision import Candidate, Decision, HardwareLabel, Prediction
from router.domain.fleet import PrivacyLevel
from router.domain.outcome import AttemptOutcome, Outcome, PickReport, TokenUsage
from router.domain.request import RequestProfile
from router.domain.why import WhyNot
from router.errors import NotFound

Step = ServeEvent | Exception | asyncio.Event


@dataclass(slots=True, kw_only=True)
class ScriptedDirector:
    """Yields the events of `script`, raises its exceptions, and waits for its asyncio events.

    Attributes:
        served: every request that came, with its profile.
        pulled: how many events were asked for.
        closed: set when a generator has ended, however that came.
        cancelled: the last generator was closed or cancelled before its script was over.
        reports: the picks that were reported, with their results.
    """

    script: Iterable[Step] = ()
    listings: tuple[ModelListing, ...] = ()
    served: list[tuple[GenerateRequest, RequestProfile]] = field(default_factory=list)
    pulled: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    reports: list[tuple[str, str]] = field(default_factory=list)

    async def serve(self, request: GenerateRequest, profile: RequestProfile) -> AsyncGenerator[ServeEvent]:
        self.served.append((request, profile))
        over = False
        try:
            for step in self.script:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    over = True
                    raise step
                else:
                    self.pulled += 1
                    await asyncio.sleep(0)  # as a real one gives the loop its turn between two reads
                    yield step
            over = True
        finally:
            self.cancelled = not over
            self.closed.set()

    def explain(self, profile: RequestProfile) -> Decision:
        return sample_decision(sample_candidate(model=profile.model), request_id=profile.request_id)

    async def why_not(self, profile: RequestProfile, backend_id: str) -> WhyNot:
        chosen = self.explain(profile).ranked[0].backend
        return WhyNot(
            backend=backend_id, why=f"{backend_id} is not {chosen}, which the script chose for {profile.model}"
        )

    def pick(self, profile: RequestProfile) -> Pick:
        decision = self.explain(profile)
        return Pick(pick_id=profile.request_id, decision=decision, endpoints=(), expires_at_unix=0.0)

    def report(self, report: PickReport) -> None:
        if any(reported == report.pick_id for reported, _ in self.reports):
            raise NotFound(f"pick {report.pick_id} is not open")
        self.reports.append((report.pick_id, report.result))

    def models(self) -> tuple[ModelListing, ...]:
        return self.listings


def sample_candidate(*, backend: str = "h100-a", model: str = "llama-3.1-8b", emulated: bool = True) -> Candidate:
    prediction = Prediction(
        ttft_s=0.05,
        ttft_sd_log=0.2,
        ttft_p90_s=0.07,
        tpot_s=0.01,
        tpot_sd_log=0.2,
        tpot_p90_s=0.013,
        e2e_s=0.5,
        e2e_sd_log=0.2,
        e2e_p90_s=0.7,
        input_tokens=10.0,
        output_tokens=45.0,
        cost_usd=0.000125,
        cost_p90_usd=0.0002,
        cost_marginal_usd=0.0001,
        cost_amortised_usd=0.000125,
        energy_j=12.0,
    )
    return Candidate(
        backend=backend,
        model=model,
        upstream_model=f"upstream/{model}",
        hardware=HardwareLabel(id="h100", name="NVIDIA H100 SXM", emulated=emulated),
        region="eu-west",
        privacy=PrivacyLevel.OWN_HARDWARE,
        prediction=prediction,
        objective_usd=0.0003,
        terms=(("cost", 0.000125), ("latency", 0.000175)),
        slo_feasible=True,
        in_flight=1.0,
    )


def sample_decision(*ranked: Candidate, request_id: str = "decision-1") -> Decision:
    return Decision(id=request_id, ranked=ranked, why="the cheapest that meets the objectives")


def routed(candidate: Candidate | None = None) -> Routed:
    chosen = candidate or sample_candidate()
    return Routed(decision=sample_decision(chosen), candidate=chosen)


def finished(
    *, finish_reason: str = "stop", usage: TokenUsage | None = None, candidate: Candidate | None = None
) -> Finished:
    chosen = candidate or sample_candidate()
    counted = usage or TokenUsage(input=7, cached_input=2, output=3, reasoning=1)
    attempt = AttemptOutcome(backend=chosen.backend, model=chosen.model, result="OK", duration_s=0.5, usage=counted)
    outcome = Outcome(
        request_id="request-1",
        finish_reason=finish_reason,
        stop_sequence="",
        usage=counted,
        cost_usd=0.00011,
        energy_j=11.0,
        started_at=1_800_000_000.0,
        ttft_s=0.06,
        tpot_s=0.012,
        e2e_s=0.5,
        routing_s=0.0001,
        attempts=(attempt,),
    )
    return Finished(outcome=outcome, candidate=chosen)
