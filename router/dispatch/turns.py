"""Long work on the loop in turns: others get it in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

# Looked at before others get the loop: fleets may have thousands of backends.
AT_ONCE = 200
T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a pause for others after some."""
    for position, item in enumerate(items, start=1):
        yield item
        if position % AT_ONCE == 0:
            await asyncio.sleep(0)
