"""Whole routers as processes, over emulated backends as processes: what tests of the running product start.

A `Site` is a configuration directory; `run_fleet` and `run_router` start the product's own commands on it. A router
whose output shows a traceback, or that does not end with status 0 when it is told to stop, fails the test.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from supervise.child import Child

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config"
MODEL = "llama-3.1-8b"
CATALOGUE = ("router.yaml", "hardware.yaml", "models.yaml", "policies.yaml")
UNCLEAN = re.compile(
    r"Traceback|never retrieved|never awaited|Exception ignored|was destroyed|probe_fault|[Uu]nraisable"
)
STOP_LIMIT_S = 8.0
BACKEND = """
  {id}:
    wire: openai_chat
    profile: vllm
    address: http://127.0.0.1:{port}
    hardware: {hardware}
    emulated: {emulated}
    region: {region}
    privacy: {privacy}
    capabilities: [{capabilities}]
    max_concurrency: 64
    models: [{{ model: llama-3.1-8b }}]
"""
PRICE = '  - {{ backend: {id}, input_usd_per_mtok: {usd}, output_usd_per_mtok: {usd}, source: "test" }}\n'


@dataclass(frozen=True, kw_only=True)
class Spot:
    """One backend of a site. Whoever is not emulated is played by the test itself, or by nobody."""

    id: str
    usd_per_mtok: float
    hardware: str = "h100-sxm-80"
    region: str = "eu-north1"
    privacy: str = "own_hardware"
    capabilities: tuple[str, ...] = ("tools", "assistant_prefill")
    emulated: bool = True


FAST = Spot(id="fast", usd_per_mtok=0.1)
SPARE = Spot(id="spare", usd_per_mtok=90.0, hardware="mi300x", region="us-1", privacy="any")


def free_port() -> int:
    """A port below those that the kernel gives to outgoing connections, so that none of these takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


@dataclass
class Site:
    """A configuration directory, and who listens where."""

    config: Path
    spots: dict[str, Spot]
    ports: dict[str, int]

    @staticmethod
    def build(
        folder: Path,
        *spots: Spot,
        ports: Mapping[str, int] | None = None,
        dispatch: Mapping[str, float] | None = None,
    ) -> Site:
        """The product's catalogue and policies with a fleet of these; `dispatch` changes values of policies.yaml."""
        folder.mkdir(parents=True)
        for name in CATALOGUE:
            (folder / name).write_bytes((CONFIG / name).read_bytes())
        site = Site(folder, {s.id: s for s in spots}, {s.id: free_port() for s in spots} | dict(ports or {}))
        listed = "".join(_yaml(spot, site.ports[spot.id]) for spot in spots)
        (folder / "fleet.yaml").write_text(f"backends:{listed}")
        prices = "".join(PRICE.format(id=spot.id, usd=spot.usd_per_mtok) for spot in spots)
        (folder / "prices.yaml").write_text(f"prices:\n{prices}")
        policies = (folder / "policies.yaml").read_text()
        for key, value in (dispatch or {}).items():
            policies, count = re.subn(rf"(?m)^(  {key}:) \S+", rf"\1 {value:g}", policies)
            assert count == 1, f"policies.yaml has {count} times {key}"
        (folder / "policies.yaml").write_text(policies)
        return site

    def part(self, *ids: str) -> Site:
        """The same place with some of its backends only, for a fleet process of their own."""
        folder = Path(tempfile.mkdtemp(dir=self.config.parent)) / "-".join(ids)
        return Site.build(folder, *(self.spots[name] for name in ids), ports=self.ports)

    def url(self, backend: str) -> str:
        return f"http://127.0.0.1:{self.ports[backend]}"


def _yaml(spot: Spot, port: int) -> str:
    return BACKEND.format(
        id=spot.id,
        port=port,
        hardware=spot.hardware,
        emulated="true" if spot.emulated else "false",
        region=spot.region,
        privacy=spot.privacy,
        capabilities=", ".join(spot.capabilities),
    )


@dataclass
class Running:
    """A router process and where it listens. Once `log_checked` is off, its end is the test's own business."""

    child: Child
    grpc: str
    admin: str
    http: str
    log: Path

    def output(self) -> str:
        """Everything that it has written, standard output and error together."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.child.pid, number)

    def rss_bytes(self) -> int:
        """Resident memory of the process now."""
        status = Path("/proc", str(self.child.pid), "status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


def environment(**more: str) -> Mapping[str, str]:
    """Ours without what would change a router."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("INFERENCE_ROUTER_", "REDIS_", "FLEET_"))}
    return kept | more


def serve_command(site: Site, *flags: str) -> list[str]:
    """The command line of a router on ports of its own choice; later flags win."""
    ports = ["--grpc-port", "0", "--admin-port", "0", "--http-port", "0"]
    return [sys.executable, "-m", "router", "serve", "--config", str(site.config), *ports, *flags]


@asynccontextmanager
async def run_fleet(site: Site, *, log: Path | None = None) -> AsyncGenerator[Child]:
    """The emulated backends of a site, in one process."""
    async with httpx.AsyncClient() as http:

        async def answers() -> bool:
            for spot in site.spots.values():
                try:
                    if spot.emulated:
                        await http.get(f"{site.url(spot.id)}/emulator/stats")
                except httpx.TransportError:
                    return False
            return True

        argv = [sys.executable, "-m", "simulation.fleet", "--config", str(site.config)]
        async with Child.start(argv, name="fleet", env=environment(), cwd=ROOT, ready=answers, log=log) as child:
            yield child


@asynccontextmanager
async def run_router(site: Site, *flags: str, name: str = "router", **env: str) -> AsyncGenerator[Running]:
    """One router on free ports. It must stop with status 0 unless the test ends it, and never show a traceback."""
    log = Path(tempfile.mkdtemp(dir=site.config.parent)) / f"{name}.log"
    log.touch()

    async def serving() -> bool:
        return "serving grpc=" in log.read_text(errors="replace")

    argv = serve_command(site, *flags)
    env = {"INFERENCE_ROUTER_RNG_SEED": "7", "INFERENCE_ROUTER_STATE_DIR": str(site.config.parent / "state"), **env}
    async with Child.start(
        argv, name=name, env=environment(**env), cwd=ROOT, log=log, ready=serving, ready_timeout_s=20.0
    ) as child:
        found = re.search(r"serving grpc=(\S+) admin=(\S+) http=(\S+)", log.read_text())
        assert found is not None
        running = Running(child, found[1], found[2], f"http://{found[3]}", log)
        yield running
        if child.returncode is None:
            status = await child.stop(timeout_s=STOP_LIMIT_S)
            assert status == 0, f"{name} ended with {status}:\n{running.output()}"
    assert_clean(running.output(), name)


def assert_clean(output: str, name: str) -> None:
    """Nothing in a process's output is a fault that nobody handled."""
    found = UNCLEAN.search(output)
    assert found is None, f"{name} wrote '{found[0]}':\n{output}"
