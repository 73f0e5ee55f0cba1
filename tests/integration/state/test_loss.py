"""Stores that lose what they had, under several replicas: nothing that was confirmed is lost, and nothing goes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from router.clock import FakeClock, SystemClock
from router.domain.audit import Author
from router.domain.fleet import Backend, Health
from router.domain.tenant import Tenant
from router.errors import RouterError, StoreUnavailable
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.fold import Held
from router.state.keys import REBUILD_JUMP, TOMBSTONE_S, Keys
from router.state.runtime import State, end_task
from router.state.store import SeedDocuments, ValkeyStore, Write
from router.state.sync import FleetSync
from router.state.view import FleetView, StoreMode

MakeBackend = Callable[..., Backend]
StartReplica = Callable[..., Awaitable[State]]
ANN = Author(actor="ann")


@dataclass
class Replica:
    """A replica that can be cut off from its store and let back to it."""

    store: ValkeyStore
    clock: FakeClock | SystemClock = field(default_factory=SystemClock)
    seed: SeedDocuments | None = None
    held: list[Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.view = FleetView()
        self.sync = FleetSync(
            self.store, self.view, clock=self.clock, replica_id="r", seed=self.seed, on_held=self.held.append
        )
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        self._task = asyncio.create_task(self.sync.run())
        async with asyncio.timeout(5):
            await self.view.wait_connected(connected=True)

    async def part(self) -> None:
        if self._task is not None:
            await end_task(self._task)


@pytest.fixture
async def client(valkey: EmbeddedValkey) -> AsyncIterator[StoreClient]:
    client = StoreClient.connect(valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
async def make_replica(valkey: EmbeddedValkey) -> AsyncIterator[Callable[..., Replica]]:
    made: list[Replica] = []

    def make(**fields: object) -> Replica:
        replica = Replica(ValkeyStore.connect(valkey.url), **fields)  # type: ignore[arg-type]  # a test's own keywords
        made.append(replica)
        return replica

    yield make
    for replica in made:
        await replica.part()
        await replica.store.aclose()


async def settled(store: ValkeyStore) -> None:
    """Until the store takes writes again."""
    async with asyncio.timeout(10):
        while True:
            try:
                await store.apply([Write.of(Tenant(id="probe"))], expected_config_version=None, author=ANN)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_confirmed_write_outlives_a_wipe_in_the_next_moment(
    start_replica: StartReplica, client: StoreClient, make_backend: MakeBackend
) -> None:
    """Twenty times: write, wait until it is confirmed, wipe. Each write and each revision is there afterwards."""
    writer, other = await start_replica(), await start_replica()
    revisions: list[int] = []
    for version in range(20):
        while True:
            try:
                _, fleet = await writer.store.put_backend(
                    make_backend("a", region=str(version)), expected_version=version, author=ANN
                )
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        await writer.view.confirmed(fleet)
        revisions.append(fleet)
        if version % 5 == 4:
            await client.call("FLUSHALL", what="wipe")
    async with asyncio.timeout(10):
        while (await other.store.load()).snapshot.backends.get("a") != writer.view.snapshot.backends["a"]:
            await asyncio.sleep(0.05)
    held = await other.store.load()
    assert (held.snapshot.backends["a"].version, held.snapshot.backends["a"].region) == (20, "19")
    async with asyncio.timeout(10):
        while [r.version for r in (await other.store.load()).history.revisions] != revisions:
            await asyncio.sleep(0.05)
    assert await other.view.wait_for(lambda s: s == writer.view.snapshot, timeout_s=5)


async def test_a_write_that_its_replica_does_not_see_is_not_confirmed(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """A store that is wiped and rebuilt between a write and its reading is past its version, but has not got it."""
    replica = make_replica(seed=SeedDocuments(policies_yaml="v: 1"))
    await replica.join()
    await replica.part()
    _, fleet = await replica.store.put_backend(make_backend("a"), expected_version=0, author=ANN)
    await client.call("FLUSHALL", what="wipe")
    await replica.join()
    assert await replica.view.wait_version(fleet, timeout_s=5)
    with pytest.raises(StoreUnavailable, match="not confirmed"):
        await replica.view.confirmed(fleet, timeout_s=0.3)
    assert replica.view.snapshot.policies_yaml == "v: 1"


async def test_two_replicas_that_restore_different_sets_give_all_of_both(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """Each held some documents newer than the other; after a wipe the newest of each is there, and all agree."""
    first, second = make_replica(), make_replica()
    writer = make_replica()
    await writer.join()
    await first.join()
    for name in ("a", "b"):
        await writer.store.put_backend(make_backend(name), expected_version=0, author=ANN)
    _, known = await writer.store.put_backend(make_backend("a", region="first"), expected_version=1, author=ANN)
    assert await first.view.wait_version(known, timeout_s=5)
    await first.part()
    await second.join()
    await writer.store.remove_backend("b", expected_version=1, author=ANN)
    _, newest = await writer.store.put_backend(make_backend("c"), expected_version=0, author=ANN)
    assert await second.view.wait_version(newest, timeout_s=5)
    await second.part()
    await writer.part()
    history = (await writer.store.load()).history
    await client.call("FLUSHALL", what="wipe")
    await asyncio.gather(first.join(), second.join())
    await settled(first.store)
    async with asyncio.timeout(5):
        while first.view.snapshot != second.view.snapshot or "probe" not in first.view.snapshot.tenants:
            await asyncio.sleep(0.02)
    snapshot = (await second.store.load()).snapshot
    assert snapshot.version > newest + REBUILD_JUMP
    assert {backend.id: (backend.version, backend.region) for backend in snapshot.backends.values()} == {
        "a": (2, "first"),
        "c": (1, ""),
    }
    revisions = await first.store.history(before=snapshot.config_version, limit=100)
    assert [r.version for r in reversed(revisions)] == [r.version for r in history.revisions]


async def test_a_replica_behind_a_store_that_went_on_brings_only_what_is_newer(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """Cut off while the store was wiped, restored and written to, it brings back what was confirmed, and no more."""
    cut_off, other = make_replica(), make_replica()
    await cut_off.join()
    await other.join()
    for name in ("a", "b"):
        _, both = await other.store.put_backend(make_backend(name, region="old"), expected_version=0, author=ANN)
    assert await cut_off.view.wait_version(both, timeout_s=5)
    assert await other.view.wait_version(both, timeout_s=5)
    await other.part()
    _, fleet = await cut_off.store.put_backend(make_backend("a", region="confirmed"), expected_version=1, author=ANN)
    await cut_off.view.confirmed(fleet)
    await cut_off.part()
    await client.call("FLUSHALL", what="wipe")
    await other.join()
    await settled(other.store)
    await other.store.put_backend(make_backend("b", region="went on"), expected_version=1, author=ANN)
    await cut_off.join()
    assert await cut_off.view.wait_for(lambda s: s.backends["b"].region == "went on", timeout_s=5)
    assert await other.view.wait_for(lambda s: s.backends["a"].region == "confirmed", timeout_s=5)
    assert (await other.store.revision(fleet)).version == fleet


async def test_a_store_that_went_back_takes_no_write_before_it_is_restored(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """A new primary that lacks the last writes refuses whoever has seen them, also for health, and then for a while."""
    replica = make_replica()
    await replica.join()
    _, first = await replica.store.put_backend(make_backend("a"), expected_version=0, author=ANN)
    await client.call("COPY", "{router}:backend", "{router}:old", what="keep")
    _, second = await replica.store.put_backend(make_backend("a", region="eu"), expected_version=1, author=ANN)
    await replica.view.confirmed(second)
    await replica.part()
    # As a server's replica that had only the first of the two.
    await client.call("COPY", "{router}:old", "{router}:backend", "REPLACE", what="go back")
    await client.call("SET", "{router}:version", first, what="go back")
    await client.call("XTRIM", "{router}:changes", "MAXLEN", 0, what="go back")
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: replica.store.put_backend(make_backend("a", region="us"), expected_version=1, author=ANN),
        lambda: replica.store.remove_backend("a", expected_version=1, author=ANN),
        lambda: replica.store.apply([Write.of(make_backend("z"))], expected_config_version=None, author=ANN),
        lambda: replica.store.put_health("a", Health(), expected_version=0, actor="r"),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match="it has lost changes"):
            await call()
    await replica.join()
    for call in calls[:3]:
        with pytest.raises(StoreUnavailable, match="is being rebuilt"):
            await call()
    assert (await replica.store.get_backend("a")).region == "eu"
    assert replica.view.mode is StoreMode.CONNECTED
    await settled(replica.store)
    await replica.store.put_backend(make_backend("a", region="us"), expected_version=2, author=ANN)


async def test_a_version_that_was_answered_but_is_gone_does_not_stop_writes(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """When a store lost a write that no replica had seen, it goes on beyond it, and that write is not confirmed."""
    replica = make_replica(seed=SeedDocuments(policies_yaml="v: 1"))
    await replica.join()
    await replica.part()
    _, fleet = await replica.store.put_backend(make_backend("a"), expected_version=0, author=ANN)
    await client.call("HDEL", "{router}:backend", "a", what="lose")
    await client.call("SET", "{router}:version", fleet - 1, what="lose")
    await client.call("XTRIM", "{router}:changes", "MAXLEN", 0, what="lose")
    await client.call("DEL", "{router}:history", "{router}:history-sizes", what="lose")
    await replica.join()
    await settled(replica.store)
    assert replica.view.snapshot.version > fleet
    with pytest.raises(StoreUnavailable, match="not confirmed"):
        await replica.view.confirmed(fleet, timeout_s=0.2)


async def test_a_seed_into_a_wiped_store_gives_way(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """A new replica that finds the store empty before the others do seeds it; what they held holds all the same."""
    old = make_replica()
    await old.join()
    await old.store.put_backend(make_backend("a", region="by ann"), expected_version=0, author=ANN)
    await old.store.put_backend(make_backend("b"), expected_version=0, author=ANN)
    gone = await old.store.remove_backend("b", expected_version=1, author=ANN)
    await old.view.confirmed(gone)
    await old.part()
    await client.call("FLUSHALL", what="wipe")
    seed = SeedDocuments(backends=tuple(make_backend(name, region="seed") for name in ("a", "b", "c")))
    new = make_replica(seed=seed)
    await new.join()
    assert len(new.view.snapshot.backends) == 3
    await old.join()
    for replica in (old, new):
        assert await replica.view.wait_for(lambda s: "b" not in s.backends and "c" in s.backends, timeout_s=5)
        assert await replica.view.wait_for(lambda s: s.backends["a"].region == "by ann", timeout_s=5)


async def test_a_new_replica_waits_for_a_store_that_is_being_rebuilt(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """Half of a fleet is not served by one that does not know the other half."""
    await client.call("SET", Keys("router").rebuilding, "1", "PX", 400, what="rebuild")
    replica = make_replica(seed=SeedDocuments(backends=(make_backend("a"),)))
    modes: list[StoreMode] = []
    replica.view.on_mode(modes.append)
    await replica.join()
    assert modes == [StoreMode.REBUILDING, StoreMode.CONNECTED]
    assert set(replica.view.snapshot.backends) == {"a"}


async def test_a_history_that_alone_was_lost_comes_back(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """A replica whose documents are all there still brings the revisions that the store has not got."""
    replica = make_replica()
    await replica.join()
    _, fleet = await replica.store.put_backend(make_backend("a"), expected_version=0, author=ANN)
    await replica.view.confirmed(fleet)
    await replica.part()
    await client.call("DEL", "{router}:history", "{router}:history-sizes", what="lose")
    await replica.join()
    assert (await replica.store.revision(fleet)).actor == "ann"
    assert (replica.sync.counters.restored, replica.sync.counters.restored_revisions) == (0, 1)


async def test_old_tombstones_are_dropped_but_for_configured_ones(
    make_replica: Callable[..., Replica], client: StoreClient, make_backend: MakeBackend
) -> None:
    """After a week the store and its replicas forget what was removed, unless the configuration would bring it back."""
    seed = SeedDocuments(backends=(make_backend("configured"),))
    replica = make_replica(seed=seed)
    await replica.join()
    await replica.store.put_backend(make_backend("other"), expected_version=0, author=ANN)
    for name in ("configured", "other"):
        fleet = await replica.store.remove_backend(name, expected_version=1, author=ANN)
    assert await replica.view.wait_version(fleet, timeout_s=5)
    await replica.part()
    for name in ("configured", "other"):
        old = '{"version":2,"at":1000.000000,"doc":null}'
        await client.call("HSET", "{router}:backend", name, old, what="age")
    await client.call("HSET", "{router}:tenant", "young", '{"version":2,"at":99999999999,"doc":null}', what="age")
    late = make_replica(seed=seed)
    await late.join()
    async with asyncio.timeout(5):
        while late.sync.counters.pruned == 0:
            await asyncio.sleep(0.02)
    held = await late.store.load()
    assert {name for _, name in held.tombstones} == {"configured", "young"}
    assert held.tombstones == late.held[-1].tombstones
    assert late.clock.time() - 1000.0 > TOMBSTONE_S


async def test_concurrent_writers_and_wipes_lose_nothing_that_was_confirmed(
    start_replica: StartReplica, client: StoreClient, make_backend: MakeBackend
) -> None:
    """Three writers through three replicas, while the store is wiped thrice: every confirmed write is there."""
    replicas = [await start_replica() for _ in range(3)]
    confirmed: dict[str, int] = {}
    stopping = asyncio.Event()

    async def write(state: State, name: str) -> None:
        while not stopping.is_set():
            try:
                known = state.view.snapshot.backends.get(name)
                written, fleet = await state.store.put_backend(
                    make_backend(name), expected_version=0 if known is None else known.version, author=ANN
                )
                await state.view.confirmed(fleet)
                assert written.version > confirmed.get(name, 0)
                confirmed[name] = written.version
            except RouterError:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for number, state in enumerate(replicas):
            group.create_task(write(state, f"b{number}"))
        for _ in range(3):
            before = dict(confirmed)
            async with asyncio.timeout(10):
                while any(confirmed.get(f"b{n}", 0) < before.get(f"b{n}", 0) + 3 for n in range(3)):
                    await asyncio.sleep(0.01)
            await client.call("FLUSHALL", what="wipe")
        stopping.set()
    await settled(replicas[0].store)
    held = await replicas[0].store.load()
    assert all(held.snapshot.backends[name].version >= version for name, version in confirmed.items())
    for replica in replicas:
        assert await replica.view.wait_for(lambda s: s.backends == held.snapshot.backends, timeout_s=5)
