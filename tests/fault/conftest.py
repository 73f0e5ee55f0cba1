"""The processes of tests/integration/router, for tests that hurt them."""

from __future__ import annotations

from tests.integration.router.conftest import (
    clients,
    dispatch,
    emulators,
    figure,
    fleet,
    fresh_clients,
    fresh_router,
    pytest_terminal_summary,
    router,
    site,
)

__all__ = [
    "clients",
    "dispatch",
    "emulators",
    "figure",
    "fleet",
    "fresh_clients",
    "fresh_router",
    "pytest_terminal_summary",
    "router",
    "site",
]
