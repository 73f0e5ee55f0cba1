"""The runs that several rows read: every policy on the conversation at every load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.routing.line import CONFIG, CONVERSATION, FLEET, Bench
from simulation.virtual import scenario as scenarios
from simulation.virtual import tables, traces
from simulation.virtual.policies import POLICIES
from simulation.virtual.scenario import Scenario, Site
from simulation.virtual.sweep import BOUND, Job, Results, jobs, sweep
from simulation.virtual.traces import Ask


def site(bench: Bench) -> Site:
    """The benchmark's fleet, by the measurements."""
    if bench.site is None:
        bench.site, _ = scenarios.site(FLEET, model=None, tables=tables.load(bench.data), config=CONFIG)
    return bench.site


def trace(bench: Bench, name: str = CONVERSATION) -> list[Ask]:
    """All requests of a trace."""
    if name not in bench.traces:
        bench.traces[name] = traces.read(bench.data / name)
    return bench.traces[name]


def made(
    bench: Bench, base: Scenario, *, policies: Iterable[str], loads: Sequence[float], asks: Sequence[Ask] | None = None
) -> list[Job]:
    """Jobs; every seed has a part of the trace of its own."""
    return jobs(
        base,
        asks if asks is not None else trace(bench),
        policies=policies,
        loads=loads,
        seeds=bench.seeds,
        requests=bench.requests,
    )


def go(bench: Bench, found: Sequence[Job], what: str) -> Results:
    """Runs them, and says how far it is."""
    tenth = max(1, len(found) // 10)

    def done(count: int) -> None:
        if count % tenth == 0 or count == len(found):
            bench.say(f"{what}: {count} of {len(found)} runs")

    return sweep(found, workers=bench.workers, done=done)


def conversation(bench: Bench) -> Results:
    """Every policy and the bound, once for all rows."""
    if not bench.results:
        base = Scenario(site=site(bench), asks=())
        found = made(bench, base, policies=(*POLICIES, BOUND), loads=bench.loads)
        bench.results = go(bench, found, "conversation")
    return bench.results
