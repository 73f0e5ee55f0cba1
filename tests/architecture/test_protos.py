"""The protos are well formed, and the committed code is what they generate."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.architecture.conftest import Run
from tools import proto


def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    """Generating router/v1 again gives the committed bytes."""
    assert proto.stale(tmp_path) == [], "run `make proto` and commit the result"


def test_the_protos_pass_buf_lint(root: Path, run: Run) -> None:
    """Buf's standard rules find nothing."""
    result = run([Path(sys.executable).parent / "buf", "lint"], root)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_protos_are_formatted(root: Path, run: Run) -> None:
    """Buf format would change nothing."""
    result = run([Path(sys.executable).parent / "buf", "format", "--diff", "--exit-code"], root)

    assert result.returncode == 0, result.stdout + result.stderr
