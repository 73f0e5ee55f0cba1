"""The whole state of one replica: its store, the view that it serves from, and the tasks that keep both alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from router.clock import Clock
from router.state.embedded import EmbeddedValkey
from router.state.store import SeedDocuments, ValkeyStore
from router.state.sync import FleetSync
from router.state.view import FleetView
from router.supervise import Progress

_CANCEL_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """`embedded` is None when a server was named. The snapshot is there after `view.wait_loaded()`."""

    store: ValkeyStore
    view: FleetView
    sync: FleetSync
    embedded: EmbeddedValkey | None


@asynccontextmanager
async def open_state(
    url: str | None,
    *,
    view: FleetView,
    clock: Clock,
    replica_id: str,
    namespace: str = "router",
    seed: SeedDocuments | None = None,
    progress: Progress | None = None,
) -> AsyncGenerator[State]:
    """Lets `view` follow the store at `url`, or one of our own when that is None, until the block ends.

    The view is the caller's, so that whoever listens to it can be there before the first snapshot.

    Raises:
        router.state.connection.BadStoreUrlError: the URL cannot be used.
        router.state.embedded.EmbeddedStoreError: the embedded server does not start.
    """
    async with AsyncExitStack() as stack:
        embedded = None
        if url is None:
            embedded = await stack.enter_async_context(EmbeddedValkey(progress=progress))
            url = embedded.url
        store = ValkeyStore.connect(url, namespace=namespace)
        stack.push_async_callback(store.aclose)
        sync = FleetSync(store, view, clock=clock, replica_id=replica_id, seed=seed)
        if embedded is not None:
            stack.push_async_callback(end_task, asyncio.create_task(embedded.keep_running(), name="embedded valkey"))
        stack.push_async_callback(end_task, asyncio.create_task(sync.run(), name="fleet sync"))
        yield State(store, view, sync, embedded)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancels a task and returns when it has ended."""
    # Again until it is heard: asyncio.wait_for, in any library, loses a cancellation that comes with its result (3.11).
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)
