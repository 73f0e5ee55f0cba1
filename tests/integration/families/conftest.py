"""One router for all tests of this folder; each finds its servers without the faults of the test before."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.integration.families.place import Place, placed


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    async with placed(tmp_path_factory.mktemp("families")) as place:
        yield place


@pytest.fixture
def place(started: Place) -> Place:
    started.clear()
    return started
