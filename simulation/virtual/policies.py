"""Every policy by name: the router, what its own forecasts could be used for otherwise, and the rules of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from simulation.virtual.group import RuleGroup
from simulation.virtual.loop import Loop
from simulation.virtual.ours import RouterGroup, cheapest_feasible, fastest
from simulation.virtual.policy import Group
from simulation.virtual.rules import RULES
from simulation.virtual.scenario import Scenario
from simulation.virtual.servers import Server

ROUTER = "router"
REFERENCE = "power-of-two"
# Fresh state and true lengths: what the router could reach if it knew.
KNOWING = "router-knowing-lengths"

MakeGroup = Callable[[Scenario, dict[str, Server], Loop], Group]

POLICIES: Mapping[str, MakeGroup] = {
    ROUTER: RouterGroup,
    **{rule.name: partial(RuleGroup, rule) for rule in RULES},
    "least-predicted-latency": partial(RouterGroup, pick=fastest),
    "cheapest-feasible": partial(RouterGroup, pick=cheapest_feasible),
    KNOWING: partial(RouterGroup, true_lengths=True),
}
# What the router is compared with: not with itself under better conditions.
BASELINES = tuple(name for name in POLICIES if name not in {ROUTER, KNOWING})
