"""The snapshot on disk is whole or not there, and one that is damaged or foreign is named and ignored."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.clock import FakeClock, SystemClock
from router.domain.fleet import Backend, Health
from router.domain.pricing import Price, PriceBook, book_of
from router.domain.tenant import ApiKey, Tenant
from router.state.codec import PoliciesDocument, Tombstone
from router.state.fold import Draft, Held
from router.state.history import History, StoredRevision
from router.state.keys import POLICIES_ID, Kind, price_id
from router.state.snapshot_file import SnapshotFile
from router.state.snapshot_keeper import SnapshotKeeper

STORE = "0123456789abcdef"


def state(version: int = 9, *, name: str = "a", changes: bytes = b"[]") -> Held:
    draft = Draft(Held())
    draft.version, draft.config_version = version, version - 1
    draft.put(Kind.BACKEND, name, Backend(id=name, wire="w", address="http://x\n\r\u2028", models=(), version=2), 1.5)
    book = book_of(Price(backend=name, model="org/m", usd_per_hour=1.0))
    stored = PriceBook(backend=name, model="org/m", prices=book.prices, version=4, changed_at=2.25)
    draft.put(Kind.PRICE, price_id(name, "org/m"), stored, 2.25)
    draft.put(Kind.TENANT, "t", Tenant(id="t", keys=(ApiKey(id="k", sha256="0"),), version=1), 3.0)
    draft.put(Kind.HEALTH, name, Health(reason="slow", version=7), 4.0)
    draft.put(Kind.POLICIES, POLICIES_ID, PoliciesDocument("v: 1", 3), 5.0)
    draft.bury(Kind.BACKEND, "gone", Tombstone(5, 6.0))
    draft.history = History((StoredRevision(version - 1, "7.000000", "ann", "peer", "Apply", "why \u2028", changes),))
    return draft.done()


async def save(file: SnapshotFile, held: Held) -> None:
    keeper = SnapshotKeeper(file, clock=FakeClock(unix=42.0))
    keeper.note(held)
    assert await keeper.save()


async def test_a_state_survives_the_disk(tmp_path: Path) -> None:
    """Documents, tombstones, times, versions and history come back as they were, readable by the owner alone."""
    file = SnapshotFile(tmp_path / "state", STORE)
    assert file.read() is None
    await save(file, state())
    assert file.read() == (state(), 42.0)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


async def test_no_damage_goes_unnoticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With any byte changed, or the end cut off anywhere, the file is named in the log and nothing is taken from it."""
    file = SnapshotFile(tmp_path, STORE)
    await save(file, state())
    good = file.path.read_bytes()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, len(good) - 1), st.none() | st.integers(1, 255))
    def damage(position: int, flip: int | None) -> None:
        changed = b"" if flip is None else bytes([good[position] ^ flip]) + good[position + 1 :]
        bad = good[:position] + changed
        file.path.write_bytes(bad)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert file.read() is None
        assert str(file.path) in caplog.text

    damage()


async def test_the_file_of_another_store_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that was copied from another store or namespace is refused by what it says, not by its name."""
    theirs, ours = SnapshotFile(tmp_path, "f" * 16), SnapshotFile(tmp_path, STORE)
    await save(theirs, state())
    theirs.path.rename(ours.path)
    assert ours.read() is None
    assert "it is of another store or namespace" in caplog.text


async def test_the_newest_version_stays(tmp_path: Path) -> None:
    """Of replicas that share a file the one that is behind does not overwrite it; a damaged file gives way to any."""
    file = SnapshotFile(tmp_path, STORE)
    await save(file, state(9))
    await save(file, state(8))
    assert file.read() == (state(9), 42.0)
    await save(file, state(10))
    assert file.read() == (state(10), 42.0)
    file.path.write_bytes(file.path.read_bytes().replace(b'"version":10', b'"version":99', 1))
    await save(file, state(8))
    assert file.read() == (state(8), 42.0)


async def test_a_file_that_another_replica_writes_is_left_to_it(tmp_path: Path) -> None:
    """While the lock is held elsewhere nothing is written; a lock that nobody holds any more does not matter."""
    file = SnapshotFile(tmp_path, STORE)
    lock = os.open(file.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    keeper = SnapshotKeeper(file, clock=FakeClock(unix=42.0))
    keeper.note(state())
    assert not await keeper.save()
    assert file.read() is None
    os.close(lock)
    await save(file, state())
    assert file.read() is not None


async def test_a_crash_in_the_middle_of_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """What a writer left half done is not the file, and the next one writes over it."""
    file = SnapshotFile(tmp_path, STORE)
    await save(file, state(9))
    file.path.with_suffix(".new").write_bytes(b"half a fi")
    assert file.read() == (state(9), 42.0)
    await save(file, state(10))
    assert file.read() == (state(10), 42.0)
    assert not file.path.with_suffix(".new").exists()


async def test_a_disk_that_does_not_take_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Failing writes cost one line in the log, and the state is written when the disk works again."""
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory should be")
    file = SnapshotFile(blocked, STORE)
    keeper = SnapshotKeeper(file, clock=FakeClock(unix=42.0))
    keeper.note(state())
    assert not await keeper.save()
    assert not await keeper.save()
    assert caplog.text.count("cannot be written") == 1
    blocked.unlink()
    assert await keeper.save()
    assert file.read() == (state(), 42.0)


async def test_only_the_last_of_many_states_is_written(tmp_path: Path) -> None:
    """However often the state changes, the file is written once at first and once at the end of the interval."""
    file = SnapshotFile(tmp_path, STORE)
    keeper = SnapshotKeeper(file, clock=SystemClock(), interval_s=60.0)
    task = asyncio.create_task(keeper.run())
    keeper.note(state(9))
    async with asyncio.timeout(5):
        while file.read() is None:
            await asyncio.sleep(0.01)
    for version in range(10, 20):
        keeper.note(state(version))
        await asyncio.sleep(0)
    assert (file.read() or (None,))[0] == state(9)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await keeper.aclose()
    assert (file.read() or (None,))[0] == state(19)


async def test_a_document_that_cannot_be_read_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad line costs one document; an unreadable revision costs itself and those before it."""
    file = SnapshotFile(tmp_path, STORE)
    draft = Draft(state())
    # A kind of policies that no version writes, and changes that are no JSON.
    draft.put(Kind.TENANT, "u", Tenant(id="v", version=1), 1.0)
    broken = StoredRevision(20, "8.000000", "", "", "", "", b"not json")
    whole = StoredRevision(21, "9.000000", "", "", "", "", b"[\n]")
    draft.history = draft.history.extended([broken, whole])
    await save(file, draft.done())
    read = file.read()
    assert read is not None
    assert set(read[0].snapshot.tenants) == {"t"}
    assert [revision.version for revision in read[0].history.revisions] == [21]
    assert "it calls itself 'v'" in caplog.text
