"""What an HTTP client costs per request and per token, side by side in one run.

    python -m bench.transport [--json] [--rounds 3]

CPU microseconds over all threads of the client's process (`time.process_time`): wall time says little on a shared
machine. The upstream and the load are other processes on another core where there is one. Clients take turns in every
round and the median is shown; quote ratios within one run. Of every answer the size is checked, and that paced events
came one by one: a client that holds tokens back would look cheap.

Two tables: each client alone, in the way it is best used; and each transport in the least relay there can be, which is
the largest share of a whole gateway that a transport can have.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import click
import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from bench.transport_clients import HEADERS, Fetch, clients, transports
from bench.transport_peers import answer_bytes
from bench.transport_relay import relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`streams` at a time, each `requests` one after another, of `events` events."""

    id: str
    title: str
    streams: int
    requests: int
    events: int
    pause_ms: int
    together: int
    per_event: bool

    @property
    def path(self) -> str:
        return f"/{self.events}/{self.pause_ms}/{self.together}"

    @property
    def least_pieces(self) -> int:
        """Reads in which a paced answer must arrive at the least; a busy machine may merge a few."""
        return self.events // 2 if self.pause_ms else 1

    @property
    def units(self) -> int:
        return self.streams * self.requests * (self.events if self.per_event else 1)


def case(name: str, title: str, streams: int, requests: int, events: int, pause_ms: int, together: int) -> Case:
    return Case(
        id=name,
        title=title,
        streams=streams,
        requests=requests,
        events=events,
        pause_ms=pause_ms,
        together=together,
        per_event=name != "request",
    )


CASES = (
    case("request", "request", 16, 30, 1, 0, 1),
    case("paced", "paced event", 64, 1, 32, 20, 1),
    case("burst", "burst event", 16, 2, 512, 0, 64),
)

Figures = dict[str, dict[str, list[float]]]


@asynccontextmanager
async def peer(role: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.transport_peers", role,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(process.pid, set(cores[1:]))
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def cpu_us(run: Awaitable[None], units: int) -> float:
    before = time.process_time()
    await run
    return (time.process_time() - before) * 1e6 / units


async def alone(fetch: Fetch, upstream: str, what: Case) -> None:
    expected = answer_bytes(what.events)

    async def stream() -> None:
        for _ in range(what.requests):
            answer = await fetch(upstream + what.path)
            if answer.status != 200 or answer.size != expected or answer.pieces < what.least_pieces:
                raise RuntimeError(f"{answer} in place of {expected} bytes in {what.least_pieces} pieces or more")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(what.streams):
            tasks.create_task(stream())


async def relayed(load: asyncio.subprocess.Process, face: str, what: Case) -> None:
    assert load.stdin is not None
    assert load.stdout is not None
    job = {
        "url": face + what.path,
        "streams": what.streams,
        "requests": what.requests,
        "bytes": answer_bytes(what.events),
        "pieces": what.least_pieces,
    }
    load.stdin.write(json.dumps(job).encode() + b"\n")
    if await load.stdout.readline() != b"done\n":
        raise RuntimeError("the load generator failed")


async def measure(rounds: int) -> tuple[Figures, Figures]:
    singles: Figures = {}
    relays: Figures = {}
    async with peer("upstream") as server, peer("load") as load, AsyncExitStack() as stack:
        assert server.stdout is not None
        upstream = f"http://127.0.0.1:{int(await server.stdout.readline())}"
        fetchers = {name: await stack.enter_async_context(make()) for name, make in clients().items()}
        faces = {}
        for name, make in transports().items():
            transport = await stack.enter_async_context(make())
            factory = relay(transport, upstream, httpx.Headers(HEADERS))
            face = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
            stack.callback(face.close)
            faces[name] = f"http://127.0.0.1:{face.sockets[0].getsockname()[1]}"
        for turn in range(rounds + 1):  # the first one warms up
            for what in CASES:
                for name, fetch in fetchers.items():
                    figure = await cpu_us(alone(fetch, upstream, what), what.units)
                    if turn:
                        singles.setdefault(name, {}).setdefault(what.id, []).append(figure)
                for name, face_url in faces.items():
                    figure = await cpu_us(relayed(load, face_url, what), what.units)
                    if turn:
                        relays.setdefault(name, {}).setdefault(what.id, []).append(figure)
    return singles, relays


def medians(figures: Figures) -> dict[str, dict[str, float]]:
    return {name: {case: statistics.median(all_) for case, all_ in row.items()} for name, row in figures.items()}


def show(console: Console, title: str, rows: dict[str, dict[str, float]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("CPU us, median (x first row)", no_wrap=True)
    for what in CASES:
        table.add_column(what.title, justify="right")
    first = next(iter(rows.values()))
    for name, row in rows.items():
        table.add_row(name, *(f"{row[what.id]:.1f} ({row[what.id] / first[what.id]:.1f}x)" for what in CASES))
    console.print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures of every round as JSON.")
@click.option("--rounds", default=3, show_default=True, help="Rounds after the one that warms up.")
def main(*, as_json: bool, rounds: int) -> None:
    """CPU per request and per token of HTTP clients, side by side."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    singles, relays = uvloop.run(measure(rounds))
    if as_json:
        click.echo(json.dumps({"client": singles, "relay": relays}, indent=2))
        return
    console = Console()
    show(console, "A client alone", medians(singles))
    show(console, "A relay around it", medians(relays))


if __name__ == "__main__":
    main()
