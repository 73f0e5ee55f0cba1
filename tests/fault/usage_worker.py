"""A program that does nothing but count usage, to be killed: `python tests/fault/usage_worker.py URL DIRECTORY RUN`.

Record number n of a run is the same in every process, so that who counts along knows what the sum has to be. How many
records there have been is in `DIRECTORY/RUN.count`, written after each, to the page cache as the journal is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from router.clock import SystemClock
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.metering.meter import Meter
from router.metering.sync import UsageSync
from router.state.client import StoreClient
from router.state.keys import Keys
from router.state.runtime import end_task
from router.state.usage import UsageStore

A_TURN = 5
PAUSE_S = 0.005
REWRITE_BYTES = 60_000


def attempts(n: int) -> list[AttemptOutcome]:
    """The attempts of record n: one in three failed over to a second backend, which cost as well."""
    first = AttemptOutcome(
        backend=f"b{n % 5}",
        model=f"m{n % 2}",
        result="TIMEOUT" if n % 3 == 0 else "OK",
        usage=TokenUsage(input=n % 700, output=n % 90),
        cost_usd=(n % 1000) * 1e-9,
        energy_j=(n % 50) / 1e3,
    )
    if n % 3:
        return [first]
    return [first, AttemptOutcome(backend="spare", model=f"m{n % 2}", result="OK", usage=TokenUsage(output=n % 11))]


def count_file(directory: Path, run: str) -> Path:
    return directory / f"{run}.count"


async def work(url: str, directory: Path, run: str) -> None:
    clock = SystemClock()
    client = StoreClient.connect(url, timeout_s=0.3)
    meter = Meter(directory / "usage", run, clock, rewrite_bytes=REWRITE_BYTES)
    sync = UsageSync(meter, UsageStore(client, Keys("router")), clock, interval_s=0.05)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    running = asyncio.create_task(sync.run())
    count = os.open(count_file(directory, run), os.O_WRONLY | os.O_CREAT, 0o600)
    n = 0
    while not stop.is_set():
        for _ in range(A_TURN):
            meter.record(run, attempts(n))
            n += 1
            os.pwrite(count, n.to_bytes(8, "little"), 0)
        await asyncio.sleep(PAUSE_S)
    os.close(count)
    await end_task(running)
    await sync.stop()
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
