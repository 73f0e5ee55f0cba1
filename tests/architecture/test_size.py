"""A file has one job: 400 lines are the most, and the two orchestrators have less."""

from __future__ import annotations

from pathlib import Path

BUDGET = 400
ORCHESTRATOR_BUDGET = 260
ORCHESTRATORS = frozenset({Path("router/dispatch/director.py"), Path("router/dispatch/executor.py")})


def test_no_file_is_over_its_budget(sources: tuple[Path, ...], root: Path) -> None:
    """Every Python file that people write keeps within its number of lines."""
    over = {
        f"{path}: {lines} of {budget}"
        for path in sources
        if (lines := (root / path).read_bytes().count(b"\n"))
        > (budget := ORCHESTRATOR_BUDGET if path in ORCHESTRATORS else BUDGET)
    }

    assert not over


def test_the_orchestrators_are_where_their_budget_looks(root: Path) -> None:
    """The smaller budget names files that exist."""
    assert all((root / path).is_file() for path in ORCHESTRATORS)
