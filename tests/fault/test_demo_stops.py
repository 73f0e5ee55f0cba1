"""However the demonstration is ended, nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from simulation.demo_stack import alive, descendants

ROOT = Path(__file__).parents[2]
SERVED = b"Over gRPC"
LIMIT_S = 2.0


@asynccontextmanager
async def demo(until: bytes) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """A running demonstration that has printed this."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulation.demo"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        text = b""
        async with asyncio.timeout(120):
            while until not in text:
                data = await process.stdout.read(4096)
                assert data, text.decode()
                text += data
        yield process, process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.stdout.read()
        await process.wait()


async def gone(pids: set[int], limit_s: float) -> None:
    began = time.monotonic()
    while alive(pids):
        assert time.monotonic() - began < limit_s, alive(pids)
        await asyncio.sleep(0.02)  # other processes tell no event


@pytest.mark.parametrize("until", [b"... the emulated fleet", SERVED])
async def test_ctrl_c_stops_everything_and_says_so(until: bytes) -> None:
    """Ctrl-C while it starts or serves ends every process and the program, with status 130 and no traceback."""
    async with demo(until) as (process, output):
        below = descendants(process.pid)
        assert below
        process.send_signal(signal.SIGINT)
        text = await output.read()
        assert await process.wait() == 130
    assert b"Traceback" not in text
    assert b"everything that was started is gone" in text
    await gone(below, LIMIT_S)


async def test_kill_9_of_the_demonstration_leaves_nothing_behind() -> None:
    """Two seconds after kill -9 of the parent, Valkey, llama.cpp, the fleet and the router are gone."""
    async with demo(SERVED) as (process, _):
        below = descendants(process.pid)
        assert len(below) >= 3
        os.kill(process.pid, signal.SIGKILL)
        await gone(below, LIMIT_S)
