from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import KINDS, Harness, harness_of


@pytest.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    async with harness_of(request.param) as found:
        yield found
