"""boto3 drives the emulated Bedrock runtime: what its model of the service accepts, and how it reports errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from simulation.wires.aws_signature import ACCESS_KEY, SECRET_KEY
from simulation.wires.bedrock import EmulatedBedrock
from simulation.wires.bedrock_request import signature_of
from simulation.wires.event_stream import error
from simulation.wires.faults import Faults

pytestmark = pytest.mark.judge("bedrock", "sdk")

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"toolSpec": {"name": "get_weather", "description": "Weather somewhere", "inputSchema": {"json": CITY}}}


@pytest.fixture
async def server() -> AsyncIterator[EmulatedBedrock]:
    server = EmulatedBedrock()
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


class Sdk:
    """The client, called in a thread while the server runs on the loop."""

    def __init__(self, port: int, secret: str = SECRET_KEY) -> None:
        self.client = boto3.client(
            "bedrock-runtime",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 0}, read_timeout=5),
        )

    async def call(self, operation: Callable[..., dict[str, Any]], text: str = "Hello", **more: Any) -> dict[str, Any]:
        more.setdefault("messages", [{"role": "user", "content": [{"text": text}]}])
        more.setdefault("modelId", CLAUDE)
        return await asyncio.to_thread(operation, **more)

    async def stream(self, text: str = "Hello", **more: Any) -> list[dict[str, Any]]:
        answer = await self.call(self.client.converse_stream, text, **more)
        with contextlib.closing(answer["stream"]) as events:
            return await asyncio.to_thread(list, events)


@pytest.fixture
async def sdk(server: EmulatedBedrock) -> AsyncIterator[Sdk]:
    sdk = Sdk(server.port)
    yield sdk
    sdk.client.close()


def deltas(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]


@pytest.mark.parametrize("model", [CLAUDE, ARN])
async def test_a_stream_is_accepted_event_by_event(sdk: Sdk, model: str) -> None:
    """Every event fits the SDK's model in its order, for a model by its id and by its ARN."""
    events = await sdk.stream(modelId=model)
    names = [next(iter(event)) for event in events]
    assert names[0] == "messageStart"
    assert names[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    assert set(names[1:-3]) == {"contentBlockDelta"}
    assert "".join(delta["text"] for delta in deltas(events)).startswith("Emulated answer of ")
    assert events[-1]["metadata"]["usage"]["outputTokens"] == len(names) - 4


async def test_an_answer_in_one_piece_is_accepted(sdk: Sdk) -> None:
    """Converse answers with text, the reason of its end and counts."""
    answer = await sdk.call(sdk.client.converse, inferenceConfig={"maxTokens": 20, "stopSequences": ["no model"]})
    assert answer["output"]["message"]["content"][0]["text"].startswith("Emulated")
    assert answer["stopReason"] in ("stop_sequence", "max_tokens")
    assert answer["usage"]["totalTokens"] == answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]


async def test_tools_and_their_results_are_accepted(sdk: Sdk) -> None:
    """A call arrives in pieces; with its result the conversation goes on."""
    tools = {"tools": [WEATHER], "toolChoice": {"any": {}}}
    events = await sdk.stream(toolConfig=tools)
    start = next(event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event)
    assert start["name"] == "get_weather"
    assert "".join(delta["toolUse"]["input"] for delta in deltas(events)).startswith('{"city"')
    call = {"toolUseId": start["toolUseId"], "name": "get_weather", "input": {"city": "x"}}
    turns = [
        {"role": "user", "content": [{"text": "Hello"}]},
        {"role": "assistant", "content": [{"toolUse": call}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "sun"}]}}]},
    ]
    after = await sdk.stream(messages=turns, toolConfig={"tools": [WEATHER]})
    assert next(event["messageStop"]["stopReason"] for event in after if "messageStop" in event) == "end_turn"


async def test_reasoning_images_and_schemas_are_accepted(sdk: Sdk) -> None:
    """Reasoning comes with its signature and goes back; an image goes as bytes; a schema as a string."""
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    events = await sdk.stream(additionalModelRequestFields=thinking, inferenceConfig={"maxTokens": 4096})
    pieces = [delta["reasoningContent"] for delta in deltas(events) if "reasoningContent" in delta]
    thought = "".join(piece.get("text", "") for piece in pieces)
    assert pieces[-1] == {"signature": signature_of(thought)}
    told = {"reasoningText": {"text": thought, "signature": pieces[-1]["signature"]}}
    turns = [
        {"role": "user", "content": [{"text": "See"}, {"image": {"format": "gif", "source": {"bytes": PIXEL}}}]},
        {"role": "assistant", "content": [{"reasoningContent": told}, {"text": "Yes"}]},
        {"role": "user", "content": [{"text": "Now as JSON"}]},
    ]
    closed = '{"type":"object","properties":{"a":{"const":1}},"required":["a"],"additionalProperties":false}'
    structure = {"jsonSchema": {"schema": closed}}
    output = {"textFormat": {"type": "json_schema", "structure": structure}}
    answer = await sdk.call(sdk.client.converse, messages=turns, outputConfig=output)
    assert answer["output"]["message"]["content"] == [{"text": '{"a": 1}'}]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (429, "ModelNotReadyException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
async def test_errors_are_the_sdks_own(server: EmulatedBedrock, sdk: Sdk, status: int, code: str) -> None:
    """Each code of the service is raised as the exception that the SDK has for it."""
    server.faults = Faults(status=status, code=code)
    with pytest.raises(getattr(sdk.client.exceptions, code)) as caught:
        await sdk.stream()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"] == {"Code": code, "Message": f"Emulated {code}"}


@pytest.mark.parametrize(
    "code",
    [
        "internalServerException",
        "modelStreamErrorException",
        "validationException",
        "throttlingException",
        "serviceUnavailableException",
    ],
)
async def test_an_exception_inside_a_stream_is_raised(server: EmulatedBedrock, sdk: Sdk, code: str) -> None:
    """The SDK raises it after the events that came before."""
    server.faults = Faults(error_after=2, code=code)
    with pytest.raises(EventStreamError) as caught:
        await sdk.stream()
    assert caught.value.response["Error"] == {"Code": code, "Message": f"Emulated {code}"}


async def test_an_error_without_a_model_is_raised(server: EmulatedBedrock, sdk: Sdk) -> None:
    """A frame of type error has its code and message in headers."""
    server.frames = [error("InternalError", "An internal server error occurred")]
    with pytest.raises(EventStreamError, match="InternalError"):
        await sdk.stream()


async def test_a_wrong_secret_is_refused(server: EmulatedBedrock) -> None:
    """The emulator computes the signature again: one made with another secret does not pass."""
    sdk = Sdk(server.port, secret="another")
    with pytest.raises(ClientError) as caught:
        await sdk.stream()
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    sdk.client.close()
