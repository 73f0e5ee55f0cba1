"""The gateways under test as real processes: the router with a configuration of its own, and the barest relay.

Four backends stand in each gateway's configuration, so that there is something to choose; all are the same upstream.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.copies import ROOT, environment
from bench.load_job import MODEL
from bench.machine import on_core, tree
from supervise.child import Child

HARDWARE = ("h100-sxm-80", "h200-sxm-141", "a100-sxm-80", "mi300x")
CATALOGUE = ("hardware.yaml", "models.yaml", "policies.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that serves. `pids` are the processes whose CPU and memory are its own."""

    name: str
    http: str
    grpc: str
    pids: tuple[int, ...]
    store_pids: tuple[int, ...] = ()


def write_config(folder: Path, upstream: str) -> None:
    """The product's catalogue and policies with a fleet of four that are all `upstream` (host:port)."""
    for name in CATALOGUE:
        (folder / name).write_bytes((ROOT / "config" / name).read_bytes())
    fleet = "".join(
        f"  up-{n}: {{ wire: openai_chat, profile: vllm, address: 'http://{upstream}', hardware: {hardware},"
        f" region: eu-1, max_concurrency: 4096, models: [{{ model: {MODEL} }}] }}\n"
        for n, hardware in enumerate(HARDWARE)
    )
    (folder / "fleet.yaml").write_text(f"backends:\n{fleet}", encoding="utf-8")
    prices = "".join(
        f"  - {{ backend: up-{n}, input_usd_per_mtok: 0.{n + 1}, output_usd_per_mtok: 0.{n + 2}, source: benchmark }}\n"
        for n in range(len(HARDWARE))
    )
    (folder / "prices.yaml").write_text(f"prices:\n{prices}", encoding="utf-8")
    (folder / "router.yaml").write_text("log_level: warning\n", encoding="utf-8")


@asynccontextmanager
async def router(folder: Path, *, sources: Path, core: int | None) -> AsyncGenerator[Gateway]:
    """The router as `sources` have it, with its embedded Valkey on the same core, which is not measured with it."""
    argv = [sys.executable, "-m", "router", "serve", "--config", str(folder)]
    argv += ["--grpc-port", "0", "--admin-port", "0", "--http-port", "0"]
    async with AsyncExitStack() as stack:
        with on_core(core):
            child = await stack.enter_async_context(
                Child.start(argv, name="router", env=environment(sources), cwd=sources, log=folder / "router.log")
            )

        async def serving() -> bool:
            return "serving grpc=" in child.tail

        await child.wait_ready(serving, timeout_s=30.0)
        found = re.search(r"serving grpc=(\S+) admin=\S+ http=(\S+)", child.tail)
        if found is None:
            raise RuntimeError(f"the router did not say where it listens: {child.tail}")
        _, *below = tree(child.pid)
        yield Gateway(name="router", http=found[2], grpc=found[1], pids=(child.pid,), store_pids=tuple(below))


@asynccontextmanager
async def relay(upstream: str, *, core: int | None) -> AsyncGenerator[Gateway]:
    """A process that parses requests and passes bytes on: what Python and the sockets cost before any routing."""
    async with AsyncExitStack() as stack:
        argv = [sys.executable, "-m", "bench.relay", f"http://{upstream}"]
        with on_core(core):
            child = await stack.enter_async_context(Child.start(argv, name="relay", cwd=ROOT))

        async def serving() -> bool:
            return child.tail.isdigit()

        await child.wait_ready(serving, timeout_s=15.0)
        yield Gateway(name="relay", http=f"127.0.0.1:{child.tail}", grpc="", pids=(child.pid,))


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
