"""Backends in this process that write down when they were probed: whether somebody still looks after each of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from bench.upstream import Upstream

HOST = "127.0.0.1"


@dataclass(slots=True)
class Probed:
    """Addresses (host:port) of so many backends, and the times of every question that is no generation."""

    addresses: list[str] = field(default_factory=list)
    times: list[list[float]] = field(default_factory=list)

    def longest_gap(self, after: float, before: float) -> float:
        """The longest that any backend went unasked in this time."""
        return max(
            later - sooner
            for times in self.times
            for sooner, later in pairwise([after, *(at for at in times if after < at < before), before])
        )


class _Connection(Upstream):
    def __init__(self, times: list[float]) -> None:
        super().__init__()
        self._times = times

    def on_message_complete(self) -> None:
        if not self._url.endswith(b"/completions"):
            self._times.append(time.perf_counter())
        super().on_message_complete()


@asynccontextmanager
async def probed(count: int) -> AsyncGenerator[Probed]:
    """So many backends, each on a port of its own."""
    found = Probed()
    async with AsyncExitStack() as stack:
        for _ in range(count):
            times: list[float] = []
            server = await asyncio.get_running_loop().create_server(partial(_Connection, times), HOST, 0)
            stack.callback(server.close)
            found.times.append(times)
            found.addresses.append(f"{HOST}:{server.sockets[0].getsockname()[1]}")
        yield found
