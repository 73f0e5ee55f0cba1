"""The SageMaker adapter against the emulated runtime that boto3 has accepted, over a real port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from backends.contract import (
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    RateLimited,
    StreamBroken,
    TimedOut,
    UpstreamFault,
    Warming,
)
from simulation.wires.faults import Faults
from simulation.wires.sagemaker import ENDPOINT, MODEL, EmulatedSageMaker, Form
from tests.contract.aws import KEYS, Bench, ask, bench

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
CITY = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
WEATHER = Tool(name="get_weather", parameters=CITY)
HELLO = Message(role="user", content="Hello")


@pytest.fixture(params=["httpx", "fast"])
async def aws(request: pytest.FixtureRequest) -> AsyncIterator[Bench[EmulatedSageMaker]]:
    async with bench("sagemaker", ENDPOINT, EmulatedSageMaker(), request.param) as found:
        yield found


async def test_text_its_end_and_its_counts(aws: Bench[EmulatedSageMaker]) -> None:
    """Parts that are cut anywhere become the container's tokens, and its counts are taken."""
    answer = await aws.ask(ask())
    assert answer.text.startswith("Emulated answer of emulated-endpoint")
    assert answer.finish == [FinishReason.STOP]
    assert answer.usage.output == answer.events > 1
    assert not answer.usage.estimated


async def test_the_endpoint_is_the_model_unless_it_is_set(aws: Bench[EmulatedSageMaker]) -> None:
    """Without the option the container is told no model by name; with it the upstream's name goes into the body."""
    await aws.ask(ask())
    assert (aws.server.seen[-1]["path"], aws.sent["model"]) == (
        f"/endpoints/{ENDPOINT}/invocations-response-stream",
        "",
    )
    await aws.ask(ask(), aws.backend(endpoint=ENDPOINT), model=MODEL)
    assert aws.sent["model"] == MODEL


async def test_where_it_goes_is_in_headers_that_are_signed(aws: Bench[EmulatedSageMaker]) -> None:
    """Inference component and variant go along, under the signature."""
    await aws.ask(ask(), aws.backend(inference_component="llama", target_variant="canary"))
    headers = aws.server.seen[-1]["headers"]
    assert headers["x-amzn-sagemaker-inference-component"] == "llama"
    assert headers["x-amzn-sagemaker-target-variant"] == "canary"
    assert "x-amzn-sagemaker-inference-component;x-amzn-sagemaker-target-variant" in headers["authorization"]


async def test_images_tools_and_schemas_are_the_containers(aws: Bench[EmulatedSageMaker]) -> None:
    """What the chat wire can say goes to the container as the chat wire says it."""
    image = Message(role="user", content=(TextPart(text="See"), ImagePart(url=PIXEL)))
    first = await aws.ask(ask(image, tools=(WEATHER,), tool_choice=ToolChoice(mode="required")))
    assert aws.sent["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": PIXEL}}
    assert first.finish == [FinishReason.TOOL_CALLS]
    call = first.calls[0]
    assert (call.name, json.loads(call.arguments).keys()) == ("get_weather", {"city"})
    result = Message(role="tool", tool_call_id=call.id, content="sun")
    assert (await aws.ask(ask(image, first.as_message(), result, HELLO))).finish == [FinishReason.STOP]
    wanted = ResponseFormat(kind="json_schema", schema=CITY)
    assert json.loads((await aws.ask(ask(response_format=wanted))).text).keys() == {"city"}


async def test_text_without_messages(aws: Bench[EmulatedSageMaker]) -> None:
    """A plain prompt goes the same way: the container tells by the body."""
    request = GenerateRequest(model="m", prompt="Once", sampling=Sampling(max_output_tokens=12))
    answer = await aws.ask(request)
    assert answer.text
    assert aws.sent["prompt"] == "Once"


