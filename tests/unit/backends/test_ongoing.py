"""A closing adapter waits for its answers, and no longer than it may."""

from __future__ import annotations

import asyncio

from backends.ongoing import Ongoing


async def test_closing_waits_for_the_last_answer() -> None:
    """Also where one of them fails."""
    ongoing = Ongoing()
    go_on = [asyncio.Event(), asyncio.Event()]

    async def answer(event: asyncio.Event, *, fails: bool) -> None:
        with ongoing:
            await event.wait()
            if fails:
                raise ValueError

    answers = [
        asyncio.create_task(answer(event, fails=fails)) for event, fails in zip(go_on, (True, False), strict=True)
    ]
    await asyncio.sleep(0)
    closing = asyncio.create_task(ongoing.ended(within_s=5.0))
    go_on[0].set()
    await asyncio.wait(answers[:1])
    assert isinstance(answers[0].exception(), ValueError)
    assert not closing.done()
    go_on[1].set()
    await asyncio.wait_for(closing, 1.0)
    assert answers[1].done()


async def test_closing_waits_no_longer_than_it_may() -> None:
    """An answer that never ends keeps nobody; where there is none, nothing is waited for."""
    ongoing = Ongoing()
    await ongoing.ended(within_s=0.0)
    with ongoing:
        await ongoing.ended(within_s=0.0)
