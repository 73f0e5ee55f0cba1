"""Adapters for AWS bound to their emulated servers, whichever the service is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, TypeVar

import httpx

from backends.contract import Backend, Chunk, GenerateRequest, Message
from backends.errors import BackendError
from backends.registry import build
from backends.spec import BackendSpec
from simulation.wires.aws_signature import ACCESS_KEY, SECRET_KEY
from simulation.wires.serving import HttpWire
from tests.contract.answers import Answer
from tests.contract.harness import make_transport

KEYS = f"{ACCESS_KEY}:{SECRET_KEY}"
Server = TypeVar("Server", bound=HttpWire)


def ask(*messages: Message, **more: Any) -> GenerateRequest:
    return GenerateRequest(model="m", messages=messages or (Message(role="user", content="Hello"),), **more)


class Bench(Generic[Server]):
    """The server, and adapters bound to it."""

    def __init__(
        self, wire: str, model: str, server: Server, transport: httpx.AsyncBaseTransport, control: httpx.AsyncClient
    ) -> None:
        self.server = server
        self._wire = wire
        self._model = model
        self._transport = transport
        self._control = control

    def backend(
        self,
        profile: str = "generic",
        credential: str | None = "env:KEYS",
        env: Mapping[str, str] | None = None,
        **options: str,
    ) -> Backend:
        spec = BackendSpec(
            id="b",
            wire=self._wire,
            profile=profile,
            base_url=f"http://127.0.0.1:{self.server.port}",
            credential=credential,
            options={"region": "us-east-1", **options},
        )
        return build(spec, transport=self._transport, control=self._control, env={"KEYS": KEYS} if env is None else env)

    async def ask(self, request: GenerateRequest, backend: Backend | None = None, model: str = "") -> Answer:
        backend = backend or self.backend()
        stream = backend.generate(request, upstream_model=model or self._model, request_id="id-7")
        async with contextlib.aclosing(stream), asyncio.timeout(5):
            return Answer([chunk async for chunk in stream])

    async def until_broken(self, request: GenerateRequest) -> tuple[list[Chunk], BackendError]:
        """What was delivered, and the failure after it."""
        chunks: list[Chunk] = []
        stream = self.backend().generate(request, upstream_model=self._model, request_id="id-7")
        async with contextlib.aclosing(stream), asyncio.timeout(5):
            try:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - what came before a failure is kept
            except BackendError as error:
                return chunks, error
        raise AssertionError("the answer is complete")

    async def leave(self, request: GenerateRequest) -> None:
        """Asks, and is gone after the first chunk."""
        stream = self.backend().generate(request, upstream_model=self._model, request_id="id-7")
        async with contextlib.aclosing(stream), asyncio.timeout(5):
            await anext(stream)

    @property
    def sent(self) -> dict[str, Any]:
        body: dict[str, Any] = self.server.seen[-1]["body"]
        return body


@contextlib.asynccontextmanager
async def bench(wire: str, model: str, server: Server, transport: str) -> AsyncIterator[Bench[Server]]:
    """Starts the server; `transport` is one of `harness.make_transport`."""
    carrier = make_transport(transport)
    await server.start("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient() as control:
            yield Bench(wire, model, server, carrier, control)
    finally:
        await carrier.aclose()
        await server.close()
