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

    def __init__(self, transport: httpx.AsyncBaseTransport, control: httpx.AsyncClient, secret: str) -> None:
        self._transport = transport
        self._control = control
        self._secret = secret
        self._made: list[Backend] = []

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
        env: Mapping[str, str] = {"SECRET": self._secret}
        self._made.append(build(spec, transport=self._transport, control=self._control, env=env))
        return self._made[-1]

    async def aclose(self) -> None:
        for backend in self._made:
            await backend.aclose()


@contextlib.asynccontextmanager
async def adapters(transport: str = "fast", *, secret: str = SECRET) -> AsyncIterator[Adapters]:
    """`transport` is one of `harness.make_transport`; `secret` is the credential of those that have one."""
    carrier = make_transport(transport)
    try:
        async with httpx.AsyncClient() as control:
            made = Adapters(carrier, control, secret)
            try:
                yield made
            finally:
                await made.aclose()
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


async def leave_after_first(backend: Backend, request: GenerateRequest) -> None:
    """Reads one chunk, and no more."""
    stream = backend.generate(request, upstream_model=request.model, request_id="id-7")
    async with contextlib.aclosing(stream), asyncio.timeout(5):
        await anext(stream)


def text(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)
