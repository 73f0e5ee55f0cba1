"""Slices of tenants' limits on a real Valkey: the script does as the simulation, and four replicas keep the bound."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.clock import Clock, FakeClock, SystemClock
from router.dispatch.tenants import Tenants
from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.request import RequestProfile
from router.domain.slices import BudgetAsk, BudgetGrant, RateAsk, RateGrant
from router.domain.tenant import Limits, Tenant
from router.errors import TenantLimited
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.keys import Keys
from router.state.runtime import end_task
from router.state.slices import SliceSync, ValkeySlices
from router.state.slices_memory import MemorySlices

RATE = 1000.0
POLICIES = Policies()
PROFILE = RequestProfile(request_id="r", model="m", tenant="t")


@pytest.fixture
async def client(valkey: EmbeddedValkey) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(valkey.url)
    yield client
    await client.aclose()


@dataclass
class Replica:
    """One replica's tenants, and when each request was let in."""

    tenants: Tenants
    admitted: list[float] = field(default_factory=list)
    refused: int = 0

    def offer(self, requests: int, now: float) -> None:
        for _ in range(requests):
            try:
                self.tenants.enter(PROFILE)[1].settle(0.0, 0.0, 0.0)
            except TenantLimited:
                self.refused += 1
            else:
                self.admitted.append(now)


def tenants_of(limits: Limits, count: int, clock: Clock) -> Tenants:
    """One tenant with these limits, on one of so many replicas."""
    there: Mapping[str, Tenant] = {"t": Tenant(id="t", limits=limits)}
    return Tenants(
        tenants=lambda: there,
        policies=lambda: POLICIES,
        catalogue=Catalogue(),
        clock=clock,
        replicas=lambda: count,
    )


@asynccontextmanager
async def replicas(client: StoreClient, count: int, limits: Limits) -> AsyncIterator[list[Replica]]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        found = []
        for n in range(count):
            tenants = tenants_of(limits, count, clock)
            exchange = ValkeySlices(client, namespace="n", replica=f"r{n}")
            task = asyncio.create_task(SliceSync(tenants, exchange, clock=clock).run())
            stack.push_async_callback(end_task, task)
            found.append(Replica(tenants))
        yield found


async def play(there: list[Replica], seconds: float, offered: Callable[[int, float], float]) -> None:
    """Offers `offered(replica, time)` requests a second at each replica."""
    clock = SystemClock()
    began = last = clock.monotonic()
    owed = [0.0] * len(there)
    while (now := clock.monotonic()) < began + seconds:
        for n, replica in enumerate(there):
            owed[n] += offered(n, now - began) * (now - last)
            replica.offer(int(owed[n]), now)
            owed[n] -= int(owed[n])
        last = now
        await asyncio.sleep(0.002)


def excess(there: list[Replica]) -> float:
    """The most that any window of time let in beyond the rate times its length."""
    worst, lowest = 0.0, float("inf")
    for n, at in enumerate(sorted(at for replica in there for at in replica.admitted)):
        lowest = min(lowest, n - RATE * at)
        worst = max(worst, n + 1 - RATE * at - lowest)
    return worst


@pytest.mark.parametrize(
    "offered",
    [
        lambda *_: 1000.0,
        lambda n, _: (3000.0, 100.0, 600.0, 900.0)[n],
        lambda n, t: 4000.0 if int(t * 5.0) % 4 == n else 0.0,
    ],
    ids=["even", "uneven", "in turns"],
)
async def test_four_replicas_keep_a_thousand_a_second(
    client: StoreClient, offered: Callable[[int, float], float]
) -> None:
    """In every window of the run: at most 1,000/s, the burst of one second, and a slice of 25 for each replica."""
    async with replicas(client, 4, Limits(requests_per_s=RATE)) as there:
        await play(there, 3.0, offered)

    assert excess(there) <= RATE + 4 * 25.0
    assert sum(len(replica.admitted) for replica in there) >= 0.9 * 3.0 * RATE


