"""A router whose wall clock is wrong: `python -m bench.state.skewed CONFIG SECONDS`.

The product's own run with another clock: everything else is as in `inference-router serve`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from router import app


class SkewedClock:
    """The machine's clocks, the wall clock so many seconds ahead."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def time(self) -> float:
        return time.time() + self._ahead_s


def announce(ports: app.Ports) -> None:
    host = ports.host
    print(f"serving grpc={host}:{ports.grpc} admin={host}:{ports.admin} http={host}:{ports.http}", flush=True)


def main() -> None:
    settings = app.load_settings(Path(sys.argv[1]), os.environ)
    router = replace(settings.router, grpc_port=0, admin_port=0, http_port=0)
    clock = SkewedClock(float(sys.argv[2]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(app.run(replace(settings, router=router), started=announce, clock=clock))
    raise SystemExit(status)


if __name__ == "__main__":
    main()
