"""Starts what the demonstration runs on, each in a process of its own, and makes sure that none is left."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from router.domain.decision import HardwareLabel
from router.settings import Settings, load
from simulation import ports
from simulation.demo_show import Screen
from simulation.device import MODEL_FILE
from supervise.child import Child, Ready

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
GRPC_PORT, ADMIN_PORT, HTTP_PORT = 50051, 50052, 8080
START_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    grpc: str
    admin: str
    http: str


@asynccontextmanager
async def running(screen: Screen, started: set[int]) -> AsyncGenerator[Addresses]:
    """The device, the emulated fleet and a router with its own Valkey; stopped in the opposite order.

    Every process that was running when the stopping began is in `started` afterwards.

    Raises:
        supervise.child.ChildError: one of them does not start.
    """
    env = _environment()
    # What it counts ends with it.
    env["INFERENCE_ROUTER_STATE_DIR"] = tempfile.mkdtemp(prefix="router-demo-")
    env |= ports.assign(CONFIG / "fleet.yaml", env)
    settings = load(CONFIG, env)
    grpc_port, admin_port, http_port = _router_ports(screen)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, env["INFERENCE_ROUTER_STATE_DIR"], ignore_errors=True)
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=2.0))

        async def start(what: str, module: str, *arguments: str, ready: Ready) -> None:
            with screen.step(what) as progress:
                await stack.enter_async_context(
                    Child.start(
                        [sys.executable, "-m", module, *arguments],
                        name=what,
                        env=env,
                        cwd=ROOT,
                        ready=ready,
                        ready_timeout_s=START_LIMIT_S,
                        progress=progress,
                        stop_timeout_s=STOP_LIMIT_S,
                    )
                )
            stack.callback(lambda: started.update(descendants(os.getpid())))

        if importlib.util.find_spec("xllamacpp") is None:
            screen.line("  left out: llama.cpp (the package xllamacpp has no build for this machine)", "yellow")
        else:
            await start(
                "llama.cpp with the real model SmolLM2-135M",
                "simulation.device",
                *("--model", str(MODEL_FILE), "--port", env["DEVICE_PORT"]),
                ready=_answers(client, [f"http://{ports.LOCAL}:{env['DEVICE_PORT']}/health"]),
            )
        emulated = [backend.address for backend in settings.seed.backends if backend.emulated]
        await start(
            f"the emulated fleet, {len(emulated)} backends",
            "simulation.fleet",
            *("--config", str(CONFIG)),
            ready=_answers(client, [f"{address}/health" for address in emulated]),
        )
        await start(
            "the router, with an embedded Valkey",
            "router",
            *("serve", "--config", str(CONFIG)),
            *("--grpc-port", str(grpc_port), "--admin-port", str(admin_port), "--http-port", str(http_port)),
            ready=_answers(client, [f"http://{ports.LOCAL}:{http_port}/readyz"]),
        )
        _show_fleet(screen, settings)
        addresses = Addresses(
            grpc=f"{ports.LOCAL}:{grpc_port}",
            admin=f"{ports.LOCAL}:{admin_port}",
            http=f"http://{ports.LOCAL}:{http_port}/v1",
        )
        screen.line(f"  gRPC {addresses.grpc}   admin gRPC {addresses.admin}   OpenAI-compatible HTTP {addresses.http}")
        yield addresses


def _environment() -> dict[str, str]:
    """Ours, without what would point the demonstration at somebody's store or spend somebody's money."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("INFERENCE_ROUTER_")}
    for name in ("REDIS_URL", "OPENAI_API_KEY", "FLEET_HOST", "DEVICE_HOST"):
        env.pop(name, None)
    return env


def _router_ports(screen: Screen) -> tuple[int, int, int]:
    taken: set[int] = set()
    chosen = []
    for usual in (GRPC_PORT, ADMIN_PORT, HTTP_PORT):
        port = ports.free_port(usual, avoid=frozenset(taken))
        if port != usual:
            screen.line(f"  port {usual} is taken, using {port}", "yellow")
        taken.add(port)
        chosen.append(port)
    return chosen[0], chosen[1], chosen[2]


def _answers(client: httpx.AsyncClient, urls: list[str]) -> Ready:
    async def ready() -> bool:
        try:
            return all([(await client.get(url)).is_success for url in urls])
        except httpx.HTTPError:
            return False

    return ready


def _show_fleet(screen: Screen, settings: Settings) -> None:
    for backend in settings.seed.backends:
        device = settings.catalogue.hardware[backend.hardware]
        label = HardwareLabel(id=device.id, name=device.name, count=backend.hardware_count, emulated=backend.emulated)
        models = ", ".join(served.model for served in backend.models)
        screen.line(f"  {'emulated' if backend.emulated else 'real':<9} {backend.id:<19} {label!s:<42} {models}")


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def alive(pids: set[int]) -> set[int]:
    return pids & set(_parents())


def _parents() -> Mapping[int, int]:
    """Parent by process; zombies do not count."""
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607 - ps is where PATH says
        rows = [line.split() for line in listing.stdout.splitlines()]
        return {int(row[0]): int(row[1]) for row in rows if not row[2].startswith("Z")}
    parents: dict[int, int] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    return parents
