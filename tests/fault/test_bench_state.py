"""Every row of `make bench-state`, shortened: what replicas agree on holds on real processes that are really killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.state.registry import ROWS

ROOT = Path(__file__).resolve().parents[2]
NAMES = [row.name for row in ROWS]
LIMIT_S = 1_200.0
Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    """One quick run of the rows that were selected, by name."""
    own = {item.name for item in request.session.items if item.path == request.path}
    names = [name for name in NAMES if f"{test_state.__name__}[{name}]" in own]
    argv = [sys.executable, "-m", "bench.state", "--quick", "--json", "--only", ",".join(names)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout, f"the run ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return {row["name"]: row for row in json.loads(done.stdout)["rows"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_state(name: str, results: Results, figure: Callable[[str], None]) -> None:
    """Each row holds what it must, whatever is killed; how fast it was is told, and judged by the benchmark alone."""
    row = results[name]
    for fact in row["facts"]:
        if fact["bound"]:
            figure(f"{row['name']}: {fact['what']}: {fact['got']} (must be {fact['bound']})")

    missed = [
        f"{fact['what']}: {fact['got']}, must be {fact['bound']}"
        for fact in row["facts"]
        if fact["reached"] is False and not fact["timed"]
    ]
    held = row["verdict"] in {"reached", "MISSED"} and not missed
    assert held, "\n".join([row["title"], row["why"], *missed, *row["notes"]])
