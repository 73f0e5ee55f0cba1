"""Starts while the store is away or empty: from the snapshot on disk, and reconciled when the store is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from router.clock import SystemClock
from router.domain.audit import Author
from router.domain.fleet import Backend
from router.domain.snapshot import FleetSnapshot
from router.errors import StoreUnavailable
from router.state.connection import store_identity
from router.state.embedded import EmbeddedValkey
from router.state.keys import REBUILD_JUMP, TOMBSTONE_S
from router.state.runtime import State, open_state
from router.state.snapshot_file import SnapshotFile
from router.state.snapshot_keeper import SnapshotKeeper
from router.state.store import SeedDocuments
from router.state.sync import DISK_AFTER_S
from router.state.view import FleetView, StoreMode

MakeBackend = Callable[..., Backend]
ANN = Author(actor="ann")


@asynccontextmanager
async def running(
    valkey: EmbeddedValkey, directory: Path, seed: SeedDocuments | None = None, view: FleetView | None = None
) -> AsyncIterator[State]:
    opening = open_state(
        valkey.url, view=view or FleetView(), clock=SystemClock(), replica_id="r", seed=seed, state_dir=directory
    )
    async with opening as state:
        yield state


async def loaded(state: State) -> FleetSnapshot:
    async with asyncio.timeout(5):
        await state.view.wait_loaded()
    return state.view.snapshot


@pytest.fixture
async def earlier(valkey: EmbeddedValkey, tmp_path: Path, make_backend: MakeBackend) -> FleetSnapshot:
    """What an earlier run left in the store and on disk."""
    seed = SeedDocuments(backends=(make_backend("a"), make_backend("b")), policies_yaml="v: 1")
    async with running(valkey, tmp_path, seed) as state:
        await loaded(state)
        await state.store.put_backend(make_backend("a", region="by ann"), expected_version=1, author=ANN)
        fleet = await state.store.remove_backend("b", expected_version=1, author=ANN)
        await state.view.confirmed(fleet)
        return state.view.snapshot


async def test_a_start_without_the_store_serves_from_disk(
    valkey: EmbeddedValkey, tmp_path: Path, earlier: FleetSnapshot, make_backend: MakeBackend
) -> None:
    """After about a second the last good fleet is served, and admins are refused; the store's return is taken up."""
    os.kill(valkey.pid, signal.SIGSTOP)
    began = SystemClock().monotonic()
    async with running(valkey, tmp_path, SeedDocuments(backends=(make_backend("c"),))) as state:
        try:
            assert not state.view.loaded
            assert await loaded(state) == earlier
            assert DISK_AFTER_S * 0.9 < SystemClock().monotonic() - began < DISK_AFTER_S + 1.0
            assert (state.view.mode, state.view.connected) == (StoreMode.FROM_DISK, False)
            with pytest.raises(StoreUnavailable):
                await state.store.put_backend(make_backend("x"), expected_version=0, author=ANN)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        assert await state.view.wait_for(lambda s: "c" in s.backends, timeout_s=5)
        assert (state.view.mode, state.sync.counters.restored) == (StoreMode.CONNECTED, 0)
        assert state.view.snapshot.backends["a"] == earlier.backends["a"]


async def test_a_store_that_was_wiped_while_nobody_ran_is_rebuilt_from_disk(
    valkey: EmbeddedValkey, tmp_path: Path, earlier: FleetSnapshot, make_backend: MakeBackend
) -> None:
    """The start restores it, and seeds only what never existed: neither the changed nor the removed backend."""
    await valkey.restart()
    seed = SeedDocuments(backends=tuple(make_backend(name, region="config") for name in ("a", "b", "c")))
    sizes: set[frozenset[str]] = set()
    view = FleetView()
    view.on_change(lambda snapshot: sizes.add(frozenset(snapshot.backends)))
    async with running(valkey, tmp_path, seed, view) as state:
        snapshot = await loaded(state)
        assert {b.id: b.region for b in snapshot.backends.values()} == {"a": "by ann", "c": "config"}
        assert snapshot.version > earlier.version + REBUILD_JUMP
        assert state.sync.seed_report is not None
        assert state.sync.seed_report.written == ("backend c",)
        newest, *older = await state.store.history(before=0, limit=10)
        assert (newest.action, [r.version for r in older]) == ("Seed", [5, 4, 3])
    assert sizes == {frozenset({"a", "c"})}


