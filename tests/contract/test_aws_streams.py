"""What both services of AWS do with a stream that is spoilt, cut or left, and how they are probed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends.errors import StreamBroken
from simulation.wires.bedrock import EmulatedBedrock
from simulation.wires.faults import Faults
from simulation.wires.sagemaker import ENDPOINT, EmulatedSageMaker
from simulation.wires.serving import HttpWire
from tests.contract.aws import Bench, ask, bench

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(params=["httpx", "fast"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["bedrock", "sagemaker"])
async def aws(request: pytest.FixtureRequest, transport: str) -> AsyncIterator[Bench[HttpWire]]:
    server: HttpWire = EmulatedBedrock() if request.param == "bedrock" else EmulatedSageMaker()
    async with bench(request.param, CLAUDE if request.param == "bedrock" else ENDPOINT, server, transport) as found:
        yield found


@pytest.mark.parametrize("fault", [Faults(cut_after=2), Faults(malformed_after=2)])
async def test_a_spoilt_or_cut_stream_is_broken(aws: Bench[HttpWire], fault: Faults) -> None:
    """A frame whose checksum is wrong, and a connection without the end of an answer, are never success."""
    aws.server.faults = fault
    chunks, error = await aws.until_broken(ask())
    assert "".join(chunk.text for chunk in chunks) == "Emulated"
    assert isinstance(error, StreamBroken)


async def test_leaving_closes_the_connection(aws: Bench[HttpWire]) -> None:
    """A caller who is gone frees the upstream at once."""
    aws.server.faults = Faults(stall_after=2)
    await aws.leave(ask())
    await asyncio.wait_for(aws.server.disconnected(), 2)
    assert aws.server.disconnects == 1


async def test_the_probe_connects_and_asks_nothing(aws: Bench[HttpWire]) -> None:
    """Every request would bill, so a connection is the only question."""
    assert (await aws.backend().probe(timeout_s=2)).healthy
    assert not aws.server.seen
    await aws.server.close()
    assert not (await aws.backend().probe(timeout_s=2)).healthy
