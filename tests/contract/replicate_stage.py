"""The two emulated servers of Replicate, and adapters that are bound to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from backends.contract import Backend, GenerateRequest, Message, Sampling
from simulation.wires.replicate import TOKEN, ReplicateServer
from tests.contract.emulated import Adapters, adapters

MODEL = "meta/llama-3-70b-instruct"
USER = Message(role="user", content="hello")
REQUEST = GenerateRequest(model=MODEL, messages=(USER,), sampling=Sampling(max_output_tokens=64))


class Stage:
    """The two servers, and adapters that are bound to them."""

    def __init__(self, server: ReplicateServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    def backend(self, **options: str) -> Backend:
        url = f"http://127.0.0.1:{self.server.port}"
        return self._made.bind("replicate", url, credential=True, options=options)

    async def cancelled(self) -> list[str]:
        """The predictions that were cancelled, once there is one."""
        async with asyncio.timeout(2):
            await self.server.cancellation()
        return list(self.server.cancelled)


@contextlib.asynccontextmanager
async def replicate_stage(transport: str) -> AsyncIterator[Stage]:
    server = ReplicateServer(MODEL)
    await server.start("127.0.0.1", 0)
    async with adapters(transport, secret=TOKEN) as made:
        yield Stage(server, made)
    await server.close()
