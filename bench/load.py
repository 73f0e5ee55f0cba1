"""The load generator: a process of its own, so that its work is not the gateway's.

    python -m bench.load        reads a job a line, writes a report a line; ends with its input

The gateway's CPU time is read here, next to the first and the last request.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractAsyncContextManager

import msgspec
import uvloop

from bench.load_grpc import grpc_driver
from bench.load_http import http_driver
from bench.load_job import Driver, HeldBack, Job, Report, verify_pace
from bench.machine import cpu_us


async def lanes(driver: Driver, *, streams: int, requests: int) -> list[float]:
    """Each lane one request after another."""
    ttft_s: list[float] = []

    async def lane(number: int) -> None:
        for _ in range(requests):
            first = await driver.ask(number)
            ttft_s.append(first)

    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(lane(number))
    return ttft_s


async def at_rate(driver: Driver, job: Job) -> list[float]:
    """Requests at fixed times, whether or not the earlier ones are answered; there are as many lanes as at most run."""
    free: asyncio.Queue[int] = asyncio.Queue()
    for number in range(job.streams):
        free.put_nowait(number)
    ttft_s: list[float] = []

    async def one() -> None:
        number = await free.get()
        try:
            ttft_s.append(await driver.ask(number))
        finally:
            free.put_nowait(number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(job.requests):
            await asyncio.sleep(max(0.0, started + n / job.rate - time.perf_counter()))
            group.create_task(one())
    return ttft_s


async def run(job: Job) -> Report:
    opened: AbstractAsyncContextManager[Driver] = http_driver(job) if job.face == "http" else grpc_driver(job)
    async with opened as driver:
        await lanes(driver, streams=job.streams, requests=job.warm)
        await driver.after()
        driver.pieces = 0
        cpu, started = cpu_us(job.pids), time.perf_counter()
        if job.rate:
            ttft_s = await at_rate(driver, job)
        else:
            ttft_s = await lanes(driver, streams=job.streams, requests=job.requests)
        wall_s, done = time.perf_counter() - started, cpu_us(job.pids)
        verify_pace(job, answers=len(ttft_s), pieces=driver.pieces)
        await driver.after()
        return Report(
            requests=len(ttft_s),
            cpu_us=done - cpu,
            after_us=cpu_us(job.pids) - done,
            wall_s=wall_s,
            ttft_s=ttft_s,
        )


def first_cause(error: BaseException) -> str:
    """The first failure in a group of them, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            report = await run(msgspec.json.decode(line, type=Job))
        except Exception as error:  # noqa: BLE001 - the harness decides what a failed job means
            report = Report(error=first_cause(error), held_back=isinstance(error, HeldBack))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
