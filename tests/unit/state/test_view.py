"""What readers see of the snapshot: its age, its connection, its changes."""

from __future__ import annotations

import asyncio
import logging
import math

import pytest

from router.clock import FakeClock
from router.domain.snapshot import FleetSnapshot
from router.errors import StoreUnavailable
from router.state.view import FleetView, StoreMode


async def test_age_counts_from_the_last_contact() -> None:
    """The age is infinite before the first contact, nought at one, and grows while there is none."""
    clock, view = FakeClock(), FleetView()
    assert view.age_s(clock.monotonic()) == math.inf
    assert not view.connected
    view.contact(clock.monotonic())
    clock.advance(2.5)
    assert view.age_s(clock.monotonic()) == 2.5
    view.disconnect()
    assert not view.connected
    assert view.age_s(clock.monotonic()) == 2.5
    view.contact(clock.monotonic())
    assert view.connected
    assert view.age_s(clock.monotonic()) == 0


async def test_listeners_hear_every_snapshot_until_they_stop(caplog: pytest.LogCaptureFixture) -> None:
    """Each new snapshot reaches every listener; one that fails is logged and harms nobody; one that left hears none."""
    view = FleetView()
    heard: list[int] = []

    def fail(snapshot: FleetSnapshot) -> None:
        raise ZeroDivisionError(snapshot.version)

    view.on_change(fail)
    stop = view.on_change(lambda snapshot: heard.append(snapshot.version))
    assert not view.loaded
    view.publish(FleetSnapshot(version=1))
    stop()
    stop()
    view.publish(FleetSnapshot(version=2))
    assert view.loaded
    assert heard == [1]
    assert view.snapshot.version == 2
    assert "a listener failed on fleet version 1" in caplog.text


async def test_waiting_for_a_version() -> None:
    """A waiter goes on when its version is there, and is told when it does not come; it leaves no listener behind."""
    view = FleetView()
    assert await view.wait_version(0)
    assert not await view.wait_version(1, timeout_s=0)
    waiting = asyncio.create_task(view.wait_version(3, timeout_s=5))
    await asyncio.sleep(0)
    view.publish(FleetSnapshot(version=2))
    view.publish(FleetSnapshot(version=3))
    assert await waiting
    assert view._callbacks == []


async def test_the_mode_says_what_is_served_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """Each change of mode is one line in the log and one call, and says since when it is so."""
    clock = FakeClock()
    view = FleetView(clock)
    heard: list[StoreMode] = []
    stop = view.on_mode(heard.append)
    assert view.mode is StoreMode.EMPTY
    view.disconnect("refused")
    assert view.mode is StoreMode.EMPTY
    view.publish_from_disk(FleetSnapshot(version=3), "no answer")
    view.disconnect("refused again")
    assert (view.mode, view.loaded, view.connected) == (StoreMode.FROM_DISK, True, False)
    clock.advance(4.0)
    assert view.mode_age_s(clock.monotonic()) == 4.0
    caplog.clear()
    with caplog.at_level(logging.INFO):
        view.contact(clock.monotonic())
        view.contact(clock.monotonic())
        view.disconnect("it was killed")
        view.disconnect("it is still dead")
        view.rebuilding("it lost data")
        view.contact(clock.monotonic())
    assert [record.getMessage() for record in caplog.records] == [
        "state store: connected, after 4.0 s from disk; serving fleet version 3",
        "state store: away, after 0.0 s connected; serving fleet version 3: it was killed",
        "state store: rebuilding, after 0.0 s away; serving fleet version 3: it lost data",
        "state store: connected, after 0.0 s rebuilding; serving fleet version 3",
    ]
    stop()
    view.disconnect()
    modes = [StoreMode.FROM_DISK, StoreMode.CONNECTED, StoreMode.AWAY, StoreMode.REBUILDING, StoreMode.CONNECTED]
    assert heard == modes


async def test_a_listener_of_modes_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The others hear of the mode all the same."""
    view = FleetView(FakeClock())
    heard: list[StoreMode] = []

    def fail(mode: StoreMode) -> None:
        raise ZeroDivisionError(mode)

    view.on_mode(fail)
    view.on_mode(heard.append)
    view.contact(0.0)
    assert heard == [StoreMode.CONNECTED]
    assert "a listener failed on the mode connected" in caplog.text


async def test_a_write_is_confirmed_when_its_change_and_its_revision_are_here() -> None:
    """Neither the version alone, which a rebuilt store is past as well, nor the revision alone is enough."""
    view = FleetView()
    view.contact(0.0)
    waiting = asyncio.create_task(view.confirmed(5, timeout_s=5))
    view.publish(FleetSnapshot(version=100))
    await asyncio.sleep(0)
    assert not waiting.done()
    view.hold([4, 5])
    await waiting
    view.hold([200])
    with pytest.raises(StoreUnavailable, match="fleet version 200, but not confirmed: it has not come back in 0 s"):
        await view.confirmed(200, timeout_s=0)


async def test_a_write_is_not_confirmed_when_the_store_goes_away() -> None:
    """Whoever waits is told at once, with the version, and so is whoever asks then."""
    view = FleetView()
    view.contact(0.0)
    waiting = asyncio.create_task(view.confirmed(5, timeout_s=60))
    await asyncio.sleep(0)
    view.disconnect("killed")
    with pytest.raises(StoreUnavailable, match="written at fleet version 5, but not confirmed: the state store went"):
        await waiting
    with pytest.raises(StoreUnavailable, match="not confirmed"):
        await view.confirmed(6)
    view.publish(FleetSnapshot(version=5))
    view.hold([5])
    await view.confirmed(5)
