"""Binds an adapter to an emulated server on a real port, and asks it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx

from backends.contract import Backend, Chunk, GenerateRequest
from backends.errors import BackendError
from backends.registry import build
from backends.spec import BackendSpec
from tests.contract.harness import make_transport

SECRET = "sk-emulated-secret-0123456789"


class Adapters:
    """Makes adapters that share one transport and one client for probes."""

    def __init__(self, transport: httpx.AsyncBaseTransport, control: httpx.AsyncClient) -> None:
        self._transport = transport
        self._control = control

    def bind(
        self,
        wire: str,
        url: str,
        *,
        profile: str = "generic",
        credential: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> Backend:
        spec = BackendSpec(
            id="b",
            wire=wire,
            profile=profile,
            base_url=url,
            credential="env:SECRET" if credential else None,
            options=dict(options or {}),
        )
        env: Mapping[str, str] = {"SECRET": SECRET}
        return build(spec, transport=self._transport, control=self._control, env=env)


@contextlib.asynccontextmanager
async def adapters(transport: str = "fast") -> AsyncIterator[Adapters]:
    """For tests; `transport` is one of `harness.make_transport`."""
    carrier = make_transport(transport)
    try:
        async with httpx.AsyncClient() as control:
            yield Adapters(carrier, control)
    finally:
        await carrier.aclose()


async def ask(backend: Backend, request: GenerateRequest) -> list[Chunk]:
    """The whole answer."""
    stream = backend.generate(request, upstream_model=request.model, request_id="id-7")
    async with contextlib.aclosing(stream), asyncio.timeout(5):
        return [chunk async for chunk in stream]


async def ask_until_broken(backend: Backend, request: GenerateRequest) -> tuple[list[Chunk], BackendError | None]:
    """What was delivered, and the failure after it."""
    chunks: list[Chunk] = []
    stream = backend.generate(request, upstream_model=request.model, request_id="id-7")
    async with contextlib.aclosing(stream), asyncio.timeout(5):
        try:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before a failure is kept
        except BackendError as error:
            return chunks, error
    return chunks, None


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)
