"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REAL_TIME = frozenset({"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns"})
# The clock itself, and the parent of real processes: those die in real time only.
READERS = frozenset({Path("router/clock.py"), Path("supervise/child.py"), Path("supervise/shim.py")})


def test_every_test_says_what_it_proves(sources: tuple[Path, ...], root: Path) -> None:
    """Each test function has a docstring."""
    silent = {
        f"{path}: {node.name}"
        for path in sources
        if path.parts[0] == "tests" and path.name.startswith("test_")
        for node in ast.walk(ast.parse((root / path).read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    }

    assert not silent


def test_nothing_is_patched(sources: tuple[Path, ...], root: Path) -> None:
    """Tests use shipped fakes: none replaces an attribute of the code that it tests."""
    names = ("mock" + ".patch", "Magic" + "Mock", "Async" + "Mock", "monkeypatch" + ".setattr", "unittest" + ".mock")
    forbidden = re.compile("|".join(map(re.escape, names)))
    found = {str(path) for path in sources if forbidden.search((root / path).read_text("utf-8"))}

    assert not found


def test_every_file_says_what_it_is_for(sources: tuple[Path, ...], root: Path) -> None:
    """Each Python file with code begins with a docstring."""
    silent = {
        str(path)
        for path in sources
        if (tree := ast.parse((root / path).read_bytes())).body and not ast.get_docstring(tree)
    }

    assert not silent


def test_only_the_clock_reads_real_time(sources: tuple[Path, ...], root: Path) -> None:
    """In router/, time comes from router.clock, so that a test can decide what time it is."""
    readers = {
        f"{path}:{line}"
        for path in sources
        if path.parts[0] == "router" and path not in READERS
        for line in _reads_of_real_time(ast.parse((root / path).read_bytes()))
    }

    assert not readers


def test_nothing_is_left_to_be_done(sources: tuple[Path, ...], root: Path) -> None:
    """No file holds a note to finish it later, and no function is a stub."""
    notes = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error")) + r")\b")
    found = {f"{path}: {match[0]}" for path in sources if (match := notes.search((root / path).read_text("utf-8")))}

    assert not found


def test_no_type_is_ignored_wholesale(sources: tuple[Path, ...], root: Path) -> None:
    """Each ignored finding names its rule and, for ruff, its reason."""
    bare = re.compile(
        r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)|#\s*noqa:\s*[A-Z0-9, ]+$|#\s*ruff:\s*noqa(?!: [A-Z0-9, ]+ - )",
        re.MULTILINE,
    )
    found = {f"{path}: {match[0]}" for path in sources if (match := bare.search((root / path).read_text("utf-8")))}

    assert not found


def _reads_of_real_time(tree: ast.AST) -> Iterator[int]:
    """Lines that call or hand over a function of `time`, or read the present from `datetime`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr in REAL_TIME:
                yield node.lineno
            if node.value.id in {"datetime", "date"} and node.attr in {"now", "utcnow", "today"}:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "time" and {a.name for a in node.names} & REAL_TIME:
            yield node.lineno
