"""An emulated vendor of the OpenAI chat wire, and the adapter that is bound to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from backends.contract import Backend, Chunk, GenerateRequest, Message
from simulation.wires.openai_engines import ENGINES
from simulation.wires.openai_vendor import KEY, MODEL, EmulatedVendor
from simulation.wires.openai_vendors import VENDORS
from tests.contract.emulated import SECRET, adapters, ask

ADDRESSES = {
    "azure_v1": "/openai/v1",
    "groq": "/openai",
    "fireworks": "/inference/v1",
    "openrouter": "/api",
    "gemini_openai": "/v1beta/openai",
}
EMULATED = {**VENDORS, **ENGINES}
USER = Message(role="user", content="Hello")

assert SECRET == KEY  # what the adapters are given is what the servers want

every_dialect = pytest.mark.parametrize("name", sorted(EMULATED))


@dataclass(frozen=True, slots=True)
class Stage:
    server: EmulatedVendor
    backend: Backend

    async def ask(self, *messages: Message, **fields: Any) -> list[Chunk]:
        return await ask(self.backend, a_request(*messages, **fields))

    @property
    def sent(self) -> dict[str, Any]:
        body: dict[str, Any] = self.server.seen[-1]["body"]
        return body


@contextlib.asynccontextmanager
async def staged(name: str, **options: str) -> AsyncIterator[Stage]:
    server = EmulatedVendor(EMULATED[name])
    await server.start("127.0.0.1", 0)
    try:
        async with adapters() as made:
            url = f"http://127.0.0.1:{server.port}{ADDRESSES.get(name, '')}"
            credential = bool(server.vendor.key_header)
            yield Stage(server, made.bind("openai_chat", url, profile=name, credential=credential, options=options))
    finally:
        await server.close()


def a_request(*messages: Message, **fields: Any) -> GenerateRequest:
    return GenerateRequest(model=MODEL, messages=messages or (USER,), **fields)
