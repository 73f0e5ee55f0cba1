"""The native build of the decision core decides as the plain Python does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECIDE = """
import random, sys
from pathlib import Path
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.domain.pricing import books
from router.domain.snapshot import FleetSnapshot
from router.domain.request import Objective, RequestProfile
from router.prediction.output_length import OutputLength
from router.scheduling import scheduler
from router.settings import load

settings = load(Path(sys.argv[1]), {})
clock = FakeClock()
fleet = Fleet(
    catalogue=settings.catalogue, build_adapter=lambda spec: object(), clock=clock, policies=settings.policies
)
fleet.apply(FleetSnapshot(
    version=1,
    backends={b.id: b for b in settings.seed.backends},
    prices={(book.backend, book.model): book for book in books(settings.seed.prices)},
))
decider = Decider(fleet=fleet, lengths=OutputLength(), clock=clock, uniform=random.Random(1).random, age=lambda: 0.0)
print(Path(scheduler.__file__).suffix)
for objective in Objective:
    for model in ("llama-3.1-8b", "llama-3.3-70b", "auto"):
        plan = decider.plan(RequestProfile(request_id="r", model=model, input_tokens=900.0, objective=objective))
        for candidate in decider.full(plan).ranked:
            print(objective, model, candidate.backend, repr(candidate.objective_usd), candidate.terms)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_native_and_plain_decide_alike(tmp_path: Path) -> None:
    """Compiled in a copy of the tree and run from another directory, every candidate has the same numbers."""
    for package in ("router", "backends"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    plain = decide(tmp_path)
    subprocess.run([sys.executable, "-m", "router.compile"], cwd=tmp_path, check=True, capture_output=True)
    native = decide(tmp_path)
    assert plain[0] == ".py"
    assert native[0] == ".so"
    assert len(plain) > 40
    assert native[1:] == plain[1:]


def decide(tree: Path) -> list[str]:
    env = os.environ | {"PYTHONPATH": str(tree)}
    elsewhere = tree / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    argv = [sys.executable, "-P", "-c", DECIDE, str(ROOT / "config")]
    done = subprocess.run(argv, cwd=elsewhere, env=env, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
