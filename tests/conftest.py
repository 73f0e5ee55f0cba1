"""What holds for every test."""

from __future__ import annotations

import pytest

from router.compile import stale


def pytest_configure() -> None:
    """A compiled module shadows its source; tests of an old one would prove nothing."""
    if names := stale():
        pytest.exit(
            f"compiled modules are older than their source: {', '.join(names)}; run 'make compile'", returncode=4
        )
