"""`make demo`: the main job, shown on real requests over a real device and an emulated fleet.

Starts everything, asks for nine different things over gRPC and again with the official openai SDK, shows what was
chosen and why, changes a price while it runs and takes that back, stops everything, and checks that no process is
left. Ctrl-C at any point does the last two.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import grpc

from simulation.demo_calls import Result, over_grpc, over_http, sdk
from simulation.demo_change import change
from simulation.demo_needs import NEEDS
from simulation.demo_show import Screen, full_table, short_table
from simulation.demo_stack import Addresses, alive, running
from supervise.child import ChildError

GONE_WITHIN_S = 2.0
INTERRUPTED = 128 + signal.SIGINT
NO_PROXY = (("grpc.enable_http_proxy", 0),)


async def demonstrate(screen: Screen, started: set[int]) -> int:
    """Runs it all; the exit status. `started` gets the processes that were started."""
    began = time.monotonic()
    try:
        screen.heading("Starting")
        async with running(screen, started) as addresses:
            before, after = await _ask(screen, addresses)
            screen.line()
            screen.console.print(full_table(before))
            screen.console.print(short_table(after, before))
            changed = await _change(screen, addresses, before)
            screen.heading("Stopping")
    except ChildError as error:
        screen.line(str(error), "red")
        return 1
    if not _all_gone(screen, started):
        return 1
    screen.line(f"  {time.monotonic() - began:.0f} s in all")
    screen.line("  Next: make serve, then inference-router generate --class realtime 'Hello'; docs are in README.md")
    wrong = [result.need.title for result in (*before, *after) if not _as_expected(result)]
    for title in wrong:
        screen.line(f"  not as it should be: {title}", "red")
    if not changed:
        screen.line("  not as it should be: changing the fleet", "red")
    return 0 if changed and not wrong else 1


async def _change(screen: Screen, addresses: Addresses, asked: list[Result]) -> bool:
    """Whoever got the cheap work becomes dear for a while."""
    screen.heading("Changed while it runs: planned, applied everywhere or nowhere, rolled back")
    cheap = next(result for result in asked if result.need.router.get("objective") == "cost")
    async with grpc.aio.insecure_channel(addresses.grpc, options=NO_PROXY) as channel:
        return await change(screen, addresses.admin, channel, cheap.need, cheap.backend)


async def _ask(screen: Screen, addresses: Addresses) -> tuple[list[Result], list[Result]]:
    screen.heading("Over gRPC, tokens as they arrive")
    before = []
    async with grpc.aio.insecure_channel(addresses.grpc, options=NO_PROXY) as channel:
        for number, need in enumerate(NEEDS, 1):
            result = await over_grpc(channel, need, screen.ask(number, need))
            screen.answered(result)
            before.append(result)
    screen.heading("Over HTTP, with the official openai SDK")
    after = []
    async with sdk(addresses.http) as client:
        for number, need in enumerate(NEEDS, 1):
            result = await over_http(client, need, screen.ask(number, need))
            screen.answered(result)
            after.append(result)
    return before, after


def _as_expected(result: Result) -> bool:
    """A need that asks to be refused is refused for that, and every other one is served."""
    if result.need.router.get("slo", {}).get("on_infeasible") == "reject":
        return "SLO_INFEASIBLE" in result.refused
    return bool(result.backend) and not result.refused and result.output_tokens > 0


def _all_gone(screen: Screen, started: set[int]) -> bool:
    """Whether nothing is left, and says so."""
    until = time.monotonic() + GONE_WITHIN_S
    while (left := alive(started)) and time.monotonic() < until:
        time.sleep(0.05)  # other processes tell no event, and nothing else runs any more
    if left:
        screen.line(f"  {len(left)} processes are left: {sorted(left)}", "red")
    else:
        screen.line(f"  everything that was started is gone ({len(started)} processes)", "green")
    return not left


async def _main(screen: Screen, started: set[int]) -> int:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await demonstrate(screen, started)


def main() -> int:
    screen, started = Screen(), set[int]()
    try:
        return asyncio.run(_main(screen, started))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.line("\ninterrupted")
        _all_gone(screen, started)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
