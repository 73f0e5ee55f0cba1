"""What readers see of the snapshot: its age, its connection, its changes."""

from __future__ import annotations

import asyncio
import math

import pytest

from router.clock import FakeClock
from router.domain.snapshot import FleetSnapshot
from router.state.view import FleetView


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
