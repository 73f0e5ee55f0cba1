"""`python -m simulation.device`: the real on-device backend, llama.cpp's own HTTP server, until SIGTERM or Ctrl-C.

Nothing here is emulated. The demo reaches it over HTTP, like any llama-server that somebody else has started.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from backends.llama_embedded.server import MAX_THREADS, Settings, serve

MODEL_NAME = "smollm2-135m"
MODEL_FILE = Path(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.device", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FILE, help="GGUF file (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=min(MAX_THREADS, os.cpu_count() or 1))
    given = parser.parse_args()
    if not given.model.is_file():
        print(f"{given.model} is not there: `make setup` fetches it", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    return serve(Settings(model=given.model, name=MODEL_NAME, host=given.host, port=given.port, threads=given.threads))


if __name__ == "__main__":
    sys.exit(main())
