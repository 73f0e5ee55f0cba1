"""The whole state of one replica: its store, the view that it serves from, and the tasks that keep both alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.clock import Clock
from router.state.client import StoreClient
from router.state.connection import StoreOptions, store_identity
from router.state.embedded import EmbeddedValkey
from router.state.snapshot_file import SnapshotFile
from router.state.snapshot_keeper import SnapshotKeeper
from router.state.store import ValkeyStore
from router.state.sync import FleetSync
from router.state.view import FleetView
from router.state.writes import SeedDocuments
from supervise.child import Progress

_CANCEL_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """`embedded` is None when a server was named. The snapshot is there after `view.wait_loaded()`.

    `client` is for what else is kept at the same place; `identity` names that place, for files.
    """

    store: ValkeyStore
    view: FleetView
    sync: FleetSync
    embedded: EmbeddedValkey | None
    client: StoreClient
    identity: str


@asynccontextmanager
async def open_state(
    url: str | None,
    *,
    view: FleetView,
    clock: Clock,
    replica_id: str,
    namespace: str = "router",
    seed: SeedDocuments | None = None,
    options: StoreOptions | None = None,
    state_dir: Path | None = None,
    progress: Progress | None = None,
) -> AsyncGenerator[State]:
    """Lets `view` follow the store at `url`, or one of our own when that is None, until the block ends.

    The view is the caller's, so that whoever listens to it can be there before the first snapshot.

    Args:
        url: of the server; None starts one of our own.
        view: what the snapshots are published to.
        clock: the time.
        replica_id: how this replica calls itself in the store.
        namespace: of the keys.
        seed: what a store gets that has never had it.
        options: of the connection to a server that was named; our own needs none.
        state_dir: where the last good snapshot is kept; None keeps none, and our own server never has one.
        progress: hears how long the start of our own server takes.

    Raises:
        router.state.connection.BadStoreUrlError: the URL cannot be used.
        router.state.embedded.EmbeddedStoreError: the embedded server does not start.
    """
    identity = store_identity(url, namespace)
    async with AsyncExitStack() as stack:
        embedded = keeper = from_disk = None
        if url is None:
            embedded = await stack.enter_async_context(EmbeddedValkey(progress=progress))
            url = embedded.url
        elif state_dir is not None:
            file = SnapshotFile(state_dir, identity)
            from_disk = await asyncio.to_thread(file.read)
            keeper = SnapshotKeeper(file, clock=clock)
            stack.push_async_callback(keeper.aclose)
        client = StoreClient.connect(url, options=options if embedded is None else None)
        store = ValkeyStore(client, namespace=namespace)
        stack.push_async_callback(store.aclose)
        sync = FleetSync(
            store,
            view,
            clock=clock,
            replica_id=replica_id,
            seed=seed,
            from_disk=from_disk,
            on_held=None if keeper is None else keeper.note,
        )
        if embedded is not None:
            stack.push_async_callback(end_task, asyncio.create_task(embedded.keep_running(), name="embedded valkey"))
        if keeper is not None:
            stack.push_async_callback(end_task, asyncio.create_task(keeper.run(), name="fleet snapshot"))
        stack.push_async_callback(end_task, asyncio.create_task(sync.run(), name="fleet sync"))
        yield State(store, view, sync, embedded, client, identity)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancels a task and returns when it has ended."""
    # Again until it is heard: asyncio.wait_for, in any library, loses a cancellation that comes with its result (3.11).
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)
