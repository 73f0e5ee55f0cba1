"""What four replicas lose whose knowledge of each other is a second old."""

from __future__ import annotations

from dataclasses import replace

from bench.routing.line import Bench, Line, Verdict, at_most
from bench.routing.runs import go, made, site
from simulation.virtual.policies import ROUTER
from simulation.virtual.scenario import Scenario
from simulation.virtual.sweep import mean

LOADS = (3.0, 5.0)
REPLICAS = 4
# (age of what they know, how late it comes): what is refreshed every second, and what always is a second old.
STATES = ((0.25, 0.0), (1.0, 0.0), (0.1, 1.0), (2.0, 0.0))
ASKED = ((1.0, 0.0), (0.1, 1.0))


def replicas(bench: Bench) -> list[Line]:
    """Points of attainment lost against one replica that knows all of its own work."""
    base = Scenario(site=site(bench), asks=())
    alone = go(bench, made(bench, base, policies=(ROUTER,), loads=LOADS), "one replica")
    lines: list[Line] = []
    for age, late in STATES:
        many = replace(base, replicas=REPLICAS, state_age_s=age, late_s=late)
        results = go(bench, made(bench, many, policies=(ROUTER,), loads=LOADS), f"4 replicas, {age:g} s")
        for load in LOADS:
            lost = 100.0 * (mean(alone, ROUTER, load, "attainment") - mean(results, ROUTER, load, "attainment"))
            asked = (age, late) in ASKED
            told = f"told every {age:g} s" if not late else f"told {late:g} s late"
            lines.append(
                Line(
                    f"{REPLICAS} replicas {told}, {load:g}x: attainment lost",
                    f"{lost:+.2f} points, ${1e3 * mean(results, ROUTER, load, 'objective_usd'):.3f} per 1,000",
                    "<= 1 point" if asked else "",
                    "0.3" if asked else "",
                    at_most(lost, at_least=1.0, stretch=0.3) if asked else Verdict.NOTED,
                )
            )
    return lines
