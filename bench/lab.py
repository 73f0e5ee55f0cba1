"""What all sections share: the upstream, the load generator, where things run, progress, and what goes wrong."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console

from bench.copies import ROOT
from bench.gateways import Gateway, relay, router, write_config
from bench.load_job import Job, Report
from bench.machine import Cores, cores, on_core
from supervise.child import Child

JOB_TIMEOUT_S = 180.0
MAX_REPORT_BYTES = 1 << 24


class LoadFailed(RuntimeError):
    """A gateway answered wrongly or not at all under load."""


@dataclass(slots=True)
class Progress:
    """Says what is being done: one changing line on a terminal, a line per step elsewhere; never on stdout."""

    console: Console
    started: float = field(default_factory=time.monotonic)

    def step(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        self.console.print(f"[dim]{seconds:5.0f} s[/]  {text}", highlight=False)


@dataclass(slots=True, kw_only=True)
class Lab:
    """One run. `notes` are what a reader of the tables has to know."""

    cores: Cores
    quick: bool
    rounds: int
    progress: Progress
    folder: Path
    sources: Path
    upstream: str
    load: asyncio.subprocess.Process
    notes: list[str] = field(default_factory=list)

    async def job(self, job: Job) -> Report:
        """Runs a job in the load generator; a second time when tokens came together, as the machine may have paused.

        Raises:
            LoadFailed: an answer was wrong, or none came.
        """
        report = await self._try(job)
        if report.held_back:
            self.progress.step(f"  once more: {report.error}")
            report = await self._try(job)
        if report.error:
            raise LoadFailed(report.error)
        return report

    async def _try(self, job: Job) -> Report:
        if self.load.stdin is None or self.load.stdout is None:
            raise LoadFailed("the load generator has no pipes")
        self.load.stdin.write(msgspec.json.encode(job) + b"\n")
        line = await asyncio.wait_for(self.load.stdout.readline(), JOB_TIMEOUT_S)
        if not line:
            raise LoadFailed("the load generator ended")
        return msgspec.json.decode(line, type=Report)

    @asynccontextmanager
    async def router(self) -> AsyncGenerator[Gateway]:
        """A fresh router on its core."""
        self.progress.step("starting a router")
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            write_config(Path(name), self.upstream)
            async with router(Path(name), sources=self.sources, core=self.cores.gateway) as gateway:
                yield gateway

    @asynccontextmanager
    async def relay(self) -> AsyncGenerator[Gateway]:
        """A fresh relay on the same core."""
        async with relay(self.upstream, core=self.cores.gateway) as gateway:
            yield gateway


@asynccontextmanager
async def open_lab(progress: Progress, *, folder: Path, sources: Path, quick: bool, rounds: int) -> AsyncGenerator[Lab]:
    """Starts upstream and load generator; everything ends with the block."""
    where = cores()
    async with AsyncExitStack() as stack:
        stack.enter_context(on_core(where.rest))
        server = await stack.enter_async_context(
            Child.start([sys.executable, "-m", "bench.upstream", "0"], name="upstream", cwd=ROOT)
        )

        async def serving() -> bool:
            return server.tail.isdigit()

        await server.wait_ready(serving, timeout_s=15.0)
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.load",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            limit=MAX_REPORT_BYTES, start_new_session=True,
        )  # fmt: skip
        stack.push_async_callback(_stop, load)
        lab = Lab(
            cores=where,
            quick=quick,
            rounds=rounds,
            progress=progress,
            folder=folder,
            sources=sources,
            upstream=f"127.0.0.1:{server.tail}",
            load=load,
        )
        if where.gateway is None:
            lab.notes.append("Nothing is pinned to a core here: load and gateways disturb each other.")
        yield lab


async def _stop(process: asyncio.subprocess.Process) -> None:
    """It ends with its input; it is not waited for in the middle of a job."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 1.0)
    except TimeoutError:
        process.kill()
        await process.wait()
