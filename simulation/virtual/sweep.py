"""Many runs on all cores: policies by loads by seeds, and the bound of each load and seed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields, replace

from simulation.virtual.bound import Bound, bound
from simulation.virtual.figures import Figures, brier, figures
from simulation.virtual.policies import POLICIES
from simulation.virtual.scenario import Scenario
from simulation.virtual.traces import Ask, scaled, section
from simulation.virtual.world import run

BOUND = "bound"
INTERACTIVE_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a scenario but for its requests, which are those of the trace at a load. `policy` may be `BOUND`."""

    scenario: Scenario
    policy: str
    load: float

    @property
    def key(self) -> tuple[str, float, int]:
        return self.policy, self.load, self.scenario.seed


@dataclass(frozen=True, slots=True)
class Done:
    """What a run came to. `brier` are the router's own, the running base rate's and that of each backend."""

    figures: Figures | None
    bound: Bound | None
    brier: tuple[float, float, float, int] = (0.0, 0.0, 0.0, 0)


Results = dict[tuple[str, float, int], Done]


def jobs(
    scenario: Scenario,
    asks: Sequence[Ask],
    *,
    policies: Iterable[str],
    loads: Iterable[float],
    seeds: int,
    requests: int | None = None,
) -> list[Job]:
    """One for each policy, load and seed; the requests of the scenario are replaced.

    With `requests` every seed has so many of its own, one seed's after the other's; the trace begins anew at its end.
    """
    found: list[Job] = []
    names = tuple(policies)
    for load in loads:
        for seed in range(seeds):
            part = asks if requests is None else section(asks, seed, requests)
            drawn = tuple(scaled(part, load=load, interactive_share=INTERACTIVE_SHARE, seed=seed))
            found += [Job(replace(scenario, asks=drawn, seed=seed), name, load) for name in names]
    return found


def do(job: Job) -> Done:
    """Runs one."""
    if job.policy == BOUND:
        return Done(None, bound(job.scenario))
    records = run(job.scenario, POLICIES[job.policy])
    return Done(figures(job.scenario.site, records), None, brier(records))


def sweep(found: Sequence[Job], *, workers: int, done: Callable[[int], None] = lambda _: None) -> Results:
    """All results by (policy, load, seed); `done` is told how many there are."""
    results: Results = {}
    if workers <= 1 or len(found) == 1:
        for job in found:
            results[job.key] = do(job)
            done(len(results))
        return results
    with ProcessPoolExecutor(max_workers=workers) as pool:
        running = {pool.submit(do, job): job for job in found}
        for future in as_completed(running):
            results[running[future].key] = future.result()
            done(len(results))
    return results


def mean(results: Results, policy: str, load: float, what: str) -> float:
    """A figure over the seeds."""
    values = [
        float(getattr(result.figures, what))
        for (name, at, _), result in results.items()
        if name == policy and at == load and result.figures is not None
    ]
    return statistics.fmean(values)


def mean_bound(results: Results, load: float) -> Bound | None:
    """The bound over the seeds; None: it was not asked for."""
    found = [r.bound for (name, at, _), r in results.items() if name == BOUND and at == load and r.bound is not None]
    if not found:
        return None
    return Bound(
        objective_usd=statistics.fmean(b.objective_usd for b in found),
        attainment=statistics.fmean(b.attainment for b in found),
    )


def share_of_gap(results: Results, policy: str, reference: str, load: float) -> float | None:
    """How much of the way from the reference to the bound a policy has gone, by the objective."""
    least = mean_bound(results, load)
    if least is None or not any(name == reference and at == load for name, at, _ in results):
        return None
    worst, ours = mean(results, reference, load, "objective_usd"), mean(results, policy, load, "objective_usd")
    return (worst - ours) / (worst - least.objective_usd) if worst > least.objective_usd else None


def numbers(found: Figures) -> dict[str, object]:
    """A run's figures by name."""
    return {field.name: getattr(found, field.name) for field in fields(found)}
