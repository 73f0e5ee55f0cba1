"""The watchdog of an attempt's waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.clock import SystemClock
from router.dispatch.watchdog import Watchdog

CLOCK = SystemClock()


def watchdog(seconds: float) -> Watchdog:
    return Watchdog(CLOCK, CLOCK.monotonic() + seconds)


async def test_a_wait_beyond_the_limit_is_ended() -> None:
    """The awaited thing is cancelled, the waiter gets TimeoutError and is not cancelled itself."""
    guard = watchdog(0.02)
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await guard.wait(never)
    assert never.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_limit_moves_both_ways() -> None:
    """A later limit lets a wait go on, an earlier one ends it earlier than the timer that was armed."""
    guard = watchdog(0.02)
    guard.move(CLOCK.monotonic() + 30.0)
    assert await guard.wait(asyncio.sleep(0.04, "done")) == "done"
    guard.move(CLOCK.monotonic() + 0.02)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await guard.wait(asyncio.sleep(30.0))
    assert time.monotonic() - started < 5.0


async def test_time_outside_a_wait_is_not_interrupted() -> None:
    """A limit that passes while nobody waits ends the next wait, and nothing else."""
    guard = watchdog(0.01)
    await asyncio.sleep(0.03)
    with pytest.raises(TimeoutError):
        await guard.wait(asyncio.sleep(30.0))


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Cancelling the waiter is never mistaken for the limit."""
    guard = watchdog(30.0)
    task = asyncio.create_task(guard.wait(asyncio.sleep(30.0)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    guard.close()


async def test_a_closed_watchdog_ends_nothing() -> None:
    """After close the timer is gone."""
    guard = watchdog(0.01)
    guard.close()
    assert await guard.wait(asyncio.sleep(0.03, "done")) == "done"
