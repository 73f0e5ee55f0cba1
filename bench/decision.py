"""What one decision costs by the size of the fleet, in plain Python and compiled, side by side in one run.

Each runs from a copy of the sources of its own (`bench.copies`), in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.copies import Copies, environment, make
from bench.decision_job import Sizes, State, Times
from bench.figures import ROUTER, Figure, Section
from bench.lab import Progress
from bench.machine import on_core

PLAIN = "plain Python"
COMPILED = "compiled"
ROUND_S = 120.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """One size, with what a decision over it may take at most in microseconds, and what it should."""

    backends: int
    serving: int
    target: float
    stretch: float

    @property
    def title(self) -> str:
        if self.backends == self.serving:
            return f"{self.backends:,} backends"
        return f"{self.serving} serving of {self.backends:,} registered"

    @property
    def id(self) -> str:
        return f"{self.serving}_of_{self.backends}"


FLEETS = (
    Fleet(16, 16, 30.0, 10.0),
    Fleet(128, 128, 80.0, 30.0),
    Fleet(1_024, 1_024, 200.0, 100.0),
    Fleet(10_000, 16, 30.0, 10.0),
    Fleet(10_000, 10_000, 600.0, 300.0),
)
QUICK_FLEETS = FLEETS[:4]
# Bytes of a backend's learned state, in a fleet of this size.
STATE, STATE_STRETCH, STATE_BACKENDS = 16_384.0, 4_096.0, 10_000


@asynccontextmanager
async def worker(folder: Path, *, core: int | None, compiled: bool) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The worker on a copy; that it really runs on that copy is checked."""
    with on_core(core):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.decision_worker", str(folder / "config"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=folder,
            env=environment(folder), start_new_session=True,
        )  # fmt: skip
    try:
        where = json.loads(await answer(process))
        suffix = Path(where["module"]).suffix
        if where["router"] != str((folder / "router" / "scheduling").resolve()) or (suffix == ".so") != compiled:
            raise RuntimeError(f"the worker runs on {where}, not on its copy")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answer(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), ROUND_S)
    if not line:
        raise RuntimeError("a decision worker ended")
    return line


async def ask(process: asyncio.subprocess.Process, sizes: Sizes) -> Times:
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(sizes) + b"\n")
    return msgspec.json.decode(await answer(process), type=Times)


async def ask_state(process: asyncio.subprocess.Process, backends: int) -> State:
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(Sizes(backends, backends, state=True)) + b"\n")
    return msgspec.json.decode(await answer(process), type=State)


def decision_rows(*, quick: bool) -> list[tuple[str, float, float, float]]:
    """(What, value, what it may be at most, what it should) of each size and of a backend's memory; less is better.

    Compiles copies of the sources, as `measure` does.
    """
    return asyncio.run(_rows(quick=quick))


async def _rows(*, quick: bool) -> list[tuple[str, float, float, float]]:
    with tempfile.TemporaryDirectory(prefix="router-bench-") as name:
        copies = await make(Path(name), lambda _: None)
        async with worker(copies.best, core=None, compiled=copies.compiled is not None) as process:
            rows = []
            for fleet in FLEETS:
                turns = [
                    await ask(process, Sizes(fleet.backends, fleet.serving, 0.1 if quick else 0.5))
                    for _ in range(1 if quick else 3)
                ]
                what = f"full decision, {fleet.title}, us of CPU ({copies.label})"
                rows.append((what, statistics.median(t.plan_us for t in turns), fleet.target, fleet.stretch))
            state = await ask_state(process, STATE_BACKENDS)
            rows.append(("memory per backend, all learned state, bytes", state.whole, STATE, STATE_STRETCH))
    return rows


async def measure(copies: Copies, *, core: int | None, quick: bool, rounds: int, progress: Progress) -> Section:
    """All sizes in all rounds, plain and compiled in turn."""
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        workers: dict[str, asyncio.subprocess.Process] = {}
        if copies.compiled is not None:
            workers[COMPILED] = await stack.enter_async_context(worker(copies.compiled, core=core, compiled=True))
        workers[PLAIN] = await stack.enter_async_context(worker(copies.plain, core=core, compiled=False))
        # The column that the targets are held against comes first.
        ours = COMPILED if COMPILED in workers else PLAIN
        subjects = {ours: ROUTER} | {subject: subject for subject in workers if subject != ours}
        fleets = QUICK_FLEETS if quick else FLEETS
        plans = {f.id: Figure(f"plan_{f.id}", f"decision, {f.title}", "us of CPU", f.target) for f in fleets}
        loads = {f.id: Figure(f"snapshot_{f.id}", f"first snapshot, {f.title}", "ms of CPU") for f in fleets}
        words = Figure("told", "the choice put into words, for who reads it", "us of CPU")
        state = Figure("state", f"learned state of a backend among {STATE_BACKENDS:,}", "bytes", STATE)
        prices = {f.id: Figure(f"price_{f.id}", f"one price changed, {f.title}", "ms of CPU") for f in fleets}
        for turn in range(rounds):
            progress.step(f"decision, round {turn + 1} of {rounds}")
            for fleet in fleets:
                for subject, process in workers.items():
                    seconds = 0.05 if quick else 0.25
                    times = await ask(process, Sizes(fleet.backends, fleet.serving, seconds))
                    if times.candidates != fleet.serving:
                        raise RuntimeError(f"{times.candidates} candidates in place of {fleet.serving}")
                    plans[fleet.id].add(subjects[subject], times.plan_us)
                    words.add(subjects[subject], times.told_us)
                    loads[fleet.id].add(subjects[subject], times.snapshot_us / 1e3)
                    prices[fleet.id].add(subjects[subject], times.price_us / 1e3)
        for subject, process in workers.items():
            state.add(subjects[subject], (await ask_state(process, STATE_BACKENDS)).whole)
    if ours == PLAIN:
        notes.append(f"The targets are those of compiled modules, but {copies.label}")
    notes.append("Whole `Decider.plan` calls over the real catalogue, predictor and objective, on one core.")
    notes.append(
        "Each backend has answered 20 requests, 64 are on their way; with each decision one begins and one ends."
    )
    notes.append("Where few of many serve the model, the target is that of the few: the others are never looked at.")
    stretch = ", ".join(f"{f.stretch:g} us over {f.title}" for f in FLEETS)
    notes.append(f"Beyond the targets: {stretch}; {STATE_STRETCH:,.0f} bytes of state.")
    notes.append("Of the state, the blocks of prompts are bounded for the router as a whole; here are as many.")
    section = Section("decision", f"Decision; 'router' is {ours}", tuple(subjects.values()), notes=notes)
    section.figures = [*plans.values(), words, state, *loads.values(), *prices.values()]
    return section
