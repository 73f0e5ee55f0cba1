"""Generates router/v1 from proto/router/v1; with --check it only says whether the committed code is what they give."""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
GENERATED = Path("router/v1")


def generate(into: Path) -> None:
    """Writes the code of every proto file below `into`, as router/v1/*_pb2*."""
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'proto'}",
            f"-I{well_known}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            f"--grpc_python_out={into}",
            *(str(proto) for proto in protos),
        ]
    )
    if code != 0:
        raise SystemExit(f"protoc failed with exit code {code}")


def stale(scratch: Path) -> list[str]:
    """The generated files that differ from what the protos give today, are missing, or have no proto any more."""
    generate(scratch)
    fresh = {path.name: path.read_bytes() for path in (scratch / GENERATED).glob("*_pb2*")}
    committed = {path.name: path.read_bytes() for path in (ROOT / GENERATED).glob("*_pb2*") if path.is_file()}
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.proto", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when router/v1 is stale")
    if not parser.parse_args(argv).check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        names = stale(Path(scratch))
    if names:
        sys.stderr.write(f"{GENERATED} is stale ({', '.join(names)}): run `make proto` and commit the result.\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
