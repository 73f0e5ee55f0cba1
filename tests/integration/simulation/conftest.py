"""Running emulated backends, and the real device."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from router.domain.hardware import Hardware, Model
from router.prediction.physics import speed
from simulation.engine import EngineSpec, ModelOnChip
from simulation.server import EmulatedServer, ServerSpec

H100 = Hardware(
    id="h100", name="H100", kind="gpu", memory_bytes=80e9, memory_bandwidth_bytes_per_s=3350e9, flops_per_s=989e12
)
LLAMA_8B = Model(id="m", parameters=8.03e9, layers=32, kv_bytes_per_token=131072, context_tokens=131072)
SPEC = ServerSpec(
    id="h100",
    label="h100, H100 (emulated)",
    engine=EngineSpec(
        models={"llama": ModelOnChip(speed=speed(LLAMA_8B, H100, count=1, bytes_per_weight=2))},
        slots=2,
        latency_s=0.001,
    ),
    context_tokens={"llama": 4096},
)

Serve = Callable[..., AbstractAsyncContextManager[EmulatedServer]]


@pytest.fixture
def serve() -> Serve:
    """Runs a server; keyword arguments change its specification."""

    @asynccontextmanager
    async def running(**changes: Any) -> AsyncGenerator[EmulatedServer]:
        server = EmulatedServer(replace(SPEC, **changes))
        await server.start("127.0.0.1", 0)
        try:
            yield server
        finally:
            await server.close()

    return running


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[EmulatedServer]:
    async with serve() as running:
        yield running


@pytest.fixture
async def client(server: EmulatedServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client
