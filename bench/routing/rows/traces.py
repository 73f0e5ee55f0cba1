"""The same comparison on other traffic: bursts of code completion, and long conversations with shared beginnings."""

from __future__ import annotations

from bench.routing.line import CODE, MOONCAKE, Bench, Line, Verdict
from bench.routing.runs import go, made, site, trace
from simulation.virtual.policies import BASELINES, ROUTER
from simulation.virtual.scenario import Scenario
from simulation.virtual.sweep import mean

# Prompts of the second are nine times as long as those of the first conversation.
TRACES = ((CODE, "Azure code", (1.0, 3.0)), (MOONCAKE, "Mooncake conversation", (0.25, 0.5)))


def other_traces(bench: Bench) -> list[Line]:
    """Objectives met by the router and by the best baseline; nothing is asked of these."""
    lines: list[Line] = []
    base = Scenario(site=site(bench), asks=())
    for name, title, loads in TRACES:
        if not (bench.data / name).exists():
            continue
        found = made(bench, base, policies=(ROUTER, *BASELINES), loads=loads, asks=trace(bench, name))
        results = go(bench, found, title)
        for load in loads:
            best = max(BASELINES, key=lambda b: mean(results, b, load, "attainment"))
            lines.append(
                Line(
                    f"{title} at {load:g}x: objectives met",
                    f"{100.0 * mean(results, ROUTER, load, 'attainment'):.2f} % at "
                    f"${1e3 * mean(results, ROUTER, load, 'objective_usd'):.3f} per 1,000",
                    f"({best}: {100.0 * mean(results, best, load, 'attainment'):.2f} %, "
                    f"${1e3 * mean(results, best, load, 'objective_usd'):.3f})",
                    "",
                    Verdict.NOTED,
                )
            )
    return lines
