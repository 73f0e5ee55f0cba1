"""A fleet of two emulated backends, `fast` far cheaper than `spare`, and routers on it; figures go to the summary.

All of these tests share one event loop: grpc.aio has one poller for the process, and what it hands to a loop that an
earlier test has closed shows up as an error in a later one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest
import pytest_asyncio

from supervise.child import Child
from tests.integration.router.calls import Clients, Emulators, clients_of, emulators_of
from tests.integration.router.site import FAST, SPARE, Running, Site, run_fleet, run_router

FIGURES = pytest.StashKey[list[str]]()
Figure = Callable[[str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Takes a measured figure, for the summary of the run."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, a line each; also called for tests/fault, so it forgets what it has shown."""
    figures = terminalreporter.config.stash.get(FIGURES, [])
    for line in figures:
        terminalreporter.write_line(f"measured: {line}")
    figures.clear()


@pytest.fixture(scope="module")
def dispatch() -> dict[str, float]:
    """Values of policies.yaml that a module's tests change."""
    return {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, dispatch: dict[str, float]) -> Site:
    """The product's own catalogue and policies with a fleet of two."""
    return Site.build(tmp_path_factory.mktemp("router") / "site", FAST, SPARE, dispatch=dispatch)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(site: Site) -> AsyncGenerator[Child]:
    """The emulated backends of the module."""
    async with run_fleet(site) as child:
        yield child


@pytest_asyncio.fixture(loop_scope="session")
async def emulators(site: Site, fleet: Child) -> AsyncGenerator[Emulators]:  # noqa: ARG001 - they must be running
    """The emulated backends, without the faults of the test before."""
    async with emulators_of(site) as face:
        await face.reset()
        yield face


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def router(site: Site, fleet: Child) -> AsyncGenerator[Running]:  # noqa: ARG001 - it must be running
    """One router for the module; it must end with status 0 and an output without tracebacks."""
    async with run_router(site) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clients(router: Running) -> AsyncGenerator[Clients]:
    async with clients_of(router) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_router(site: Site, fleet: Child) -> AsyncGenerator[Running]:  # noqa: ARG001 - it must be running
    """A router that knows nothing of earlier tests."""
    async with run_router(site) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_clients(fresh_router: Running) -> AsyncGenerator[Clients]:
    async with clients_of(fresh_router) as opened:
        yield opened
