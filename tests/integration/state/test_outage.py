"""The store frozen, killed and wiped: callers are answered in time, the fleet is served on, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from router.clock import SystemClock
from router.domain.audit import Author
from router.domain.fleet import Backend, Health
from router.domain.pricing import Price, book_of
from router.errors import StoreUnavailable
from router.state.connection import open_client
from router.state.embedded import EmbeddedValkey
from router.state.keys import REBUILD_S
from router.state.runtime import State, open_state
from router.state.store import SeedDocuments, ValkeyStore
from router.state.view import FleetView

MakeBackend = Callable[..., Backend]
StartReplica = Callable[..., Awaitable[State]]


@contextmanager
def frozen(valkey: EmbeddedValkey) -> Iterator[None]:
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


async def test_calls_on_a_frozen_store_fail_within_a_second(
    store: ValkeyStore, valkey: EmbeddedValkey, make_backend: MakeBackend
) -> None:
    """Every kind of call on a silent server ends with StoreUnavailable in about a second, connected or not."""
    await store.put_backend(make_backend(), expected_version=0, author=Author(actor="a"))
    fresh = ValkeyStore.connect(valkey.url)
    with frozen(valkey):
        for one in (store, fresh):
            calls: tuple[Awaitable[object], ...] = (
                one.ping(),
                one.version(),
                one.get_backend("h100"),
                one.put_backend(make_backend(), expected_version=1, author=Author(actor="a")),
                one.set_drained("h100", drained=True, expected_version=1, author=Author(actor="a")),
                one.put_price(
                    book_of(Price(backend="h100", usd_per_hour=1.0)), expected_version=0, author=Author(actor="a")
                ),
                one.put_policies("a: 1", expected_version=0, author=Author(actor="a")),
                one.put_health("h100", Health(), expected_version=0, actor="a"),
                one.remove_backend("h100", expected_version=1, author=Author(actor="a")),
                one.changes(after=0, limit=10),
                one.changes(after=9, limit=10, block_s=0.25),
            )
            began = time.monotonic()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began < 1.2
            assert [type(answer) for answer in answers] == [StoreUnavailable] * len(calls)
    async with asyncio.timeout(5):
        await store.ping()
        await fresh.ping()
    await fresh.aclose()


async def test_forty_callers_of_a_frozen_store_are_all_answered_in_time(
    store: ValkeyStore, valkey: EmbeddedValkey
) -> None:
    """More callers than connections do not wait longer: the bound holds for the whole of a call."""
    await store.ping()
    with frozen(valkey):
        began = time.monotonic()
        answers = await asyncio.gather(*(store.ping() for _ in range(40)), return_exceptions=True)
        assert time.monotonic() - began < 1.2
        assert {type(answer) for answer in answers} == {StoreUnavailable}


async def test_a_frozen_store_leaves_the_snapshot_and_its_age_grows(
    start_replica: StartReplica, valkey: EmbeddedValkey, make_backend: MakeBackend
) -> None:
    """While the store is frozen the last snapshot stays, the view says that it is old; afterwards it catches up."""
    first = await start_replica(SeedDocuments(backends=(make_backend("a"),)))
    second = await start_replica()
    before = second.view.snapshot
    clock = SystemClock()
    assert second.view.age_s(clock.monotonic()) < 0.5
    with frozen(valkey):
        began = clock.monotonic()
        async with asyncio.timeout(2):
            await second.view.wait_connected(connected=False)
        assert clock.monotonic() - began < 1.1
        assert second.view.snapshot is before
        young = second.view.age_s(clock.monotonic())
        await asyncio.sleep(0.3)  # real time has to pass for an age to grow
        assert second.view.age_s(clock.monotonic()) >= young + 0.29
    async with asyncio.timeout(2):
        await first.view.wait_connected(connected=True)
        await second.view.wait_connected(connected=True)
    _, fleet = await first.store.put_backend(make_backend("b"), expected_version=0, author=Author(actor="a"))
    assert await second.view.wait_version(fleet, timeout_s=2.0)
    assert set(second.view.snapshot.backends) == {"a", "b"}
    assert second.sync.counters.outages == 1
    assert second.view.age_s(clock.monotonic()) < 0.5


async def test_a_store_that_died_and_came_back_empty_is_rebuilt(
    start_replica: StartReplica, valkey: EmbeddedValkey, make_backend: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """After kill -9 and an empty restart replicas put everything back with its versions; none ever serves less."""
    replicas = [await start_replica(SeedDocuments(backends=(make_backend("a"), make_backend("b")))) for _ in range(2)]
    store = replicas[0].store
    await store.put_backend(make_backend("a", region="eu"), expected_version=1, author=Author(actor="admin"))
    await store.put_price(
        book_of(Price(backend="a", usd_per_hour=3.0)), expected_version=0, author=Author(actor="admin")
    )
    await store.put_policies("v: 9", expected_version=0, author=Author(actor="admin"))
    fleet = await store.remove_backend("b", expected_version=1, author=Author(actor="admin"))
    for replica in replicas:
        assert await replica.view.wait_version(fleet, timeout_s=2.0)
    before = replicas[0].view.snapshot
    sizes: list[int] = []
    for replica in replicas:
        replica.view.on_change(lambda snapshot: sizes.append(len(snapshot.backends)))
    os.kill(valkey.pid, signal.SIGKILL)
    for replica in replicas:
        async with asyncio.timeout(2):
            await replica.view.wait_connected(connected=False)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    await valkey.restart()
    for replica in replicas:
        assert await replica.view.wait_for(lambda s: s.version > fleet, timeout_s=5.0)
        assert replica.view.connected
    async with asyncio.timeout(5):
        await replicas[0].view.wait_version(replicas[1].view.snapshot.version)
        await replicas[1].view.wait_version(replicas[0].view.snapshot.version)
    after = (await store.load()).snapshot
    assert (after.backends, after.policies_yaml) == (before.backends, "v: 9")
    assert after.prices == before.prices
    assert after.policies_version == before.policies_version
    assert 0 not in sizes
    assert "the state store lost data" in caplog.text
    with pytest.raises(StoreUnavailable, match="being rebuilt") as refused:
        await store.put_backend(make_backend("b"), expected_version=2, author=Author(actor="admin"))
    assert 0 < (refused.value.retry_after_s or 0) <= REBUILD_S
    async with asyncio.timeout(5):
        while await store.rebuilding():
            await asyncio.sleep(0.05)
    written, _ = await store.put_backend(make_backend("b"), expected_version=2, author=Author(actor="admin"))
    assert written.version == 3
    late = await start_replica(SeedDocuments(backends=(make_backend("a", region="config"),)))
    assert late.view.snapshot.backends["a"].region == "eu"


async def test_a_store_wiped_under_a_live_connection_is_rebuilt(
    start_replica: StartReplica, valkey: EmbeddedValkey, make_backend: MakeBackend
) -> None:
    """FLUSHALL, which closes no connection, is noticed and undone just the same."""
    replica = await start_replica(SeedDocuments(backends=(make_backend("a"),), policies_yaml="v: 1"))
    client = open_client(valkey.url, timeout_s=1.0)
    await client.flushall()
    await client.aclose()
    assert await replica.view.wait_version(2 + 2, timeout_s=5.0)
    assert set((await replica.store.load()).snapshot.backends) == {"a"}
    assert replica.sync.counters.restored == 2


async def test_a_store_that_appears_late_is_seeded_and_followed(make_backend: MakeBackend) -> None:
    """A replica that starts before its store waits for it, without a fleet, and takes it up when it comes."""
    async with EmbeddedValkey() as valkey:
        os.kill(valkey.pid, signal.SIGKILL)
        seed = SeedDocuments(backends=(make_backend("a"),))
        async with open_state(valkey.url, view=FleetView(), clock=SystemClock(), replica_id="r", seed=seed) as state:
            with pytest.raises(StoreUnavailable):
                await state.store.ping()
            assert not state.view.loaded
            await valkey.restart()
            async with asyncio.timeout(5):
                await state.view.wait_loaded()
            assert set(state.view.snapshot.backends) == {"a"}


async def test_an_embedded_store_that_dies_is_started_again(make_backend: MakeBackend) -> None:
    """Without REDIS_URL the replica owns its server: when that is killed, it comes back with the same fleet."""
    seed = SeedDocuments(backends=(make_backend("a"),))
    async with open_state(None, view=FleetView(), clock=SystemClock(), replica_id="r", seed=seed) as state:
        async with asyncio.timeout(5):
            await state.view.wait_loaded()
        assert state.embedded is not None
        os.kill(state.embedded.pid, signal.SIGKILL)
        assert await state.view.wait_version(2, timeout_s=5.0)
        assert set((await state.store.load()).snapshot.backends) == {"a"}
