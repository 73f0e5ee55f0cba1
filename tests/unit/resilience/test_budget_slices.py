"""Money shared by simulated replicas: never further beyond the budget than is said, whatever is lost or dies."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.clock import FakeClock
from router.domain.slices import BudgetGrant
from router.errors import StoreUnavailable
from router.resilience.budget_slices import BudgetGate, Span, period_of
from router.state.slices_memory import MemorySlices

NOON = 1_800_014_400.0  # 2027-01-15 12:00 UTC
DAY = "2027-01-15"


@dataclass
class Replica:
    name: str
    gate: BudgetGate
    open: list[float] = field(default_factory=list)


class World:
    """Replicas with one budget over one store, all by one clock."""

    def __init__(self, budget: float, count: int) -> None:
        self.clock = FakeClock(unix=NOON)
        self.store = MemorySlices(self.clock)
        self.budget = budget
        self.count = count
        self.replicas = [Replica(f"r{n}", self._gate()) for n in range(count)]
        self.dearest = 0.0
        self.spent_by_the_dead = 0.0

    def _gate(self) -> BudgetGate:
        return BudgetGate("t", Span.DAY, self.budget, replicas=self.count, wake=lambda: None)

    def enter(self, replica: Replica, usd: float) -> bool:
        gate = replica.gate
        admitted = gate.admits(usd, self.clock.monotonic(), self.clock.time(), away=self.store.away)
        if admitted:
            self.dearest = max(self.dearest, usd)
            gate.take(usd)
            replica.open.append(usd)
        return admitted

    def settle(self, replica: Replica, share: float = 1.0) -> None:
        if replica.open:
            reserved = replica.open.pop(0)
            replica.gate.settle(reserved, reserved * share, self.clock.time())

    def ask(self, replica: Replica, *, lost: bool = False) -> None:
        now = self.clock.monotonic()
        ask = replica.gate.ask(now, self.clock.time(), self.count)
        if ask is None:
            return
        try:
            (grant,) = self.store.exchange(replica.name, [ask])
        except StoreUnavailable:
            lost = True
        if lost:
            replica.gate.unanswered(now)
        else:
            assert isinstance(grant, BudgetGrant)
            replica.gate.answered(ask, grant, now)

    def round(self) -> None:
        self.clock.advance(0.1)
        for replica in self.replicas:
            self.ask(replica)

    def die(self, replica: Replica) -> None:
        """It starts again as another process that knows nothing."""
        self.spent_by_the_dead += replica.gate.spent
        replica.name += "'"
        replica.open.clear()
        replica.gate = self._gate()

    @property
    def committed(self) -> float:
        alive = sum(replica.gate.spent + replica.gate.reserved for replica in self.replicas)
        return alive + self.spent_by_the_dead

    @property
    def slice(self) -> float:
        """What one replica may spend in advance: a thousandth, or the dearest request."""
        return max(self.budget / 1000.0, self.dearest)


operations = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "enter", "settle", "ask", "lost", "round", "wait"]),
        st.integers(0, 3),
        st.floats(0.0, 2.0),
    ),
    max_size=120,
)


@settings(max_examples=200)
@given(budget=st.sampled_from([0.5, 10.0, 1000.0]), count=st.integers(1, 4), steps=operations)
def test_spent_and_reserved_never_pass_the_budget_by_more_than_a_slice_each(
    budget: float, count: int, steps: list[tuple[str, int, float]]
) -> None:
    """Whatever is asked and settled in whatever order, answers lost on the way or not: one slice for each replica."""
    world = World(budget, count)
    for what, which, amount in steps:
        replica = world.replicas[which % count]
        match what:
            case "enter":
                world.enter(replica, amount)
            case "settle":
                world.settle(replica, min(1.0, amount))
            case "ask":
                world.clock.advance(0.01)
                world.ask(replica)
            case "lost":
                world.ask(replica, lost=True)
                world.ask(replica)
            case "round":
                world.round()
            case _:
                world.clock.advance(amount * 4.0)
                for other in world.replicas:
                    world.ask(other)

    assert world.committed <= budget + count * world.slice + 1e-6


@settings(max_examples=100)
@given(
    count=st.integers(1, 4), before=st.integers(0, 60), during=st.integers(0, 200), cost=st.sampled_from([0.01, 0.3])
)
def test_an_outage_of_the_store_lets_nothing_through_twice(count: int, before: int, during: int, cost: float) -> None:
    """Away, all replicas together spend what is left and one slice each; back, they agree on what was spent."""
    world = World(10.0, count)
    for _ in range(3):
        world.round()
    for n in range(before):
        if world.enter(world.replicas[n % count], cost):
            world.settle(world.replicas[n % count])
        world.round()
    world.store.away = True
    for n in range(during):
        world.round()
        if world.enter(world.replicas[(n * n) % count], cost):
            world.settle(world.replicas[(n * n) % count])
    assert world.committed <= 10.0 + count * world.slice + 1e-6
    world.store.away = False
    for _ in range(60):
        world.round()

    assert [replica.gate.total for replica in world.replicas] == pytest.approx([world.committed] * count)


def test_the_whole_budget_can_be_spent_by_one_busy_replica_of_many() -> None:
    """What quiet replicas hold shrinks with what is left, so that the busy one gets at it all."""
    world = World(10.0, 8)
    for _ in range(3):
        world.round()
    busy = world.replicas[0]
    for _ in range(3_000):
        if world.enter(busy, 0.02):
            world.settle(busy)
        world.round()

    assert busy.gate.spent == pytest.approx(10.0, abs=0.05)


def test_a_burst_at_a_quiet_replica_passes_while_there_is_plenty() -> None:
    """A replica that nobody asked anything of yet lets in fifty requests at once."""
    world = World(10.0, 4)
    for _ in range(3):
        world.round()

    assert all(world.enter(world.replicas[2], 0.004) for _ in range(50))


def test_what_the_dead_have_spent_stays_spent_and_what_they_were_granted_does_not() -> None:
    """15 s after a replica died its grant is free again; its successor begins with nothing and knows the total."""
    world = World(10.0, 2)
    for _ in range(3):
        world.round()
    first, second = world.replicas
    for _ in range(40):
        world.enter(first, 0.1)
        world.settle(first)
        world.round()
    assert first.gate.spent == pytest.approx(4.0)
    world.die(first)
    for _ in range(210):
        world.round()

    assert first.gate.spent == 0.0
    assert [replica.gate.total for replica in world.replicas] == pytest.approx([4.0, 4.0])
    for _ in range(1_000):
        if world.enter(second, 0.1):
            world.settle(second)
        world.round()
    assert world.committed == pytest.approx(10.0, abs=world.slice)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_wiped_store_is_rebuilt_from_what_the_replicas_know(order: tuple[int, ...]) -> None:
    """After a wipe the total is what it was, that of the dead included, in whatever order the replicas come back."""
    world = World(100.0, 3)
    for replica, times in zip(world.replicas, (5, 40, 30), strict=True):
        for _ in range(times):
            world.enter(replica, 0.1)
            world.settle(replica)
            world.round()
    world.die(world.replicas[0])
    for _ in range(5):
        world.enter(world.replicas[0], 0.2)
        world.settle(world.replicas[0])
        world.round()
    for _ in range(60):
        world.round()
    world.store.wipe()
    for replica in world.replicas:
        world.enter(replica, 0.5)
        world.settle(replica)
    for n in order:
        world.ask(world.replicas[n])
    for _ in range(60):
        world.round()

    assert world.committed == pytest.approx(0.5 + 4.0 + 3.0 + 1.0 + 1.5)
    assert [replica.gate.total for replica in world.replicas] == pytest.approx([world.committed] * 3)


def test_one_that_was_taken_for_dead_is_not_counted_twice() -> None:
    """A replica that was silent for a minute and comes back counts once, with all that it spent."""
    world = World(100.0, 2)
    lonely, other = world.replicas
    for _ in range(20):
        world.enter(lonely, 0.1)
        world.settle(lonely)
        world.round()
    for _ in range(600):
        world.clock.advance(0.1)
        world.ask(other)
    world.enter(lonely, 0.1)
    world.settle(lonely)
    for _ in range(60):
        world.round()

    assert other.gate.total == pytest.approx(2.1)


def test_a_new_day_begins_with_nothing_spent() -> None:
    """At midnight of UTC by the given clock the budget is whole again; what is under way counts in the new day."""
    world = World(1.0, 1)
    (replica,) = world.replicas
    world.round()
    while world.enter(replica, 0.1):
        world.settle(replica)
        world.round()
    assert replica.gate.wait_s(0.1, world.clock.time()) == pytest.approx(period_end() - world.clock.time())
    world.clock.advance(period_end() - world.clock.time() - 0.01)
    assert not world.enter(replica, 0.1)
    world.clock.advance(0.02)

    assert world.enter(replica, 0.1)
    assert replica.gate.period == "2027-01-16"
    assert replica.gate.spent == 0.0


@pytest.mark.parametrize(
    ("span", "unix", "name", "ends"),
    [
        (Span.DAY, NOON, DAY, 1_800_057_600.0),
        (Span.DAY, 1_800_057_600.0, "2027-01-16", 1_800_144_000.0),
        (Span.MONTH, NOON, "2027-01", 1_801_440_000.0),
        (Span.MONTH, 1_830_297_599.0, "2027-12", 1_830_297_600.0),
    ],
)
def test_periods_are_days_and_months_of_utc(span: Span, unix: float, name: str, ends: float) -> None:
    """A period's name and end, also at the turn of a day and a year."""
    assert period_of(span, unix) == (name, ends)


def period_end() -> float:
    return period_of(Span.DAY, NOON)[1]
