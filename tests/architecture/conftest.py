"""The repository as an outsider gets it: its tracked files, and a copy of nothing but these."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED_MARK = "_pb2"
MADE = frozenset({".git", ".venv", ".cache", "__pycache__", "build", "dist", "run", ".hypothesis"})

Run = Callable[[Sequence[str | Path], Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> tuple[Path, ...]:
    """Paths of the tracked files that are there, relative to the root; without git, of all that nothing made."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return tuple(sorted(_not_made(Path())))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()))


def _not_made(folder: Path) -> Iterator[Path]:
    """Files below a folder of an unpacked archive, without environments, caches and what installing leaves."""
    for path in sorted((ROOT / folder).iterdir()):
        name = path.name
        made = name in MADE if path.is_dir() else name.startswith(".coverage")
        if made or name.endswith((".egg-info", ".so", "_cache")):
            continue
        if path.is_dir():
            yield from _not_made(folder / name)
        elif path.is_file():
            yield folder / name


@pytest.fixture(scope="session")
def sources(tracked: tuple[Path, ...]) -> tuple[Path, ...]:
    """The Python files that people write."""
    return tuple(path for path in tracked if path.suffix == ".py" and GENERATED_MARK not in path.name)


@pytest.fixture(scope="session")
def clean_clone(tracked: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone gives: the tracked files as they are now, and none that only this machine has."""
    folder = tmp_path_factory.mktemp("clone")
    for path in tracked:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    return folder


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a command and returns what it said; the settings of an outer `make` do not reach it."""

    def start(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        hidden = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH"}
        environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name not in hidden}
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return start
