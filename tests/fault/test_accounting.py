"""Processes that count are killed, and the store is killed, frozen and wiped meanwhile: the sums are exact."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from router.clock import SystemClock
from router.domain.usage import HOUR_S, UsageTotals
from router.metering.heritage import journals
from router.metering.meter import Meter
from router.metering.sync import UsageSync
from router.state.client import StoreClient
from router.state.embedded import EmbeddedValkey
from router.state.keys import Keys
from router.state.usage import UsageStore
from supervise.child import Child
from tests.fault.usage_worker import attempts, count_file

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3
KILLS = 12
TROUBLES = ("kill", "freeze", "wipe", "kill", "freeze", "wipe")


@pytest.fixture
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    async with EmbeddedValkey() as server:
        yield server


class Workers:
    """So many counting processes; one that is killed is followed by another under a new name."""

    def __init__(self, stack: AsyncExitStack, url: str, directory: Path) -> None:
        self._stack = stack
        self._url = url
        self._directory = directory
        self._numbers = itertools.count()
        self.runs: list[str] = []
        self.living: list[Child] = []

    async def start(self) -> None:
        run = f"run-{next(self._numbers)}"
        program = str(ROOT / "tests" / "fault" / "usage_worker.py")
        child = await self._stack.enter_async_context(
            Child.start(
                [sys.executable, program, self._url, str(self._directory), run],
                name=run,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        )
        self.runs.append(run)
        self.living.append(child)
        while self.count(run) == 0:
            assert child.returncode is None, child.tail
            await asyncio.sleep(0.01)

    async def kill(self, which: int) -> None:
        child = self.living.pop(which)
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()

    async def stop(self) -> None:
        for child in self.living:
            assert await child.stop() == 0, child.tail

    def count(self, run: str) -> int:
        """How many records a run says that it made; when it was killed there may be one more."""
        try:
            return int.from_bytes(count_file(self._directory, run).read_bytes(), "little")
        except FileNotFoundError:
            return 0


async def trouble(valkey: EmbeddedValkey, kind: str) -> None:
    if kind == "kill":
        os.kill(valkey.pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await valkey.restart()
    elif kind == "freeze":
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(1.0)
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
    else:
        client = StoreClient.connect(valkey.url)
        await client.call("FLUSHALL", what="test")
        await client.aclose()


async def stored(usage: UsageStore) -> dict[str, dict[tuple[str, str], UsageTotals]]:
    """By run, which is the tenant: what there is of each model and backend over the hours of the test."""
    now = int(SystemClock().time())
    found: dict[str, dict[tuple[str, str], UsageTotals]] = {}
    async for row in usage.rows(now - 2 * HOUR_S, now + HOUR_S):
        run = found.setdefault(row.key.tenant, {})
        place = (row.key.model, row.key.backend)
        run[place] = run.get(place, UsageTotals()) + row.totals
    return found


def expected(records: int) -> dict[tuple[str, str], UsageTotals]:
    """What so many records come to, added up attempt by attempt."""
    sums: dict[tuple[str, str], UsageTotals] = {}
    for n in range(records):
        tried = attempts(n)
        for attempt in tried:
            place = (attempt.model, attempt.backend)
            sums[place] = sums.get(place, UsageTotals()) + UsageTotals(
                requests=int(attempt is tried[-1]),
                attempts=1,
                failed_attempts=int(attempt.result != "OK"),
                input_tokens=attempt.usage.input,
                output_tokens=attempt.usage.output,
                cost_nano_usd=round(attempt.cost_usd * 1e9),
                energy_mj=round(attempt.energy_j * 1e3),
            )
    return sums


async def test_the_sums_are_exact_after_kills_freezes_and_wipes(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Kill -9 of counting processes beside kills, freezes and wipes of the store: every record is in the sum once."""
    rng = random.Random(7)
    async with AsyncExitStack() as stack:
        workers = Workers(stack, valkey.url, tmp_path)
        for _ in range(WORKERS):
            await workers.start()

        async def kill_workers() -> None:
            for _ in range(KILLS):
                await asyncio.sleep(rng.uniform(0.05, 0.4))
                await workers.kill(rng.randrange(WORKERS))
                await workers.start()

        async def trouble_store() -> None:
            for kind in TROUBLES:
                await asyncio.sleep(rng.uniform(0.2, 0.6))
                await trouble(valkey, kind)

        async with asyncio.TaskGroup() as group:
            group.create_task(kill_workers())
            group.create_task(trouble_store())
        await workers.stop()

    clock = SystemClock()
    client = StoreClient.connect(valkey.url)
    usage = UsageStore(client, Keys("router"))
    heir = Meter(tmp_path / "usage", "heir", clock)
    sync = UsageSync(heir, usage, clock)
    await heir.keep()
    await sync.step()
    found = await stored(usage)
    await sync.stop()
    await client.aclose()

    assert set(found) == set(workers.runs)
    assert len(workers.runs) == WORKERS + KILLS
    total = 0
    for run in workers.runs:
        said = workers.count(run)
        requests = sum(totals.requests for totals in found[run].values())
        # Killed between counting a record and saying so.
        assert requests in {said, said + 1}, run
        assert found[run] == expected(requests), run
        total += requests
    assert total > 1000
    assert len(journals(tmp_path / "usage")) == 1
