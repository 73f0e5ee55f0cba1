"""Imports point one way: the contracts of .importlinter, and what they cannot say."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.conftest import Run


def test_the_import_contracts_hold(root: Path, run: Run) -> None:
    """Every contract of .importlinter is kept by the code as it is."""
    result = run([Path(sys.executable).parent / "lint-imports", "--no-cache"], root)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_domain_needs_the_standard_library_only(sources: tuple[Path, ...], root: Path) -> None:
    """router.domain imports itself and the standard library, so that its values can go anywhere."""
    foreign = {
        f"{path}: {name}"
        for path in sources
        if path.is_relative_to("router/domain")
        for name in _imports(root / path)
        if not (name == "router.domain" or name.startswith("router.domain."))
        and name.partition(".")[0] not in sys.stdlib_module_names
    }

    assert not foreign


def test_only_the_composition_root_knows_the_command_line(sources: tuple[Path, ...], root: Path) -> None:
    """Nothing but router.__main__ and router.cli itself imports router.cli."""
    allowed = (Path("router/cli"), Path("router/__main__.py"), Path("tests"))
    offenders = {
        str(path)
        for path in sources
        if not any(path.is_relative_to(place) for place in allowed)
        for name in _imports(root / path)
        if name == "router.cli" or name.startswith("router.cli.")
    }

    assert not offenders


def _imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
