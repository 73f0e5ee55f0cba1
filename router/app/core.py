"""Joins deciding, dispatching and feedback over a view of the fleet: everything between the edges and the store."""

from __future__ import annotations

import random
from dataclasses import dataclass

import structlog

from router.clock import Clock
from router.dispatch.decider import Decider
from router.dispatch.director import Director
from router.dispatch.executor import Executor
from router.dispatch.feedback import Feedback
from router.dispatch.fleet import BuildAdapter, Fleet
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.resilience.admission import Admission
from router.resilience.retry_budget import RetryBudget
from router.settings import Settings
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.state.view import FleetView
from router.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Everything between the edges and the store."""

    fleet: Fleet
    director: Director
    metrics: Metrics


def build_core(settings: Settings, *, view: FleetView, build_adapter: BuildAdapter, clock: Clock) -> Core:
    """Joins deciding, dispatching and feedback over a fleet view."""
    rng = random.Random(settings.router.rng_seed)
    metrics = Metrics()
    lengths = OutputLength()
    fleet = Fleet(catalogue=settings.catalogue, build_adapter=build_adapter, clock=clock, policies=settings.policies)
    decider = Decider(
        fleet=fleet,
        lengths=lengths,
        clock=clock,
        uniform=rng.random,
        age=lambda: view.age_s(clock.monotonic()),
    )
    feedback = Feedback(fleet=fleet, lengths=lengths, metrics=metrics, clock=clock)
    policy = settings.policies.dispatch
    budget = RetryBudget(
        ratio=policy.retry_budget_ratio,
        reserve=policy.retry_budget_min,
        window_s=policy.retry_budget_window_s,
        now=clock.monotonic(),
    )
    admission = Admission(max_in_flight=policy.max_in_flight)
    director = Director(
        fleet=fleet,
        decider=decider,
        executor=Executor(decider=decider, feedback=feedback, budget=budget),
        feedback=feedback,
        admission=admission,
        metrics=metrics,
        clock=clock,
    )
    seen = [""]

    def take(snapshot: FleetSnapshot) -> None:
        if snapshot.policies_yaml and snapshot.policies_yaml != seen[0]:
            seen[0] = snapshot.policies_yaml
            try:
                policies = parse_policies(snapshot.policies_yaml, "policies")
            except ConfigError as error:
                # Checked before it was written, so a newer replica wrote what this one does not know.
                log.warning("policies_not_understood", version=snapshot.policies_version, problems=str(error))
            else:
                fleet.use_policies(policies)
                admission.max_in_flight = policies.dispatch.max_in_flight
                budget.ratio = policies.dispatch.retry_budget_ratio
                budget.reserve = float(policies.dispatch.retry_budget_min)
                budget.window_s = policies.dispatch.retry_budget_window_s
        fleet.apply(snapshot)

    view.on_change(take)
    return Core(fleet=fleet, director=director, metrics=metrics)
