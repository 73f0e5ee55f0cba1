"""Generates code from proto/, each file's beside its package; --check only says whether what is committed is that code.

Packages of our own services get gRPC stubs. Those below proto/backends are wires of other servers, under names of our
own: their messages are generated, and adapters call the methods by their true paths.
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = tuple(sorted({path.parent.relative_to(ROOT / "proto") for path in (ROOT / "proto").rglob("*.proto")}))


def generate(into: Path) -> None:
    """Writes the code of every proto file below `into`, as <package>/*_pb2*."""
    for package in PACKAGES:
        options = [f"--python_out={into}", f"--pyi_out={into}"]
        if package.parts[0] == "router":
            options.append(f"--grpc_python_out={into}")
        _protoc([*options, *(str(proto) for proto in sorted((ROOT / "proto" / package).glob("*.proto")))])


def _protoc(arguments: list[str]) -> None:
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    code = protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", *arguments])
    if code != 0:
        raise SystemExit(f"protoc failed with exit code {code}")


def stale(scratch: Path) -> list[str]:
    """The generated files that differ from what the protos give today, are missing, or have no proto any more."""
    generate(scratch)
    fresh, committed = _contents(scratch), _contents(ROOT)
    return sorted(str(path) for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path))


def _contents(root: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(root): path.read_bytes()
        for package in PACKAGES
        for path in (root / package).glob("*_pb2*")
        if path.is_file()
    }


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.proto", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when generated code is stale")
    if not parser.parse_args(argv).check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        names = stale(Path(scratch))
    if names:
        sys.stderr.write(f"Generated code is stale ({', '.join(names)}): run `make proto` and commit the result.\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