async def test_none_of_four_replicas_starves(client: StoreClient) -> None:
    """Once the burst is used up, a modest replica is never refused and the hungry ones have about the same."""
    offered = (3000.0, 100.0, 600.0, 900.0)
    async with replicas(client, 4, Limits(requests_per_s=RATE)) as there:
        await play(there, 2.5, lambda n, _: offered[n])
        before = [len(replica.admitted) for replica in there]
        await play(there, 2.0, lambda n, _: offered[n])

    rates = [(len(replica.admitted) - was) / 2.0 for replica, was in zip(there, before, strict=True)]
    assert there[1].refused == 0
    assert rates[1] == pytest.approx(100.0, abs=5.0)
    assert [rates[n] for n in (0, 2, 3)] == pytest.approx([300.0] * 3, rel=0.2)


async def test_a_budget_is_shared_and_its_use_is_known_everywhere(client: StoreClient) -> None:
    """Four replicas spend one budget to its end, none passes its slice, and all know the same total."""
    limits = Limits(usd_per_day=1.0)
    async with replicas(client, 4, limits) as there:
        await asyncio.sleep(0.2)
        spent = 0.0
        for _ in range(400):
            for replica in there:
                try:
                    _, ticket = replica.tenants.enter(PROFILE)
                except TenantLimited:
                    continue
                ticket.expect(0.0, 0.002)
                ticket.settle(0.0, 0.002, SystemClock().time())
                spent += 0.002
            await asyncio.sleep(0.002)
        async with asyncio.timeout(8.0):
            while any(replica.tenants.state("t").usd_today != pytest.approx(spent) for replica in there):
                await asyncio.sleep(0.05)

    assert spent == pytest.approx(1.0, abs=4 * 0.002)


async def test_while_the_store_is_away_each_replica_has_its_share(client: StoreClient, valkey: EmbeddedValkey) -> None:
    """With the server killed, four replicas go on with a quarter of the rate each, and share again when it is back.

    Time is the test's: what a busy machine held up would come in one burst otherwise, and be refused by right.
    """
    clock = FakeClock()
    there = [Replica(tenants_of(Limits(requests_per_s=RATE), 4, clock)) for _ in range(4)]
    syncs = [
        SliceSync(replica.tenants, ValkeySlices(client, namespace="n", replica=f"r{n}"), clock=clock)
        for n, replica in enumerate(there)
    ]

    async def go_on(seconds: float) -> None:
        """Each replica asks for slices ten times a second, and is offered twice its share."""
        for _ in range(round(seconds / 0.1)):
            for sync in syncs:
                await sync.once()
            for _ in range(10):
                clock.advance(0.01)
                for replica in there:
                    replica.offer(5, clock.monotonic())

    await go_on(1.0)
    os.kill(valkey.pid, signal.SIGKILL)
    # What was granted before is used up.
    await go_on(0.1)
    before = [len(replica.admitted) for replica in there]
    await go_on(2.0)
    rates = [(len(replica.admitted) - was) / 2.0 for replica, was in zip(there, before, strict=True)]
    await valkey.restart()
    for sync in syncs:
        await sync.once()

    assert rates == pytest.approx([250.0] * 4, rel=0.05)
    # The bucket, and what each replica holds of it.
    assert await client.call("HLEN", Keys("n").rate("t", "requests_per_s"), what="who shares") == 1 + 4


async def test_every_key_expires(client: StoreClient) -> None:
    """A bucket is forgotten a minute after it would be full, a day's money after 2 days, a month's after 40."""
    slices = ValkeySlices(client, namespace="n", replica="r")
    await slices.exchange(
        [
            RateAsk(tenant="t", limit="requests_per_s", rate=2.0, capacity=4.0, balance=0.0, want=1.0),
            BudgetAsk(tenant="t", limit="usd_per_day", period="2027-01-15", budget=1.0, spent=0.0, want=0.1),
            BudgetAsk(tenant="t", limit="usd_per_month", period="2027-01", budget=1.0, spent=0.0, want=0.1),
        ]
    )
    keys = Keys("n")
    names = (keys.rate("t", "requests_per_s"), keys.budget("t", "2027-01-15"), keys.budget("t", "2027-01"))
    left = [await client.call("TTL", name, what="ttl") for name in names]

    assert left == pytest.approx([62, 2 * 86_400, 40 * 86_400], abs=2)


