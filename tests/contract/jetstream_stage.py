"""An emulated JetStream server, adapters that are bound to it, and what they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backends.contract import Backend, GenerateRequest, Message, Sampling
from simulation.wires.jetstream import JetStreamServer
from tests.contract.emulated import Adapters, adapters

USER = Message(role="user", content="What is the weather in Paris?")


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: JetStreamServer, made: Adapters) -> None:
        self.server = server
        self.made = made

    @property
    def last(self) -> Any:
        """The latest request as the server understood it."""
        return self.server.seen[-1]["request"]

    def backend(self, *, scheme: str = "grpc", credential: bool = False, **options: str) -> Backend:
        url = f"{scheme}://127.0.0.1:{self.server.port}"
        return self.made.bind("jetstream", url, credential=credential, options={"chat_template": "gemma", **options})


@asynccontextmanager
async def staged(server: JetStreamServer) -> AsyncIterator[Stage]:
    await server.start("127.0.0.1", 0)
    try:
        async with adapters() as made:
            yield Stage(server, made)
    finally:
        await server.close()


def chat(*messages: Message, **sampling: Any) -> GenerateRequest:
    return GenerateRequest(model="gemma-7b", messages=messages or (USER,), sampling=Sampling(**sampling))
