"""The clairvoyant bound: nobody beats it, and it knows what capacity is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulation.virtual.bound import bound
from simulation.virtual.figures import objective_usd
from simulation.virtual.policies import POLICIES
from simulation.virtual.world import run
from tests.unit.simulation.virtual.small import asks, scenario

pytest.importorskip("scipy")
# What a linear program is solved to.
SOLVED_TO = 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [1.0, 6.0, 25.0])
@pytest.mark.parametrize("blocks", [False, True])
def test_no_policy_costs_less_than_the_bound(seed: int, rate: float, *, blocks: bool) -> None:
    """Idle, busy and overloaded; with prompts that begin alike and with limits."""
    told = scenario(100, rate=rate, seed=seed, per_minute=60.0)
    told = replace(told, asks=asks(100, rate=rate, seed=seed, blocks=blocks))
    least = bound(told)

    for name, make in POLICIES.items():
        reached = objective_usd(told.site, run(told, make)) / len(told.asks)
        assert reached >= least.objective_usd - SOLVED_TO, name


def test_more_load_never_costs_less() -> None:
    """The same requests in a shorter time."""
    objectives = [bound(scenario(150, rate=rate, per_minute=60.0)).objective_usd for rate in (1.0, 5.0, 20.0, 80.0)]

    assert objectives == sorted(objectives)
    assert objectives[-1] > objectives[0]


def test_what_nobody_can_serve_in_time_is_given_up() -> None:
    """Far beyond what all could do, most objectives cannot be met."""
    found = bound(scenario(600, rate=300.0, per_minute=30.0))

    assert found.attainment < 0.9
