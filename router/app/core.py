"""Joins deciding, dispatching and feedback over a view of the fleet: everything between the edges and the store."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from router.app.decisions import decisions_dir, open_log
from router.clock import Clock
from router.decisions.draws import Draws
from router.decisions.log import DecisionLog
from router.dispatch.affinity import Affinity
from router.dispatch.decider import Decider
from router.dispatch.director import Director
from router.dispatch.effect import Effects
from router.dispatch.executor import Executor
from router.dispatch.feedback import Feedback
from router.dispatch.fleet import BuildAdapter, Fleet
from router.dispatch.loads import Loads
from router.dispatch.overview import Overview
from router.dispatch.recent import Recent
from router.dispatch.recording import Meter
from router.dispatch.tenants import Tenants
from router.dispatch.traffic import Traffic
from router.domain.fleet import Health
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.prediction.output_length import OutputLength
from router.resilience.admission import Admission
from router.resilience.retry_budget import RetryBudget
from router.settings import Settings
from router.settings.policies import parse_policies
from router.settings.strict import ConfigError
from router.state.view import FleetView
from router.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)
UNKNOWN_HEALTH = Health()


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What serves requests, and what tells of it."""

    fleet: Fleet
    director: Director
    metrics: Metrics
    tenants: Tenants
    loads: Loads
    traffic: Traffic
    recent: Recent
    effects: Effects
    overview: Overview
    decisions: DecisionLog | None
    feedback: Feedback


def build_core(
    settings: Settings,
    *,
    view: FleetView,
    build_adapter: BuildAdapter,
    clock: Clock,
    meter: Meter,
    wires: Wires | None = None,
) -> Core:
    """Joins everything over a fleet view, which it follows from now on. `clock.time()` is the store's.

    Without `wires` every family is taken to be able to do what its backends declare, and to take every parameter.
    """
    draws = Draws(random.Random(settings.router.rng_seed).random)
    metrics = Metrics()
    lengths = OutputLength()
    recent = Recent()
    traffic = Traffic(now=clock.monotonic())
    fleet = Fleet(
        catalogue=settings.catalogue,
        build_adapter=build_adapter,
        clock=clock,
        policies=settings.policies,
        wires=wires,
    )
    affinity = Affinity(fleet)
    feedback = Feedback(fleet=fleet, lengths=lengths, metrics=metrics, clock=clock, traffic=traffic, affinity=affinity)
    tenants = Tenants(
        tenants=lambda: view.snapshot.tenants,
        policies=lambda: fleet.policies,
        catalogue=settings.catalogue,
        clock=clock,
        replicas=lambda: 1 + int(feedback.busy.peers),
    )
    decider = Decider(
        fleet=fleet,
        lengths=lengths,
        clock=clock,
        uniform=draws,
        age=lambda: view.age_s(clock.monotonic()),
        money=tenants.money_multiplier,
        affinity=affinity,
    )
    policy = settings.policies.dispatch
    budget = RetryBudget(
        ratio=policy.retry_budget_ratio,
        reserve=policy.retry_budget_min,
        window_s=policy.retry_budget_window_s,
        now=clock.monotonic(),
    )
    admission = Admission(max_in_flight=policy.max_in_flight)
    decisions = open_log(
        settings.router.decisions,
        directory=decisions_dir(settings.router),
        replica=settings.router.replica_id,
        fleet=fleet,
        draws=draws,
        metrics=metrics.decisions,
        clock=clock,
    )
    director = Director(
        fleet=fleet,
        decider=decider,
        executor=Executor(decider=decider, feedback=feedback, budget=budget),
        feedback=feedback,
        admission=admission,
        metrics=metrics,
        clock=clock,
        tenants=tenants,
        meter=meter,
        recent=recent,
        decisions=decisions,
    )
    view.on_change(_taker(fleet, admission, budget))
    return Core(
        fleet=fleet,
        director=director,
        metrics=metrics,
        tenants=tenants,
        loads=Loads(
            fleet=fleet,
            busy=feedback.busy,
            passive=feedback.passive,
            clock=clock,
            affinity=affinity,
            replica=settings.router.replica_id,
            requests_in_flight=lambda: director.in_flight,
        ),
        traffic=traffic,
        recent=recent,
        feedback=feedback,
        decisions=decisions,
        effects=Effects(recent=recent, fleet=fleet, lengths=lengths, clock=clock),
        overview=Overview(
            fleet=fleet,
            traffic=traffic,
            load=director.live,
            agreed=lambda backend: view.snapshot.health.get(backend, UNKNOWN_HEALTH),
        ),
    )


def _taker(fleet: Fleet, admission: Admission, budget: RetryBudget) -> Callable[[FleetSnapshot], None]:
    """What takes over each snapshot, and the policies in it when they are new."""
    seen = ""

    def take(snapshot: FleetSnapshot) -> None:
        nonlocal seen
        if snapshot.policies_yaml and snapshot.policies_yaml != seen:
            seen = snapshot.policies_yaml
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

    return take
