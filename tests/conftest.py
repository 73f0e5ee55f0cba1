"""What holds for every test."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

from router.compile import stale

# No property is one of time: how long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engines", action="store_true", help="run tests/engines too: real vLLM and mlx-lm, for minutes")


def pytest_configure(config: pytest.Config) -> None:
    """What a router started by a test would keep in this user's home goes elsewhere, and away.

    A compiled module shadows its source; tests of an old one would prove nothing.
    """
    if names := stale():
        pytest.exit(
            f"compiled modules are older than their source: {', '.join(names)}; run 'make compile'", returncode=4
        )
    state = tempfile.mkdtemp(prefix="router-tests-")
    os.environ["XDG_STATE_HOME"] = state
    config.add_cleanup(lambda: shutil.rmtree(state, ignore_errors=True))