async def test_a_store_that_went_on_is_believed(
    valkey: EmbeddedValkey, tmp_path: Path, earlier: FleetSnapshot, make_backend: MakeBackend
) -> None:
    """A snapshot on disk that is older than the store changes nothing in it, and is replaced by what is read."""
    async with running(valkey, tmp_path / "another machine") as other:
        await loaded(other)
        await other.store.put_backend(make_backend("a", region="later"), expected_version=2, author=ANN)
    async with running(valkey, tmp_path) as state:
        assert (await loaded(state)).backends["a"].region == "later"
        assert state.sync.counters.restored == 0
        identity = state.identity
    read = SnapshotFile(tmp_path, identity).read()
    assert read is not None
    assert read[0].snapshot.backends["a"].region == "later"
    assert read[0].snapshot.version > earlier.version


async def test_a_snapshot_from_weeks_ago_brings_nothing_back_to_a_store_that_lives(
    valkey: EmbeddedValkey, tmp_path: Path, earlier: FleetSnapshot
) -> None:
    """What such a store does not have was removed so long ago that no tombstone tells; a wiped one gets it all."""
    async with running(valkey, tmp_path) as state:
        await loaded(state)
        await state.store.remove_backend("a", expected_version=2, author=ANN)
        await state.client.call("HDEL", "{router}:backend", "a", what="forget")
        identity = state.identity
    file = SnapshotFile(tmp_path / "old", identity)
    read = SnapshotFile(tmp_path, identity).read()
    assert read is not None
    held = replace(read[0], snapshot=replace(earlier, version=earlier.version), tombstones={})
    keeper = SnapshotKeeper(file, clock=SystemClock())
    keeper.note(held)
    body = await keeper.body(held)
    file.write(body, saved_at=SystemClock().time() - TOMBSTONE_S - 60)
    async with running(valkey, tmp_path / "old") as state:
        assert (await loaded(state)).backends == {}
    file.path.unlink()
    file.write(body, saved_at=SystemClock().time() - TOMBSTONE_S - 60)
    await valkey.restart()
    async with running(valkey, tmp_path / "old") as state:
        assert set((await loaded(state)).backends) == {"a"}


async def test_a_damaged_snapshot_is_as_none(
    valkey: EmbeddedValkey,
    tmp_path: Path,
    earlier: FleetSnapshot,
    make_backend: MakeBackend,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is named, and the start goes on with the store or the configuration, and writes a good one."""
    assert "a" in earlier.backends
    path = SnapshotFile(tmp_path, store_identity(valkey.url, "router")).path
    path.write_bytes(path.read_bytes()[:-7])
    await valkey.restart()
    async with running(valkey, tmp_path, SeedDocuments(backends=(make_backend("c"),))) as state:
        assert set((await loaded(state)).backends) == {"c"}
        identity = state.identity
    assert f"{path} is not used: its checksum is wrong" in caplog.text
    read = SnapshotFile(tmp_path, identity).read()
    assert read is not None
    assert set(read[0].snapshot.backends) == {"c"}


async def test_our_own_store_has_no_snapshot(tmp_path: Path, make_backend: MakeBackend) -> None:
    """Without REDIS_URL every start is that of the configuration files, and nothing is left on disk."""
    seed = SeedDocuments(backends=(make_backend("a"),))
    opening = open_state(
        None, view=FleetView(), clock=SystemClock(), replica_id="r", seed=seed, state_dir=tmp_path / "state"
    )
    async with opening as state:
        assert set((await loaded(state)).backends) == {"a"}
    assert not (tmp_path / "state").exists()
