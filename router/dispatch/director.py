"""The one entry to everything that serves a request; each edge calls this and nothing behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from backends.contract import GenerateRequest
from router.clock import Clock
from router.dispatch.decider import Decider, Plan
from router.dispatch.events import Finished, ModelListing, Pick, ServeEvent
from router.dispatch.executor import Executor
from router.dispatch.feedback import OK, Feedback
from router.dispatch.fleet import Fleet
from router.dispatch.grades import Grades
from router.dispatch.listings import listings
from router.dispatch.live_load import load_of
from router.dispatch.picks import Picks
from router.dispatch.recording import Decisions, Meter, Recent, Unrecorded
from router.dispatch.tenants import NOBODY, Tenants
from router.dispatch.why_not import why_not
from router.domain.decision import Decision
from router.domain.fleet import LiveLoad
from router.domain.outcome import AttemptOutcome, PickReport
from router.domain.request import RequestProfile
from router.domain.why import WhyNot
from router.errors import NotFound, RouterError
from router.resilience.admission import Admission
from router.resilience.tenant_gate import Ticket
from router.scheduling import reporting
from router.telemetry.metrics import Metrics


class Director:
    """Admits, decides, executes and records; holds no state of any one request."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        decider: Decider,
        executor: Executor,
        feedback: Feedback,
        admission: Admission,
        metrics: Metrics,
        clock: Clock,
        tenants: Tenants | None = None,
        meter: Meter | None = None,
        recent: Recent | None = None,
        decisions: Decisions | None = None,
    ) -> None:
        self._fleet = fleet
        self._decider = decider
        self._executor = executor
        self._feedback = feedback
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._tenants = tenants or Tenants(
            tenants=lambda: NOBODY,
            policies=lambda: fleet.policies,
            catalogue=fleet.catalogue,
            clock=clock,
            replicas=lambda: 1,
        )
        self._meter = meter
        self._recent = recent
        self._decisions: Decisions = decisions or Unrecorded()
        self._picks = Picks(feedback, capacity=admission.max_in_flight)
        self._grades = Grades(fleet.quality)

    async def serve(self, request: GenerateRequest, profile: RequestProfile) -> AsyncGenerator[ServeEvent]:
        """Serves one request. Close the generator (`contextlib.aclosing`) to cancel it.

        Raises:
            RouterError: and nothing else that is not a fault of the router.
        """
        started_at = self._clock.monotonic()
        profile, ticket = self._enter(profile, started_at)
        result, outcome, plan, caught = "CANCELLED", None, None, None
        attempts: list[AttemptOutcome] = []
        try:
            decided, caught = self._decide(profile)
            plan = self._require(decided, ticket)
            policy = self._fleet.policies.dispatch
            async with aclosing(self._executor.run(request, plan, policy, started_at, attempts)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        result, outcome = "OK", event.outcome
                    yield event
        except RouterError as error:
            result = error.reason
            raise
        finally:
            self._admission.leave(profile, answered=outcome is not None)
            self._metrics.request(result, outcome)
            self._settle(profile, ticket, attempts)
            if self._recent is not None and plan is not None:
                self._recent.record(profile, plan, outcome, result)
            self._decisions.record(caught, attempts, outcome, result)

    def _enter(self, profile: RequestProfile, now: float) -> tuple[RequestProfile, Ticket]:
        """Past the tenant's policy and limits, then into this replica: its priority is what the policy leaves of it."""
        profile, ticket = self._tenants.enter(profile)
        try:
            self._admission.enter(profile, now)
        except RouterError:
            ticket.cancel(self._clock.time())
            raise
        return profile, ticket

    def _decide(self, profile: RequestProfile) -> tuple[Plan, object]:
        """The plan, which may be empty, and what the log of decisions has to know of this moment."""
        self._decisions.begin()
        plan = self._decider.plan(profile)
        caught = self._decisions.catch(plan, profile)
        self._metrics.decision.observe(plan.time_s)
        return plan, caught

    def _require(self, plan: Plan, ticket: Ticket) -> Plan:
        """The plan, when it can be carried out, and what that is expected to take of the tenant's limits.

        Raises:
            RouterError: nothing can serve.
        """
        self._decider.require(plan)
        first = plan.ranking.ordered[0]
        ticket.expect(first.input_tokens + first.output_tokens, first.cost_usd)
        return plan

    def _settle(self, profile: RequestProfile, ticket: Ticket, attempts: Sequence[AttemptOutcome]) -> None:
        """All attempts count, also those that failed or were cancelled: they were made for this tenant."""
        tokens = sum(a.usage.input + a.usage.output for a in attempts)
        ticket.settle(tokens, sum(a.cost_usd for a in attempts), self._clock.time())
        if self._meter is not None and attempts:
            self._meter.record(ticket.tenant, attempts)
        if attempts and attempts[-1].result == OK:
            # An answer may be graded by who got it.
            self._grades.answered(profile.request_id, profile.tenant, attempts[-1].model, profile.task)

    def explain(self, profile: RequestProfile) -> Decision:
        """What `serve` would decide now, whole, and nothing done.

        Raises:
            UnknownModel, InvalidRequest: the request names something that does not exist.
            PermissionDenied: the tenant may not ask for it.
        """
        plan = self._decider.plan(self._tenants.restrict(profile))
        return self._decider.full(plan)

    async def why_not(self, profile: RequestProfile, backend_id: str) -> WhyNot:
        """What would have to change for `backend_id` to be chosen.

        Raises:
            NotFound: there is no such backend; and as `explain` does.
        """
        profile = self._tenants.restrict(profile)
        plan = self._decider.plan(profile)
        return await why_not(self._fleet, self._decider.lengths, self._clock, profile, plan, backend_id)

    def pick(self, profile: RequestProfile) -> Pick:
        """Decides, and reserves room on the choice until `report` or until the reservation expires.

        Raises:
            RouterError: as `serve` does before its first event.
        """
        now = self._clock.monotonic()
        profile, ticket = self._enter(profile, now)
        self._admission.leave(profile, answered=True)
        try:
            return self._pick(profile, ticket, now)
        except Exception:
            self._settle(profile, ticket, ())
            raise

    def _pick(self, profile: RequestProfile, ticket: Ticket, now: float) -> Pick:
        plan, caught = self._decide(profile)
        ordered = self._require(plan, ticket).ranking.ordered
        attempt = None
        while ordered and attempt is None:
            attempt = self._feedback.begin(ordered[0], force=plan.ranking.panic, seen=False, blocks=profile.blocks)
            if attempt is None:
                ordered.pop(0)
        if attempt is None:
            self._decider.require(plan)
            raise AssertionError  # pragma: no cover - require raises for an empty plan

        def ended(attempts: Sequence[AttemptOutcome]) -> None:
            self._settle(profile, ticket, attempts)
            self._decisions.record(caught, attempts, None, attempts[-1].result if attempts else "CANCELLED")

        ttl = self._fleet.policies.dispatch.pick_ttl_s
        offered = ordered[: plan.attempts]
        self._picks.add(
            profile.request_id,
            attempt,
            offered[1:],
            now + ttl,
            tenant=profile.tenant,
            ended=ended,
        )
        if self._recent is not None:
            self._recent.record(profile, plan, None, "PICKED")
        endpoints = tuple((reporting.candidate(f), f.row.backend) for f in offered)
        return Pick(
            pick_id=profile.request_id,
            decision=plan.decision,
            endpoints=endpoints,
            expires_at_unix=self._clock.time() + ttl,
        )

    def report(self, report: PickReport) -> None:
        """Takes in how a pick went, and how good an answer was.

        Raises:
            NotFound, InvalidRequest: see `Picks.report`.
        """
        self._picks.expire(self._clock.monotonic())
        try:
            self._picks.report(report)
        except NotFound:
            # A grade may come later than the report, and for a request that was served here.
            if report.quality is None or not self._grades.grade(report.pick_id, report.tenant, report.quality):
                raise
            return
        if report.quality is not None:
            self._grades.grade(report.pick_id, report.tenant, report.quality)

    def live(self, backend_id: str) -> LiveLoad:
        """What this replica sees of a backend beside the snapshot."""
        member = self._fleet.members.get(backend_id)
        return LiveLoad() if member is None else load_of(member.live, self._clock)

    def expire_picks(self) -> None:
        """Drops the reservations of picks that were never reported."""
        self._picks.expire(self._clock.monotonic())

    def models(self) -> tuple[ModelListing, ...]:
        """Every name that can be asked for and that something in the fleet serves."""
        return listings(self._fleet)

    @property
    def in_flight(self) -> int:
        return self._admission.in_flight

    @property
    def ready(self) -> bool:
        """True while new requests are taken and there is a fleet to serve them."""
        return not self._admission.draining and bool(self._fleet.members)

    @property
    def draining(self) -> bool:
        return self._admission.draining

    def begin_drain(self) -> None:
        """No new requests from now on; those inside go on."""
        self._admission.draining = True
