"""Counts the answers that are being given, so that an adapter can be closed behind the last of them."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class Ongoing:
    """`with` it around each answer."""

    __slots__ = ("_count", "_idle")

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._count += 1
        self._idle.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def ended(self, *, within_s: float) -> None:
        """Returns when there is none, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
