"""Decides for one request: the rows that its model name allows, ranked under its workload class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from router.clock import Clock
from router.dispatch.fleet import Fleet
from router.domain.decision import Decision
from router.domain.policies import WorkloadClass
from router.domain.request import RequestProfile
from router.domain.rows import Shape
from router.errors import InvalidRequest, NoEndpoint, SloInfeasible, Violation
from router.prediction.output_length import OutputLength
from router.prediction.predictor import forecasts
from router.scheduling import filters, picker, reporting, scheduler
from router.scheduling.scheduler import Ranking

MAX_ATTEMPTS = 5
# Of what backends lack, as many as an error message names.
TOLD = 3


@dataclass(slots=True)
class Plan:
    """A decision with what carrying it out needs."""

    profile: RequestProfile
    workload: WorkloadClass
    shape: Shape
    ranking: Ranking
    decision: Decision


class Decider:
    """Joins fleet, predictor and scheduler; `uniform` draws from [0, 1), `age` is the snapshot's in seconds."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        lengths: OutputLength,
        clock: Clock,
        uniform: Callable[[], float],
        age: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._lengths = lengths
        self._clock = clock
        self._uniform = uniform
        self._age = age

    @property
    def lengths(self) -> OutputLength:
        """What answers are expected to be long."""
        return self._lengths

    def workload(self, profile: RequestProfile) -> WorkloadClass:
        """The request's workload class: named, or by its objective, or the default.

        Raises:
            InvalidRequest: no such class.
        """
        policies = self._fleet.policies
        name = profile.workload_class
        if not name and profile.objective is not None:
            name = policies.objectives.get(profile.objective, "")
        workload = policies.classes.get(name or policies.default_class)
        if workload is None:
            known = ", ".join(sorted(policies.classes))
            raise InvalidRequest(Violation("routing.workload_class", f"no class '{name}'; there are: {known}"))
        return workload

    def plan(self, profile: RequestProfile, *, avoid: frozenset[str] = frozenset()) -> Plan:
        """Ranks every backend that could serve. The plan may be empty: see `require`.

        Raises:
            UnknownModel: nobody knows the model's name.
            InvalidRequest: no such workload class.
        """
        started = self._clock.monotonic()
        workload = self.workload(profile)
        left = math.inf if profile.deadline_s is None else max(0.0, profile.deadline_s - started)
        shape = scheduler.shape_of(profile, workload, time_left_s=left)
        ranking = scheduler.rank(
            self._fleet.rows_for(profile.model),
            profile,
            shape,
            self._fleet.weights[workload.name],
            predict=forecasts,
            output_tokens=self._lengths.expected,
            uniform=self._uniform,
            now=started,
            avoid=avoid,
        )
        attempts = min(profile.max_attempts or workload.max_attempts, MAX_ATTEMPTS)
        ordered = ranking.ordered
        decision = Decision(
            id=profile.request_id,
            ranked=(reporting.candidate(ordered[0]),) if ordered else (),
            fallbacks=tuple([f.row.id for f in ordered[1:attempts]]),
            slo_infeasible=ranking.slo_infeasible,
            snapshot_version=self._fleet.version,
            snapshot_age_s=self._age(),
            workload_class=workload.name,
            max_attempts=attempts,
            decision_time_s=self._clock.monotonic() - started,
            decided_at=self._clock.time(),
        )
        plan = Plan(profile=profile, workload=workload, shape=shape, ranking=ranking, decision=decision)
        if profile.explain:
            plan.decision = self.full(plan)
        return plan

    def full(self, plan: Plan) -> Decision:
        """The decision with every candidate and every drop."""
        unserved = self._fleet.not_serving(plan.profile.model)
        return reporting.report(plan.ranking, plan.decision, unserved=unserved)

    def require(self, plan: Plan) -> None:
        """Makes sure that something can serve.

        Raises:
            NoEndpoint: nothing can; says what was dropped and why.
            SloInfeasible: something can, but not in time, and the caller does not want that.
        """
        ranking, profile = plan.ranking, plan.profile
        if not self._fleet.members:
            raise NoEndpoint(
                "this router has no fleet yet: its state store has not answered, or holds no backend",
                drops=(),
                retry_after_s=1.0,
            )
        if not ranking.ordered:
            full = self.full(plan)
            reasons = sorted({d.reason.value for d in full.drops}) or ["MODEL"]
            lacking = {
                filters.lacking(row, ranking.constraints)
                for row, code, _ in ranking.dropped
                if code == filters.CAPABILITY
            }
            told = f" ({'; '.join(sorted(lacking)[:TOLD])})" if lacking else ""
            raise NoEndpoint(
                f"no backend can serve '{profile.model}': {', '.join(reasons)}{told}",
                drops=full.drops,
                retry_after_s=self._soonest(ranking),
            )
        if ranking.slo_infeasible and profile.slo.reject_infeasible:
            best = ranking.ordered[0]
            raise SloInfeasible(
                f"no backend meets the SLO with probability {plan.shape.probability:.2f}; {best.row.id} comes nearest, "
                f"with {picker.likelihood(best):.2f}: TTFT {best.ttft_s:.3f} s, TPOT {1000.0 * best.tpot_s:.2f} ms, "
                f"end to end {best.e2e_s:.2f} s are expected"
            )

    @staticmethod
    def _soonest(ranking: Ranking) -> float | None:
        """Seconds until the first backend that was only limited for a while may be used again."""
        waits = [filters.opens_at(row.live, ranking.constraints) - ranking.now for row, _, _ in ranking.dropped]
        soon = [wait for wait in waits if wait > 0.0]
        return min(soon) if soon else None
