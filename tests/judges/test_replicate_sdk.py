"""Replicate's own Python SDK drives the emulated servers: creation, stream, cancellation and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from simulation.wires.faults import Faults
from simulation.wires.replicate import TOKEN, VERSION, ReplicateServer

pytestmark = pytest.mark.judge("replicate", "sdk")

MODEL = "meta/llama-3-70b-instruct"


@pytest.fixture
async def server() -> AsyncIterator[ReplicateServer]:
    server = ReplicateServer(MODEL)
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: ReplicateServer) -> AsyncIterator[Client]:
    transport = httpx.AsyncHTTPTransport()  # the SDK has no way to close its own
    yield Client(base_url=f"http://127.0.0.1:{server.port}", api_token=TOKEN, transport=transport)
    await transport.aclose()


async def test_a_stream_is_read_from_the_other_port(client: Client, server: ReplicateServer) -> None:
    """Its text keeps its line ends and spaces; the last event says that it is done."""
    events = [event async for event in await client.async_stream(MODEL, input={"prompt": "hello", "max_tokens": 40})]
    text = "".join(map(str, events))
    assert text.startswith("Emulated answer of Replicate: no model has run.\n\n ")
    assert (events[-1].event.value, events[-1].data) == ("done", "{}")
    assert len({event.id for event in events}) == len(events)
    assert server.streams.port != server.port


async def test_a_prediction_ends_with_its_counts(client: Client) -> None:
    """What the stream does not say, the prediction does."""
    prediction = await client.models.predictions.async_create(MODEL, input={"prompt": "hello"}, stream=True)
    assert prediction.status == "starting"
    assert "".join([str(event) async for event in prediction.async_stream()])
    prediction = await client.predictions.async_get(prediction.id)
    assert prediction.status == "succeeded"
    assert prediction.metrics
    assert prediction.metrics["input_token_count"] == 2
    assert prediction.output


async def test_versions_and_deployments_are_predicted_with(client: Client, server: ReplicateServer) -> None:
    """Three ways to say which model."""
    version = await client.predictions.async_create(version=VERSION, input={"prompt": "hello"}, stream=True)
    deployment = await client.deployments.predictions.async_create(MODEL, input={"prompt": "hello"}, stream=True)
    assert version.version == deployment.version == VERSION
    paths = [request["body"]["path"] for request in server.seen]
    assert paths == ["/v1/predictions", f"/v1/deployments/{MODEL}/predictions"]


async def test_a_prediction_is_cancelled(client: Client, server: ReplicateServer) -> None:
    """By its own address."""
    prediction = await client.models.predictions.async_create(MODEL, input={"prompt": "hello"}, stream=True)
    await prediction.async_cancel()
    assert prediction.status == "canceled"
    async with asyncio.timeout(2):
        await server.cancellation()
    assert list(server.cancelled) == [prediction.id]


@pytest.mark.parametrize(
    ("status", "words"), [(402, "insufficient credit"), (429, "resets in ~30s"), (500, "internal error")]
)
async def test_refusals_are_read(client: Client, server: ReplicateServer, status: int, words: str) -> None:
    """As problem details: a title, a detail and the status again."""
    server.faults = Faults(status=status)
    with pytest.raises(ReplicateError, match=words) as caught:
        await client.models.predictions.async_create(MODEL, input={"prompt": "hello"})
    assert (caught.value.status, bool(caught.value.title)) == (status, True)


async def test_what_is_not_there_or_not_right_is_refused(client: Client) -> None:
    """An unknown model, an unknown version, inputs of the wrong type."""
    with pytest.raises(ReplicateError, match="could not be found"):
        await client.models.predictions.async_create("no/body", input={"prompt": "hello"})
    with pytest.raises(ReplicateError, match="does not exist"):
        await client.predictions.async_create(version="f" * 64, input={"prompt": "hello"})
    with pytest.raises(ReplicateError, match="Invalid type"):
        await client.models.predictions.async_create(MODEL, input={"prompt": 1})


async def test_an_error_inside_a_stream_is_read(client: Client, server: ReplicateServer) -> None:
    """An event of its own."""
    server.faults = Faults(error_after=2)
    events = aiter(await client.async_stream(MODEL, input={"prompt": "hello"}))
    assert [(await anext(events)).event.value for _ in range(2)] == ["output", "output"]
    with pytest.raises(RuntimeError, match="Prediction interrupted"):
        await anext(events)


async def test_a_client_without_the_token_is_refused(server: ReplicateServer) -> None:
    """Everything needs it, the stream too."""
    transport = httpx.AsyncHTTPTransport()
    stranger = Client(base_url=f"http://127.0.0.1:{server.port}", api_token="wrong", transport=transport)
    with pytest.raises(ReplicateError, match="authentication token"):
        await stranger.models.predictions.async_create(MODEL, input={"prompt": "hello"})
    await transport.aclose()
