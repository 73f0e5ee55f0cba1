"""`python -m simulation.device`: the real on-device backend, llama.cpp's own HTTP server, until SIGTERM or Ctrl-C.

Nothing here is emulated. It runs in a process of its own because the engine computes on threads of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

MODEL_NAME = "smollm2-135m"
MODEL_FILE = Path(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")
CONTEXT_TOKENS = 8192  # over all slots
SLOTS = 4
MAX_THREADS = 2


def serve(model: Path, *, host: str, port: int, threads: int) -> int:
    """Loads the model and serves until a signal; the exit status."""
    if not model.is_file():
        print(f"{model} is not there: `make setup` fetches it", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    try:
        import xllamacpp  # noqa: PLC0415 - an optional extra, named in the message
    except ImportError:
        print("xllamacpp is not installed: pip install 'inference-router[device]'", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    # Blocked before the engine starts its threads, so that they inherit it and the signal waits for us.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL_NAME}
    params.hostnames = [host]
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = threads
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.use_jinja = True
    params.ui = False
    server = xllamacpp.Server(params)
    print(f"real      llama.cpp, {MODEL_NAME}, {threads} threads  {server.listening_address}", flush=True)  # noqa: T201 - a command's output
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    # Its destructor waits for requests in flight; nobody waits for those once we are told to stop.
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.device", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="GGUF file (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=min(MAX_THREADS, os.cpu_count() or 1))
    given = parser.parse_args()
    return serve(given.model, host=given.host, port=given.port, threads=given.threads)


if __name__ == "__main__":
    sys.exit(main())
