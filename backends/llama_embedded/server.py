"""The program of the child: llama.cpp's own HTTP server on loopback, with one model, until it is told to stop.

    python -m backends.llama_embedded.server --model FILE [--port 0] [--threads N] [...]

It is a process of its own because the engine computes on threads of its own, and because what crashes in it must not
take the router along. With INFERENCE_ROUTER_ENGINE_KEY in its environment it serves only whoever knows that key. Once
it serves it prints one line, "real", the engine, the model, and the address last.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

KEY_VARIABLE = "INFERENCE_ROUTER_ENGINE_KEY"
CONTEXT_TOKENS = 8192  # over all slots
SLOTS = 4
MAX_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the engine runs. `context_tokens` are shared by the slots; `gpu_layers` -1 is as many as fit."""

    model: Path
    name: str
    host: str = "127.0.0.1"
    port: int = 0
    context_tokens: int = CONTEXT_TOKENS
    slots: int = SLOTS
    threads: int = MAX_THREADS
    gpu_layers: int = -1


def serve(settings: Settings, *, key: str = "") -> int:
    """Loads the model and serves until a signal; the exit status."""
    if not settings.model.is_file():
        print(f"{settings.model} is not there", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    try:
        import xllamacpp  # noqa: PLC0415 - an optional extra, named in the message
    except ImportError:
        print("xllamacpp is not installed: pip install 'inference-router[device]'", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    # Blocked before the engine starts its threads, so that they inherit it and the signal waits for us.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.model_alias = {settings.name}
    params.hostnames = [settings.host]
    params.port = settings.port
    params.n_ctx = settings.context_tokens
    params.n_parallel = settings.slots
    params.cpuparams.n_threads = settings.threads
    params.n_gpu_layers = settings.gpu_layers
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.use_jinja = True
    params.ui = False
    if key:
        params.api_keys = [key]
    server = xllamacpp.Server(params)
    print(  # noqa: T201 - a command's output
        f"real      llama.cpp, {settings.name}, {settings.threads} threads  {server.listening_address}", flush=True
    )
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    # Its destructor waits for requests in flight; nobody waits for those once we are told to stop.
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m backends.llama_embedded.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--name", default="", help="what it is called there (default: the file's name)")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--context", type=int, default=CONTEXT_TOKENS, help="tokens, over all slots")
    parser.add_argument("--slots", type=int, default=SLOTS, help="sequences at the same time")
    parser.add_argument("--threads", type=int, default=min(MAX_THREADS, os.cpu_count() or 1))
    parser.add_argument("--gpu-layers", type=int, default=-1)
    given = parser.parse_args()
    settings = Settings(
        model=given.model,
        name=given.name or given.model.stem,
        port=given.port,
        context_tokens=given.context,
        slots=given.slots,
        threads=given.threads,
        gpu_layers=given.gpu_layers,
    )
    return serve(settings, key=os.environ.pop(KEY_VARIABLE, ""))


if __name__ == "__main__":
    sys.exit(main())
