"""What is committed stands on its own: no address of a machine or a registry, and locks that can be trusted."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from backends.registry import WIRES

# Put together here, so that this file does not hold what it looks for.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("ghcr", "io"),
        ("docker", "io"),
        ("quay", "io"),
        ("gcr", "io"),
    )
)
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("work", "root", "home", "Users", "tmp/bash_jobs"))
LOCKS = ("runtime", "dev", "model", "triton", "fuzz", "envoy")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, list[str]]:
    """Requirements of pyproject.toml, by extra; those of everyone are under ""."""
    parsed = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return {"": parsed["dependencies"], **parsed["optional-dependencies"]}


def test_no_file_names_a_place_of_one_machine_or_a_registry(tracked: tuple[Path, ...], root: Path) -> None:
    """Every tracked file works, and reads, the same wherever it is checked out."""
    looked_for = re.compile(
        "|".join([*map(re.escape, HOSTS), *(rf"(?<![\w.-]){re.escape(folder)}" for folder in MACHINE_FOLDERS)])
    )
    found = {
        f"{path}: {match[0]}"
        for path in tracked
        if (match := looked_for.search((root / path).read_bytes().decode("utf-8", "replace")))
    }

    assert not found


def test_no_file_holds_a_secret(tracked: tuple[Path, ...], root: Path) -> None:
    """Nothing tracked has the form of a private key or of a provider's API key; what looks like one says it is not."""
    shapes = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:sk-(?:proj-|ant-)?|gsk_|ghp_|hf_|AKIA)[A-Za-z0-9]{24,}")
    found = {
        f"{path}: {match[0][:8]}..."
        for path in tracked
        if (match := shapes.search((root / path).read_bytes().decode("utf-8", "replace")))
    }

    assert not found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_no_address(root: Path, name: str) -> None:
    """Each entry of a lock is one exact version with at least one SHA-256, from wherever pip is told to look."""
    text = (root / "requirements" / f"{name}.lock").read_text("utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]

    assert "://" not in text
    assert "--index-url" not in text
    for line in lines:
        assert re.match(r"^[a-z0-9-]+==[^\s;]+( ; [^-]+?)?\s+--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_a_lock_has_what_the_project_asks_for(root: Path, project: dict[str, list[str]], name: str) -> None:
    """Every requirement of pyproject.toml and of the files that a lock is made from is met by the lock."""
    locked = _locked(root, name)
    extras = ("", "aws", "device", "prices") if name == "runtime" else project
    wanted = [*(line for extra in extras for line in project[extra]), *_lines(root, "runtime")]
    wanted += _lines(root, "dev") if name == "dev" else []
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))

        assert version is not None, f"{requirement.name} is not in {name}.lock: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}, locked: {version}; run `make lock`"


def test_every_extra_that_an_error_names_is_one_of_the_project(
    tracked: tuple[Path, ...], root: Path, project: dict[str, list[str]]
) -> None:
    """Whoever types what a message or a page says to install gets what is missing: pip only warns of unknown extras."""
    named = {
        extra
        for path in tracked
        if path.suffix in {".py", ".md"}
        for extra in re.findall(r"inference-router\[([a-z]+)\]", (root / path).read_text("utf-8"))
    }

    assert {"device", "export", "simulate"} <= named <= project.keys()
    assert {wire.extra for wire in WIRES.values()} <= project.keys()


def test_development_runs_what_production_runs(root: Path) -> None:
    """dev.lock holds every version of runtime.lock."""
    development = _locked(root, "dev")

    assert {name: development.get(name) for name in _locked(root, "runtime")} == _locked(root, "runtime")


def _locked(root: Path, name: str) -> dict[str, Version]:
    text = (root / "requirements" / f"{name}.lock").read_text("utf-8")
    return {canonicalize_name(n): Version(v) for n, v in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def _lines(root: Path, name: str) -> Iterator[str]:
    for line in (root / "requirements" / f"{name}.in").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line
