"""`python -m simulation.fleet`: every emulated backend of fleet.yaml, in one process until SIGTERM or Ctrl-C.

Each is a real HTTP server at the address that the router has for it. How fast it is comes from the same catalogue and
equations as the router's prior, times an error per model that the router does not know and has to learn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import zlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import uvloop

from router.domain.catalogue import Catalogue
from router.domain.decision import HardwareLabel
from router.domain.fleet import Backend
from router.domain.hardware import Hardware
from router.prediction.physics import served_speed
from router.settings import ConfigError, load
from simulation import ports
from simulation.engine import EngineSpec, ModelOnChip
from simulation.server import EmulatedServer, ServerSpec

MODEL_ERROR_SD_LOG = 0.2
HOSTED_PREFILL_NOISE = 0.25
PREFILL_NOISE = 0.1
USABLE_MEMORY = 0.9
QUEUE_PER_SLOT = 2


def describe(backend: Backend, catalogue: Catalogue, *, seed: int = 0) -> ServerSpec:
    """How to emulate one backend of the fleet."""
    hardware = catalogue.hardware[backend.hardware]
    own_seed = zlib.crc32(f"{seed}/{backend.id}".encode())
    rng = Random(own_seed)
    models: dict[str, ModelOnChip] = {}
    windows: dict[str, int] = {}
    weights = 0.0
    for served in backend.models:
        model = catalogue.models[served.model]
        bytes_per_weight = served.bytes_per_weight or 2.0
        prior = served_speed(model, hardware, backend, served)
        # Passing a gateway takes time but occupies nothing: it belongs to the latency, not to the prefill server.
        prior.prefill_base_s -= hardware.fixed_ttft_s
        models[served.name_upstream] = ModelOnChip(
            speed=prior,
            kv_bytes_per_token=model.kv_bytes_per_token,
            ttft_error=rng.lognormvariate(0.0, MODEL_ERROR_SD_LOG),
            tpot_error=rng.lognormvariate(0.0, MODEL_ERROR_SD_LOG),
        )
        windows[served.name_upstream] = served.context_tokens or model.context_tokens
        weights += model.parameters * bytes_per_weight
    gateway_s = hardware.fixed_ttft_s * rng.lognormvariate(0.0, MODEL_ERROR_SD_LOG)
    label = HardwareLabel(id=hardware.id, name=hardware.name, count=backend.hardware_count, emulated=True)
    return ServerSpec(
        id=backend.id,
        label=f"{backend.id}, {label}",
        engine=EngineSpec(
            models=models,
            slots=backend.max_concurrency,
            latency_s=backend.network_rtt_s + gateway_s,
            kv_bytes=_kv_bytes(hardware, backend.hardware_count, weights),
            prefill_noise=HOSTED_PREFILL_NOISE if hardware.kind == "hosted" else PREFILL_NOISE,
        ),
        context_tokens=windows,
        max_waiting=QUEUE_PER_SLOT * backend.max_concurrency,
        requests_per_minute=backend.requests_per_minute,
        seed=own_seed,
    )


def _kv_bytes(hardware: Hardware, count: int, weights: float) -> float | None:
    """What the weights leave; unbounded where memory is not what limits (hosted, wafers with memory beside them)."""
    if hardware.kind in {"hosted", "wafer"} or not hardware.memory_bytes:
        return None
    return max(0.0, hardware.memory_bytes * count * USABLE_MEMORY - weights) or None


@asynccontextmanager
async def running(
    backends: Iterable[Backend], catalogue: Catalogue, *, host: str, seed: int = 0
) -> AsyncGenerator[dict[str, EmulatedServer]]:
    """The emulated ones of `backends`, by id, each listening on `host` at its address's port.

    Raises:
        OSError: a port is taken.
    """
    async with AsyncExitStack() as stack:
        servers: dict[str, EmulatedServer] = {}
        for backend in backends:
            if backend.emulated:
                server = EmulatedServer(describe(backend, catalogue, seed=seed))
                await server.start(host, urlsplit(backend.address).port or 0)
                stack.push_async_callback(server.close)
                servers[backend.id] = server
        yield servers


async def serve(config: Path, *, host: str, seed: int, as_json: bool) -> int:
    """Runs the fleet until it is told to stop; the exit status."""
    chosen = ports.assign(config / "fleet.yaml", os.environ, host=host)
    settings = load(config, {**os.environ, **chosen})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(settings.seed.backends, settings.catalogue, host=host, seed=seed) as servers:
            for server in servers.values():
                url = f"http://{host}:{server.port}"
                if as_json:
                    line = json.dumps({"id": server.spec.id, "url": url, "label": server.spec.label, "emulated": True})
                else:
                    line = f"emulated  {server.spec.label:<58}  {url}"
                print(line, flush=True)  # noqa: T201 - a command's output
            moved = _moved(config / "fleet.yaml", chosen)
            if moved and not as_json:
                print(f"Some usual ports are taken; start the router with: {' '.join(moved)}", flush=True)  # noqa: T201 - a command's output
            await stop.wait()
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    return 0


def _moved(fleet_yaml: Path, chosen: dict[str, str]) -> list[str]:
    usual = fleet_yaml.read_text()
    return [f"{name}={port}" for name, port in chosen.items() if f"${{{name}:-{port}}}" not in usual]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.fleet", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config"), help="directory of the YAML files")
    parser.add_argument("--host", default=ports.LOCAL, help="address to listen on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of answers, noise and model errors")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per backend")
    given = parser.parse_args()
    try:
        return uvloop.run(serve(given.config, host=given.host, seed=given.seed, as_json=given.as_json))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1


if __name__ == "__main__":
    sys.exit(main())
