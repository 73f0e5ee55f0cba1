"""The time of a call: exact while the loop runs, and not taken up by what kept the loop from running."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.state.bound import Bound

LIMIT_S = 0.1


def stand_still(seconds: float) -> None:
    """As a busy machine, or long work, keeps the loop from running."""
    time.sleep(seconds)


async def test_it_ends_at_its_time() -> None:
    """Neither much earlier nor later when nothing else keeps the loop."""

    async def call() -> None:
        async with Bound(LIMIT_S) as bound:
            assert LIMIT_S / 2 < bound.left_s <= LIMIT_S
            await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await call()
    assert LIMIT_S <= time.monotonic() - began < LIMIT_S + 0.5


async def test_what_came_while_the_loop_stood_still_is_heard() -> None:
    """An answer that needs some turns of the loop to be read is read, although the time passed in the turn before."""
    async with Bound(LIMIT_S):
        stand_still(2 * LIMIT_S)
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_loop_that_often_stands_still_does_not_wait_for_ever() -> None:
    """Every slice may be late, and there are only so many."""
    turns = 0

    async def call() -> None:
        nonlocal turns
        async with Bound(LIMIT_S):
            while turns < 100:
                turns += 1
                stand_still(LIMIT_S)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await call()
    assert turns < 20


async def test_it_is_gone_when_the_call_ends() -> None:
    """Nothing is called away later, and another failure passes as it is."""
    with pytest.raises(KeyError):
        async with Bound(LIMIT_S):
            raise KeyError
    async with Bound(LIMIT_S):
        pass
    await asyncio.sleep(1.5 * LIMIT_S)