class Frozen:
    """A clock that stands still, as the server's nearly does during a test."""

    def monotonic(self) -> float:
        return 1.0

    def time(self) -> float:
        return 1.0


figures = st.sampled_from([0.0, 0.25, 1.0, 3.5, 9.0])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(st.tuples(st.integers(0, 2), figures, figures, figures, figures), max_size=20))
async def test_the_script_and_the_simulation_share_money_out_alike(
    client: StoreClient, asks: list[tuple[int, float, float, float, float]]
) -> None:
    """Whatever three replicas say of their spending, the script's answers are those of the simulation."""
    await client.call("FLUSHALL", what="begin anew")
    model = MemorySlices(Frozen())
    slices = [ValkeySlices(client, namespace="n", replica=f"r{n}") for n in range(3)]
    for which, spent, want, acknowledged, others in asks:
        ask = BudgetAsk(
            tenant="t",
            limit="usd_per_day",
            period="d",
            budget=10.0,
            spent=spent,
            want=spent + want,
            acknowledged=acknowledged,
            others=others,
        )
        (real,) = await slices[which].exchange([ask])
        (simulated,) = model.exchange(f"r{which}", [ask])
        assert isinstance(real, BudgetGrant)
        assert isinstance(simulated, BudgetGrant)
        assert (real.granted, real.total, real.free) == pytest.approx(
            (simulated.granted, simulated.total, simulated.free), abs=1e-6
        )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(st.tuples(st.integers(0, 2), figures, figures, figures, figures), max_size=20))
async def test_the_script_and_the_simulation_fill_alike(
    client: StoreClient, asks: list[tuple[int, float, float, float, float]]
) -> None:
    """Whatever three replicas ask of a slow bucket, the script grants what the simulation does, but for the seconds."""
    await client.call("FLUSHALL", what="begin anew")
    model = MemorySlices(Frozen())
    slices = [ValkeySlices(client, namespace="n", replica=f"r{n}") for n in range(3)]
    for which, balance, want, took, demand in asks:
        # A thousandth a second: what the test itself takes adds nothing that counts.
        ask = RateAsk(
            tenant="t",
            limit="requests_per_s",
            rate=0.001,
            capacity=20.0,
            balance=balance - 2.0,
            want=want,
            took=took,
            demand=demand / 1000.0,
        )
        (real,) = await slices[which].exchange([ask])
        (simulated,) = model.exchange(f"r{which}", [ask])
        assert isinstance(real, RateGrant)
        assert isinstance(simulated, RateGrant)
        assert real.amount == pytest.approx(simulated.amount, abs=0.01)


async def test_a_call_that_arrives_late_changes_nothing(client: StoreClient) -> None:
    """An older call of a replica, delayed on its way, neither takes back a grant nor gets one."""
    slices = ValkeySlices(client, namespace="n", replica="r")
    ask = BudgetAsk(tenant="t", limit="usd_per_day", period="d", budget=10.0, spent=1.0, want=5.0)
    rate = RateAsk(tenant="t", limit="requests_per_s", rate=10.0, capacity=10.0, balance=0.0, want=2.0, demand=5.0)
    await slices.exchange([ask, rate])
    await slices.exchange([ask, rate])
    slices._call = 0
    late = BudgetAsk(tenant="t", limit="usd_per_day", period="d", budget=10.0, spent=0.0, want=0.5)
    _, nothing = await slices.exchange([late, rate])
    slices._call = 10
    (grant,) = await slices.exchange([ask])

    assert nothing == RateGrant(amount=0.0)
    assert grant == BudgetGrant(granted=5.0, total=1.0, free=5.0)
