"""An emulated server of Google's and adapters that are bound to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import msgspec

from backends.contract import Backend, GenerateRequest, Message
from simulation.wires.gemini import GeminiServer
from tests.contract.emulated import SECRET, Adapters, adapters

NEW, OLD = "gemini-3-emulated", "gemini-2.5-emulated"
USER = Message(role="user", content="Hello")
CLOUD = {"project": "our-project", "location": "europe-west4"}


class Stage:
    """A server, and adapters that are bound to it."""

    def __init__(self, server: GeminiServer, made: Adapters) -> None:
        self.server = server
        self._made = made

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def backend(
        self, profile: str = "gemini", options: Mapping[str, str] | None = None, *, credential: bool = True
    ) -> Backend:
        return self._made.bind("gemini", self.url, profile=profile, credential=credential, options=options)


@contextlib.asynccontextmanager
async def staged(transport: str) -> AsyncIterator[Stage]:
    """`transport` is one of `harness.make_transport`."""
    server = GeminiServer(key=SECRET, bearer=SECRET)
    await server.start("127.0.0.1", 0)
    async with adapters(transport) as made:
        yield Stage(server, made)
    await server.close()


def a_request(*messages: Message, model: str = NEW, **fields: object) -> GenerateRequest:
    return msgspec.structs.replace(GenerateRequest(model=model, messages=messages or (USER,)), **fields)
