"""boto3 drives the emulated SageMaker runtime: parts of a stream, whole answers, and its errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from simulation.wires.aws_signature import ACCESS_KEY, SECRET_KEY
from simulation.wires.faults import Faults
from simulation.wires.sagemaker import ENDPOINT, EmulatedSageMaker

pytestmark = pytest.mark.judge("sagemaker", "sdk")


@pytest.fixture
async def server() -> AsyncIterator[EmulatedSageMaker]:
    server = EmulatedSageMaker()
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def client(server: EmulatedSageMaker) -> AsyncIterator[Any]:
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(retries={"max_attempts": 0}, read_timeout=5),
    )
    yield client
    client.close()


def body(**more: Any) -> bytes:
    return json.dumps({"model": "", "messages": [{"role": "user", "content": "hi"}], "stream": True, **more}).encode()


async def stream(client: Any, **more: Any) -> list[bytes]:
    def call() -> list[bytes]:
        answer = client.invoke_endpoint_with_response_stream(
            **{"EndpointName": ENDPOINT, "ContentType": "application/json", "Body": body(), **more}
        )
        with contextlib.closing(answer["Body"]) as events:
            return [event["PayloadPart"]["Bytes"] for event in events]

    return await asyncio.to_thread(call)


async def test_parts_are_the_containers_own_stream(client: Any) -> None:
    """Put together, the parts are server-sent events; no part is one of them."""
    parts = await stream(client, TargetVariant="canary", InferenceComponentName="llama")
    whole = b"".join(parts)
    assert whole.endswith(b"data: [DONE]\n\n")
    assert not any(part.endswith(b"\n\n") and part.startswith(b"data:") for part in parts)
    assert b"Emulated"[:4] in whole


async def test_an_answer_in_one_piece_is_accepted(client: Any) -> None:
    """Without a stream the container's JSON is the body."""
    answer = await asyncio.to_thread(client.invoke_endpoint, EndpointName=ENDPOINT, Body=body(stream=False))
    read = json.loads(answer["Body"].read())
    answer["Body"].close()
    assert read["choices"][0]["message"]["content"].startswith("Emulated answer of emulated-endpoint")
    assert answer["InvokedProductionVariant"] == "AllTraffic"


async def test_a_failure_of_the_container_is_a_model_error(server: EmulatedSageMaker, client: Any) -> None:
    """What the container said is inside the service's own error."""
    server.failure = (503, '{"error":{"message":"The request queue is full."}}')
    with pytest.raises(client.exceptions.ModelError) as caught:
        await stream(client)
    assert caught.value.response["OriginalStatusCode"] == 503
    assert "queue is full" in caught.value.response["OriginalMessage"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationError"),
        (429, "ModelNotReadyException"),
        (500, "InternalFailure"),
        (503, "ServiceUnavailable"),
        (530, "InternalDependencyException"),
    ],
)
async def test_errors_are_the_sdks_own(server: EmulatedSageMaker, client: Any, status: int, code: str) -> None:
    """Each code of the service is raised as the exception that the SDK has for it."""
    server.faults = Faults(status=status, code=code)
    with pytest.raises(getattr(client.exceptions, code)) as caught:
        await asyncio.to_thread(client.invoke_endpoint, EndpointName=ENDPOINT, Body=body())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_an_unknown_endpoint_is_a_validation_error(client: Any) -> None:
    """The service says so with a 400."""
    with pytest.raises(client.exceptions.ValidationError, match="not found"):
        await stream(client, EndpointName="another")


async def test_an_exception_inside_a_stream_is_raised(server: EmulatedSageMaker, client: Any) -> None:
    """ModelStreamError comes after parts that were good."""
    server.faults = Faults(error_after=2, code="ModelInvocationTimeExceeded")
    with pytest.raises(EventStreamError) as caught:
        await stream(client)
    message = "Emulated ModelInvocationTimeExceeded"
    assert caught.value.response["Error"] == {"Code": "ModelStreamError", "Message": message}
