"""Reading everything: by pages, while it changes, at ten thousand backends, without holding the event loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable

from router.domain.audit import Author
from router.domain.fleet import Backend
from router.domain.pricing import Price, book_of
from router.state.fold import lost
from router.state.store import ValkeyStore, Write

MakeBackend = Callable[..., Backend]
ANN = Author(actor="ann")


async def longest_hold(stopping: asyncio.Event) -> float:
    """For how long, at most, the event loop did not come round, in seconds."""
    longest, last = 0.0, time.perf_counter()
    while not stopping.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


async def test_what_changes_while_it_is_read_is_read_right(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """A read by pages under constant changes, also of a thousand documents and more at once, ends at one version."""
    names = [f"b{n}" for n in range(600)]
    await store.apply([Write.of(make_backend(name)) for name in names], expected_config_version=None, author=ANN)
    stopping = asyncio.Event()

    async def change() -> None:
        round_ = 0
        while not stopping.is_set():
            round_ += 1
            moved = [Write.of(make_backend(name, region=f"r{round_}")) for name in names]
            some = moved if round_ % 10 else [*moved, *(Write.of(make_backend(f"c{n}")) for n in range(500))]
            await store.apply(some[:: 1 if round_ % 10 == 0 else 30], expected_config_version=None, author=ANN)
            gone = [Write(Write.of(make_backend("c0")).kind, f"c{n}", None) for n in range(0, 500, 7)]
            await store.apply(gone, expected_config_version=None, author=ANN)
            await asyncio.sleep(0.002)

    changing = asyncio.create_task(change())
    held = await store.load()
    for _ in range(20):
        held = await store.load(held)
        newest = held.history.newest
        assert newest is not None
        assert newest.version == held.snapshot.version
    stopping.set()
    await changing
    held, fresh = await store.load(held), await store.load()
    assert held == fresh
    assert lost(held, fresh) == lost(fresh, held) == ()


async def test_ten_thousand_backends_are_read_in_slices(store: ValkeyStore, make_backend: MakeBackend) -> None:
    """A full read takes less than a second or two, and the loop comes round every few milliseconds meanwhile."""
    for start in range(0, 10_000, 2_500):
        names = [f"b{n}" for n in range(start, start + 2_500)]
        backends = [Write.of(make_backend(name)) for name in names]
        prices = [Write.of(book_of(Price(backend=name, usd_per_hour=1.0))) for name in names]
        await store.apply([*backends, *prices], expected_config_version=None, author=ANN)
    # As the router does: the collector is not to walk the whole program in the middle of a request.
    gc.collect()
    gc.disable()
    try:
        for what, before in (("full read", None), ("read again", await store.load())):
            stopping = asyncio.Event()
            watching = asyncio.create_task(longest_hold(stopping))
            began = time.perf_counter()
            held = await store.load(before)
            took_s = time.perf_counter() - began
            stopping.set()
            hold_s = await watching
            print(f"{what} of 10,000 backends and prices: {took_s * 1e3:.0f} ms, loop held {hold_s * 1e3:.1f} ms")  # noqa: T201 - a figure for the report
            assert len(held.snapshot.prices) == 10_000
            assert took_s < 2.0
            assert hold_s < 0.05
            if before is not None:
                assert held.snapshot.backends["b7"] is before.snapshot.backends["b7"]
    finally:
        gc.enable()
