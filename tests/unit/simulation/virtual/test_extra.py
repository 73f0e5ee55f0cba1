"""What simulating needs beside the router, where it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulation.virtual.command import simulate


@pytest.mark.parametrize(
    ("package", "module", "arguments"),
    [
        ("scipy", "scipy.optimize", ("--policy", "bound")),
        ("matplotlib", "matplotlib", ("--plot", "plot.png")),
    ],
)
def test_a_missing_package_is_named_with_its_remedy_before_anything_is_read(
    package: str, module: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of minutes does not end in an import that fails: not even the trace is looked for."""
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(simulate, ["--trace", str(tmp_path / "none.csv"), *arguments])

    assert result.exit_code == 1
    assert f"{package} is not installed" in result.stderr
    assert "pip install 'inference-router[simulate]'" in result.stderr


def test_what_needs_no_package_asks_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a plot or the bound neither of them is missed."""
    for module in ("scipy.optimize", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(simulate, ["--trace", str(tmp_path / "none.csv")])

    assert result.exit_code == 2
    assert "none.csv" in result.stderr