@pytest.mark.parametrize("form", ["lines", "document", "generation"])
async def test_containers_that_send_no_events(aws: Bench[EmulatedSageMaker], form: Form) -> None:
    """A JSON document per line, one document and a list of generations are answers too."""
    whole = (await aws.ask(ask())).text
    aws.server.form = form
    answer = await aws.ask(ask())
    assert answer.text == whole
    assert answer.finish == [FinishReason.STOP]
    assert answer.usage.estimated == (form == "generation")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, '{"error":{"message":"The request queue is full."}}', Overloaded),
        (429, '{"error":{"message":"slow down"}}', RateLimited),
        (400, '{"error":{"message":"This model\'s maximum context length is 8 tokens"}}', ContextTooLong),
        (422, '{"detail":"top_p"}', BadRequest),
        (404, '{"error":{"message":"The model `x` does not exist."}}', ModelNotServed),
        (500, "CUDA error", UpstreamFault),
    ],
)
async def test_what_the_container_said_is_what_counts(
    aws: Bench[EmulatedSageMaker], status: int, body: str, kind: type[BackendError]
) -> None:
    """The service says 424 to all of it; status and body of the container are inside."""
    aws.server.failure = (status, body)
    with pytest.raises(BackendError) as caught:
        await aws.ask(ask())
    assert (type(caught.value), caught.value.status) == (kind, 424)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ValidationError", BadRequest),
        (400, "ThrottlingException", RateLimited),
        (403, "AccessDeniedException", AuthFailed),
        (429, "ModelNotReadyException", Warming),
        (500, "InternalFailure", UpstreamFault),
        (503, "ServiceUnavailable", Overloaded),
        (530, "InternalDependencyException", UpstreamFault),
    ],
)
async def test_each_error_code_of_the_service_has_its_meaning(
    aws: Bench[EmulatedSageMaker], status: int, code: str, kind: type[BackendError]
) -> None:
    """The code in the header decides, not the status alone."""
    aws.server.faults = Faults(status=status, code=code)
    with pytest.raises(BackendError) as caught:
        await aws.ask(ask())
    assert (type(caught.value), caught.value.status) == (kind, status)


async def test_an_endpoint_that_is_not_there(aws: Bench[EmulatedSageMaker]) -> None:
    """The service calls it a validation error; it is a backend without the model."""
    with pytest.raises(ModelNotServed, match="not found"):
        await aws.ask(ask(), model="another")


@pytest.mark.parametrize(
    ("code", "word"), [("ModelInvocationTimeExceeded", TimedOut.code), ("StreamBroken", UpstreamFault.code)]
)
async def test_an_exception_inside_the_stream(aws: Bench[EmulatedSageMaker], code: str, word: str) -> None:
    """What came before it was delivered; the failure keeps its kind."""
    aws.server.faults = Faults(error_after=2, code=code)
    chunks, error = await aws.until_broken(ask())
    assert "".join(chunk.text for chunk in chunks) == "Emulated"
    assert isinstance(error, StreamBroken)
    assert error.message.startswith(f"{word}: ")


@pytest.mark.parametrize("secret", ["one-word", f"{KEYS}:a:b"])
async def test_other_secrets_than_keys_are_refused_when_it_is_made(aws: Bench[EmulatedSageMaker], secret: str) -> None:
    """The service takes no API keys; the message does not quote what it was given."""
    with pytest.raises(ValueError, match="ACCESS_KEY_ID:SECRET_ACCESS_KEY") as caught:
        aws.backend(env={"KEYS": secret})
    assert secret not in str(caught.value)


async def test_options_of_the_container_hold(aws: Bench[EmulatedSageMaker]) -> None:
    """What one container wants besides, or refuses, is said as for any server of the chat wire."""
    options: dict[str, Any] = {"usage": "unasked", "extra_body": '{"priority":1}'}
    answer = await aws.ask(ask(), aws.backend(**options))
    assert aws.sent["priority"] == 1
    assert "stream_options" not in aws.sent
    assert answer.usage.estimated
