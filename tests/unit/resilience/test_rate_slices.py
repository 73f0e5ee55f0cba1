"""Rates shared by simulated replicas: the bound, fairness, and what happens without the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.clock import FakeClock
from router.domain.slices import RateAsk
from router.errors import StoreUnavailable
from router.resilience.rate_slices import RateGate
from router.state.slices_memory import MemorySlices, fair_share

STEP_S = 0.01


def gate(rate: float, replicas: int, burst_s: float = 1.0) -> RateGate:
    return RateGate("t", "requests_per_s", rate, burst_s, replicas=replicas, wake=lambda: None)


@dataclass
class Replica:
    """A gate, when it asks next, and what it let in."""

    name: str
    gate: RateGate
    next_ask: float
    admitted: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    dead: bool = False


@dataclass
class World:
    """Replicas that share one store, all by one clock."""

    rate: float
    count: int
    burst_s: float = 1.0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemorySlices(self.clock)
        now = self.clock.monotonic()
        self.replicas = [
            Replica(f"r{n}", gate(self.rate, self.count, self.burst_s), now + 0.1 * n / self.count)
            for n in range(self.count)
        ]

    def offer(self, replica: Replica, requests: int, cost: float = 1.0) -> None:
        now = self.clock.monotonic()
        for _ in range(requests):
            if replica.gate.admits(cost, now, away=self.store.away):
                replica.gate.take(cost)
                replica.admitted.append((now, cost))
            else:
                replica.refused += 1

    def ask(self, replica: Replica, *, lost: bool = False) -> None:
        now = self.clock.monotonic()
        ask = replica.gate.ask(now, self.count)
        if ask is None:
            return
        try:
            (grant,) = self.store.exchange(replica.name, [ask])
        except StoreUnavailable:
            replica.gate.unanswered(now)
            return
        if lost:
            replica.gate.unanswered(now)
        else:
            replica.gate.answered(ask, grant.amount, now)  # type: ignore[union-attr]  # a rate's ask has a rate's grant

    def step(self, lost: Callable[[], bool] = lambda: False) -> None:
        self.clock.advance(STEP_S)
        for replica in self.replicas:
            if not replica.dead and self.clock.monotonic() >= replica.next_ask:
                replica.next_ask += 0.1
                self.ask(replica, lost=lost())

    def run(self, seconds: float, offered_per_s: list[float]) -> None:
        owed = [0.0] * self.count
        for _ in range(round(seconds / STEP_S)):
            self.step()
            for n, (replica, offered) in enumerate(zip(self.replicas, offered_per_s, strict=True)):
                owed[n] += offered * STEP_S
                self.offer(replica, int(owed[n]))
                owed[n] -= int(owed[n])

    def excess(self) -> float:
        """The most that any window of time let in beyond rate times its length."""
        every = sorted(one for replica in self.replicas for one in replica.admitted)
        worst, lowest, total = 0.0, float("inf"), 0.0
        for at, cost in every:
            lowest = min(lowest, total - self.rate * at)
            total += cost
            worst = max(worst, total - self.rate * at - lowest)
        return worst

    def slice(self) -> float:
        return self.replicas[0].gate.slice

    def bound(self) -> float:
        return max(1.0, self.rate * self.burst_s) + self.count * self.slice()


events = st.lists(
    st.tuples(
        st.integers(0, 3),  # which replica
        st.integers(0, 60),  # how many requests at once
        st.integers(0, 40) | st.sampled_from([0, 120, 520, 1100]),  # steps of 10 ms before them
        st.booleans(),  # whether answers of that time are lost
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(
    rate=st.sampled_from([0.5, 3.0, 50.0, 400.0]),
    count=st.integers(1, 4),
    burst_s=st.sampled_from([0.5, 1.0, 3.0]),
    arrivals=events,
)
def test_no_window_lets_in_more_than_the_bound(
    rate: float, count: int, burst_s: float, arrivals: list[tuple[int, int, int, bool]]
) -> None:
    """Whatever arrives where and when, in any T at most rate * T + burst + R * slice is let in, answers lost or not."""
    world = World(rate, count, burst_s)
    for which, requests, steps, lost in arrivals:
        for _ in range(steps):
            world.step(lambda lost=lost: lost)  # type: ignore[misc]  # bound now
        world.offer(world.replicas[which % count], requests)

    assert world.excess() <= world.bound() + 1e-6


@settings(max_examples=60)
@given(rate=st.sampled_from([3.0, 50.0, 400.0]), count=st.integers(1, 4), arrivals=events, gone=st.integers(0, 60))
def test_the_bound_holds_through_an_outage_of_the_store(
    rate: float, count: int, arrivals: list[tuple[int, int, int, bool]], gone: int
) -> None:
    """When all replicas lose the store and find it again, the same bound holds, and the store is told what was used."""
    world = World(rate, count)
    for n, (which, requests, steps, _) in enumerate(arrivals):
        world.store.away = gone // 2 <= n < gone
        for _ in range(steps):
            world.step()
        world.offer(world.replicas[which % count], requests)

    assert world.excess() <= world.bound() + 1e-6


def test_hungry_replicas_share_evenly_and_a_modest_one_has_all_it_wants() -> None:
    """Max-min: 100/s are served whole, and three that want more have 300/s each, whatever they want."""
    world = World(1000.0, 4)
    offered = [3000.0, 100.0, 600.0, 900.0]
    world.run(3.0, offered)
    before = [len(replica.admitted) for replica in world.replicas]
    world.run(5.0, offered)
    rates = [(len(replica.admitted) - was) / 5.0 for replica, was in zip(world.replicas, before, strict=True)]

    assert rates[1] == pytest.approx(100.0, abs=1.0)
    assert world.replicas[1].refused == 0
    assert [rates[n] for n in (0, 2, 3)] == pytest.approx([300.0] * 3, rel=0.05)
    assert sum(rates) == pytest.approx(1000.0, rel=0.03)


@settings(max_examples=40)
@given(offered=st.lists(st.floats(20.0, 4000.0), min_size=2, max_size=5), rate=st.sampled_from([40.0, 300.0]))
def test_nobody_starves(offered: list[float], rate: float) -> None:
    """Each replica gets its max-min share of the rate, to within a tenth and two requests a second."""
    world = World(rate, len(offered))
    world.run(4.0, offered)
    before = [len(replica.admitted) for replica in world.replicas]
    world.run(5.0, offered)

    for replica, was, wish in zip(world.replicas, before, offered, strict=True):
        fair = min(wish, fair_share(rate, offered))
        assert (len(replica.admitted) - was) / 5.0 >= 0.9 * fair - 2.0


def test_demand_below_the_limit_is_never_refused() -> None:
    """A steady 90 % of the limit, most of it at one replica, passes whole."""
    world = World(1000.0, 4)
    world.run(5.0, [700.0, 150.0, 50.0, 0.0])

    assert [replica.refused for replica in world.replicas] == [0, 0, 0, 0]


def test_a_dead_replica_s_slice_goes_back_to_the_others() -> None:
    """When two of four hungry replicas die, the other two have the whole rate a second later."""
    world = World(400.0, 4)
    world.run(3.0, [500.0] * 4)
    for replica in world.replicas[2:]:
        replica.dead = True
    world.run(1.0, [500.0, 500.0, 0.0, 0.0])
    before = [len(replica.admitted) for replica in world.replicas[:2]]
    world.run(4.0, [500.0, 500.0, 0.0, 0.0])

    rates = [(len(r.admitted) - was) / 4.0 for r, was in zip(world.replicas[:2], before, strict=True)]
    assert rates == pytest.approx([200.0, 200.0], rel=0.05)


def test_without_the_store_each_replica_has_its_share() -> None:
    """Away: rate / R each, from the moment the store is known to be gone, and all of it again when it is back."""
    world = World(400.0, 4)
    world.run(3.0, [500.0] * 4)
    world.store.away = True
    before = [len(replica.admitted) for replica in world.replicas]
    world.run(10.0, [500.0] * 4)
    rates = [(len(r.admitted) - was) / 10.0 for r, was in zip(world.replicas, before, strict=True)]
    world.store.away = False
    world.run(5.0, [50.0] * 4)
    refused = [replica.refused for replica in world.replicas]
    world.run(5.0, [50.0] * 4)

    assert rates == pytest.approx([100.0] * 4, rel=0.06)
    assert [replica.refused for replica in world.replicas] == refused


def test_a_frozen_replica_does_not_spend_what_the_store_has_forgotten() -> None:
    """What was granted ends after ten seconds without an answer."""
    clock = FakeClock()
    one = gate(100.0, 1)
    ask = one.ask(clock.monotonic(), 1)
    assert ask is not None
    one.answered(ask, 50.0, clock.monotonic())
    clock.advance(10.1)
    one.admits(1.0, clock.monotonic(), away=False)

    assert one.balance == 0.0


def test_an_answer_that_nobody_waits_for_counts_for_nothing() -> None:
    """A grant for an earlier ask than the last one, or one that was given up, is not added."""
    one = gate(100.0, 1)
    first = one.ask(0.0, 1)
    assert isinstance(first, RateAsk)
    one.unanswered(0.1)
    one.answered(first, 50.0, 0.0)

    assert one.balance == 0.0


def test_what_is_given_back_is_used_again() -> None:
    """A cancelled request's unit is there for the next one, up to what the store knows to be held here."""
    one = gate(10.0, 1)
    while one.admits(1.0, 0.0, away=False):
        one.take(1.0)
    one.give(1.0)

    assert one.admits(1.0, 0.0, away=False)


def test_what_costs_more_than_a_slice_waits_until_there_is_no_debt() -> None:
    """Of requests dearer than a slice one is let in on an empty balance, and the next when its debt is paid."""
    one = gate(100.0, 4)
    assert one.admits(1000.0, 0.0, away=False)
    one.take(1000.0)

    assert not one.admits(1000.0, 0.0, away=False)
    assert one.wait_s(1000.0) == pytest.approx(40.0 - 0.1 * 0.0, abs=0.5)
