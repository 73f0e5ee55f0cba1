"""A real Valkey for each test, and replicas that follow it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from router.clock import SystemClock
from router.domain.fleet import Backend, ServedModel
from router.state.embedded import EmbeddedValkey
from router.state.runtime import State, open_state
from router.state.store import SeedDocuments, ValkeyStore
from router.state.view import FleetView

StartReplica = Callable[..., Awaitable[State]]


@pytest.fixture
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    async with EmbeddedValkey() as server:
        yield server


@pytest.fixture
async def store(valkey: EmbeddedValkey) -> AsyncIterator[ValkeyStore]:
    store = ValkeyStore.connect(valkey.url)
    yield store
    await store.aclose()


@pytest.fixture
async def start_replica(valkey: EmbeddedValkey) -> AsyncIterator[StartReplica]:
    """Starts a replica on the test's server and waits until it has a fleet."""
    async with AsyncExitStack() as stack:
        started = itertools.count()

        async def start(seed: SeedDocuments | None = None) -> State:
            opening = open_state(
                valkey.url, view=FleetView(), clock=SystemClock(), replica_id=f"replica-{next(started)}", seed=seed
            )
            state = await stack.enter_async_context(opening)
            async with asyncio.timeout(5):
                await state.view.wait_loaded()
            return state

        yield start


@pytest.fixture
def make_backend() -> Callable[..., Backend]:
    def make(backend_id: str = "h100", **changes: object) -> Backend:
        fields: dict[str, object] = {
            "id": backend_id,
            "wire": "openai_chat",
            "address": f"http://{backend_id}:8000",
            "models": (ServedModel(model="llama-3.1-8b"),),
        }
        return Backend(**(fields | changes))  # type: ignore[arg-type]  # a test's own keywords

    return make
