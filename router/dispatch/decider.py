"""Decides for one request: the rows that its model name allows, ranked under its workload class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from router.clock import Clock
from router.dispatch.affinity import Affinity
from router.dispatch.fleet import Fleet
from router.domain.decision import Decision
from router.domain.fleet import PrivacyLevel
from router.domain.policies import WorkloadClass
from router.domain.request import Priority, RequestProfile
from router.domain.rows import Forecast, Shape
from router.errors import InvalidRequest, NoEndpoint, Shed, SloInfeasible, Violation
from router.prediction.output_length import OutputLength
from router.prediction.predictor import forecasts
from router.scheduling import filters, picker, reporting, scheduler
from router.scheduling.scheduler import Ranking

if TYPE_CHECKING:
    from router.dispatch.large import Crowds

MAX_ATTEMPTS = 5
# Of what backends lack, as many as an error message names.
TOLD = 3
# A sheddable request that nobody is likelier to serve in time is refused instead of making others late.
WORTH_TRYING = 0.2
# From so many rows on estimates of all of them cost less than a forecast of each.
LARGE = 256
# How long a refused one is told to wait where there is no queue that would go away.
NO_QUEUE_S = 1.0


class Plan:
    """A decision with what carrying it out needs.

    `attempts` is how many backends may be tried, `version` and `age_s` are the snapshot's, `time_s` is what deciding
    took, `at` the time at which that was done.
    """

    __slots__ = ("_decision", "age_s", "at", "attempts", "profile", "ranking", "shape", "time_s", "version", "workload")

    def __init__(
        self,
        *,
        profile: RequestProfile,
        workload: WorkloadClass,
        shape: Shape,
        ranking: Ranking,
        attempts: int,
        version: int,
        age_s: float,
        time_s: float,
        at: float,
    ) -> None:
        self.profile = profile
        self.workload = workload
        self.shape = shape
        self.ranking = ranking
        self.attempts = attempts
        self.version = version
        self.age_s = age_s
        self.time_s = time_s
        self.at = at
        self._decision: Decision | None = None

    @property
    def decision(self) -> Decision:
        """In the form that callers read, made when the first one does."""
        if self._decision is None:
            ordered = self.ranking.ordered
            self._decision = Decision(
                id=self.profile.request_id,
                ranked=(reporting.candidate(ordered[0]),) if ordered else (),
                fallbacks=tuple([f.row.id for f in ordered[1 : self.attempts]]),
                slo_infeasible=self.ranking.slo_infeasible,
                snapshot_version=self.version,
                snapshot_age_s=self.age_s,
                workload_class=self.workload.name,
                max_attempts=self.attempts,
                decision_time_s=self.time_s,
                decided_at=self.at,
            )
        return self._decision

    @decision.setter
    def decision(self, decision: Decision) -> None:
        self._decision = decision


class Decider:
    """Joins fleet, predictor and scheduler.

    `uniform` draws from [0, 1), `age` is the snapshot's in seconds, `money` what a dollar counts for a tenant.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        lengths: OutputLength,
        clock: Clock,
        uniform: Callable[[], float],
        age: Callable[[], float],
        money: Callable[[str], float] = lambda _: 1.0,
        affinity: Affinity | None = None,
    ) -> None:
        self._fleet = fleet
        self._lengths = lengths
        self._clock = clock
        self._uniform = uniform
        self._age = age
        self._money = money
        self._affinity = affinity
        self._crowds: Crowds | None = None

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
        profile = self._tightened(profile, workload)
        age_s = self._age()
        left = math.inf if profile.deadline_s is None else max(0.0, profile.deadline_s - started)
        shape = scheduler.shape_of(
            profile,
            workload,
            time_left_s=left,
            now=started,
            state_age_s=age_s,
            money_multiplier=self._money(profile.tenant),
            explore=not avoid and may_explore(profile, workload) and self._uniform() < workload.explore_share,
        )
        if profile.blocks and self._affinity is not None:
            # What the caller says of a session holds for wherever it was; here is known where.
            cached_on = self._affinity.cached_on(profile, started)
            shape.cached_on, shape.cached_tokens = cached_on, 0.0
            shape.seed = profile.session_key or self._affinity.seed(profile, cached_on)
        ranking = self._rank(profile, shape, avoid)
        plan = Plan(
            profile=profile,
            workload=workload,
            shape=shape,
            ranking=ranking,
            attempts=min(profile.max_attempts or workload.max_attempts, MAX_ATTEMPTS),
            version=self._fleet.version,
            age_s=age_s,
            time_s=self._clock.monotonic() - started,
            at=self._clock.time(),
        )
        if profile.explain:
            plan.decision = self.full(plan)
        return plan

    def _rank(self, profile: RequestProfile, shape: Shape, avoid: frozenset[str]) -> Ranking:
        """The ranking; over a large fleet only of those that can win, unless the caller wants to see all."""
        rows, weights = self._fleet.rows_for(profile.model), self._fleet.weights[shape.workload]
        if len(rows) > LARGE and not profile.explain:
            if self._crowds is None:
                from router.dispatch.large import Crowds  # noqa: PLC0415 - numpy: 80 ms and 20 MB, not for small fleets

                self._crowds = Crowds(self._fleet)
            crowd = self._crowds.of(profile.model, rows, shape.now)
            ranking = crowd.rank(
                profile, shape, weights, length_of=self._lengths.of, uniform=self._uniform, avoid=avoid
            )
            if ranking is not None:
                return ranking
        return scheduler.rank(
            rows,
            profile,
            shape,
            weights,
            predict=forecasts,
            length_of=self._lengths.of,
            uniform=self._uniform,
            now=shape.now,
            avoid=avoid,
        )

    def full(self, plan: Plan) -> Decision:
        """The decision with every candidate and every drop."""
        if plan.ranking.partial:
            self._complete(plan)
        unserved = self._fleet.not_serving(plan.profile.model)
        return reporting.report(plan.ranking, plan.decision, unserved=unserved)

    def _complete(self, plan: Plan) -> None:
        """Ranks what was not looked at as well; the choice stays."""
        chosen = plan.ranking.ordered[0]
        whole = self._rank(replace(plan.profile, explain=True), plan.shape, plan.ranking.constraints.excluded)
        others = [f for f in whole.ordered if f.row is not chosen.row]
        whole.ordered = [chosen, *others]
        plan.ranking = whole

    def require(self, plan: Plan) -> None:
        """Makes sure that something can serve.

        Raises:
            NoEndpoint: nothing can; says what was dropped and why.
            Shed: a sheddable request has next to no chance of being in time.
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
        if ranking.slo_infeasible and (profile.slo.reject_infeasible or plan.workload.slo.reject_infeasible):
            best = ranking.ordered[0]
            raise SloInfeasible(
                f"no backend meets the SLO with probability {plan.shape.probability:.2f}; {best.row.id} comes nearest, "
                f"with {picker.likelihood(best):.2f}: TTFT {best.ttft_s:.3f} s, TPOT {1000.0 * best.tpot_s:.2f} ms, "
                f"end to end {best.e2e_s:.2f} s are expected"
            )
        if ranking.slo_infeasible and profile.priority is Priority.SHEDDABLE:
            chance = max(picker.likelihood(f) for f in ranking.ordered)
            if chance < WORTH_TRYING:
                raise Shed(
                    f"no backend meets the SLO with more than {100.0 * chance:.0f} %, and the request may be shed",
                    retry_after_s=min(queue_s(f) for f in ranking.ordered) or NO_QUEUE_S,
                )

    def _tightened(self, profile: RequestProfile, workload: WorkloadClass) -> RequestProfile:
        """The request with the limits of its class: they add to its own and never loosen them.

        A floor of quality is for names that leave the choice of a model: who names one model has chosen.
        """
        privacy = workload.privacy if workload.privacy > profile.placement.privacy else None
        floor = -1.0
        if workload.minimum_quality and profile.model in self._fleet.catalogue.classes:
            floor = workload.quality_floor(profile.task)
        asked = profile.minimum_quality if profile.minimum_quality is not None else -1.0
        if privacy is None and floor <= asked:
            return profile
        return replace(
            profile,
            placement=profile.placement if privacy is None else replace(profile.placement, privacy=privacy),
            minimum_quality=floor if floor > asked else profile.minimum_quality,
        )

    @staticmethod
    def _soonest(ranking: Ranking) -> float | None:
        """Seconds until the first backend that was only limited for a while may be used again."""
        waits = [filters.opens_at(row.live, ranking.constraints) - ranking.now for row, _, _ in ranking.dropped]
        soon = [wait for wait in waits if wait > 0.0]
        return min(soon) if soon else None


def may_explore(profile: RequestProfile, workload: WorkloadClass) -> bool:
    """Whether a request may be one of the few that go where too little is known.

    Never a critical one, nor one that asks for privacy, nor one of a session, which would lose its cache.
    """
    return (
        workload.explore_share > 0.0
        and profile.priority is not Priority.CRITICAL
        and profile.placement.privacy is PrivacyLevel.ANY
        and not profile.session_key
    )


def queue_s(forecast: Forecast) -> float:
    """Seconds of the expected time to the first token that a request would wait for others."""
    row = forecast.row
    return max(0.0, forecast.ttft_s - row.network_rtt_s - row.speed.prefill_s(forecast.input_tokens))
