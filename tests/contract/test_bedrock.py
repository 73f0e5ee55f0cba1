"""The Bedrock adapter against the emulated runtime that boto3 has accepted, over a real port."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from backends.contract import (
    FinishReason,
    ImagePart,
    Message,
    ReasoningBlock,
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
    ContentFiltered,
    ContextTooLong,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    TimedOut,
    UpstreamFault,
    Warming,
)
from simulation.wires import event_stream
from simulation.wires.aws_signature import ACCESS_KEY, API_KEY, SECRET_KEY
from simulation.wires.bedrock import MODELS, THOUGHTS, EmulatedBedrock
from simulation.wires.faults import Faults
from tests.contract.aws import KEYS, Bench, ask, bench

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "us.anthropic.claude-opus-4-8-v1"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-70b-instruct-v1:0"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
CITY = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')
WEATHER = Tool(name="get_weather", description="Weather somewhere", parameters=CITY)
HELLO = Message(role="user", content="Hello")


@pytest.fixture(params=["httpx", "fast"])
async def aws(request: pytest.FixtureRequest) -> AsyncIterator[Bench[EmulatedBedrock]]:
    async with bench("bedrock", CLAUDE, EmulatedBedrock(), request.param) as found:
        yield found


@pytest.mark.parametrize("model", sorted(MODELS))
async def test_every_form_of_a_model_id_is_signed_as_it_is_sent(aws: Bench[EmulatedBedrock], model: str) -> None:
    """The server computes the signature of the path it got, colons and slashes encoded, and finds the same one."""
    answer = await aws.ask(ask(), model=model)
    assert answer.text.startswith(f"Emulated answer of {model}")
    encoded = model.replace(":", "%3A").replace("/", "%2F")
    assert aws.server.seen[-1]["path"] == f"/model/{encoded}/converse-stream"


async def test_text_its_end_and_its_counts(aws: Bench[EmulatedBedrock]) -> None:
    """Tokens come as they are sent; what came from the cache is a part of the input."""
    aws.server.cache_read = 2
    answer = await aws.ask(ask())
    assert answer.finish == [FinishReason.STOP]
    assert answer.usage.output == answer.events > 1
    assert (answer.usage.cached_input, answer.usage.cache_write_input) == (2, 0)
    assert answer.usage.input > 2
    assert not answer.usage.estimated


async def test_sampling_and_the_stop_sequence_that_ended_it(aws: Bench[EmulatedBedrock]) -> None:
    """Parameters go under the service's names; Claude says which sequence stopped it, because it is asked."""
    sampling = Sampling(max_output_tokens=50, temperature=0.5, top_p=0.9, top_k=7, stop=("no model",))
    answer = await aws.ask(ask(sampling=sampling))
    assert answer.stop_sequence == "no model"
    assert answer.finish == [FinishReason.STOP]
    assert aws.sent["inferenceConfig"] == {
        "maxTokens": 50,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["no model"],
    }
    assert aws.sent["additionalModelRequestFields"] == {"top_k": 7}


async def test_images_go_as_bytes(aws: Bench[EmulatedBedrock]) -> None:
    """A data URL becomes the bytes of an image."""
    parts = (TextPart(text="What is it?"), ImagePart(url=PIXEL))
    await aws.ask(ask(Message(role="user", content=parts)))
    image = aws.sent["messages"][0]["content"][1]["image"]
    assert image["format"] == "gif"
    assert base64.b64decode(image["source"]["bytes"]).startswith(b"GIF89a")


async def test_tools_and_their_results(aws: Bench[EmulatedBedrock]) -> None:
    """A call comes in pieces, goes back with its result, and the conversation goes on."""
    first = await aws.ask(ask(tools=(WEATHER,), tool_choice=ToolChoice(mode="required")))
    assert first.finish == [FinishReason.TOOL_CALLS]
    call = first.calls[0]
    assert call.name == "get_weather"
    assert json.loads(call.arguments).keys() == {"city"}
    result = Message(role="tool", tool_call_id=call.id, content="sun")
    again = await aws.ask(ask(HELLO, first.as_message(), result, HELLO, tools=(WEATHER,)))
    assert again.finish == [FinishReason.STOP]
    assert [turn["role"] for turn in aws.sent["messages"]] == ["user", "assistant", "user"]
    assert aws.sent["messages"][2]["content"][0]["toolResult"]["toolUseId"] == call.id


async def test_structured_output(aws: Bench[EmulatedBedrock]) -> None:
    """The schema goes as a string, closed as the service wants it, and the answer is of it."""
    wanted = ResponseFormat(kind="json_schema", name="where", schema=CITY)
    answer = await aws.ask(ask(response_format=wanted))
    assert json.loads(answer.text).keys() == {"city"}
    assert aws.sent["outputConfig"]["textFormat"]["structure"]["jsonSchema"] == {
        "name": "where",
        "schema": bytes(CITY).decode()[:-1] + ',"additionalProperties":false}',
    }


@pytest.mark.parametrize(
    ("model", "additional", "output"),
    [
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, None),
        (OPUS, {"thinking": {"type": "adaptive", "display": "summarized"}}, {"effort": "low"}),
        (NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "low"}, None),
    ],
)
async def test_reasoning_in_each_familys_words(
    aws: Bench[EmulatedBedrock], model: str, additional: object, output: object
) -> None:
    """An effort becomes what the model's family understands, and what it thought comes apart from what it said."""
    answer = await aws.ask(ask(sampling=Sampling(max_output_tokens=8192, reasoning_effort="low")), model=model)
    assert answer.reasoning == "".join(THOUGHTS)
    assert answer.text.startswith("Emulated")
    assert aws.sent["additionalModelRequestFields"] == additional
    assert aws.sent.get("outputConfig") == output


async def test_signed_reasoning_goes_back(aws: Bench[EmulatedBedrock]) -> None:
    """The server takes back what it signed; reasoning that nobody signed is left out."""
    thinking = Sampling(max_output_tokens=8192, reasoning_effort="low")
    first = await aws.ask(ask(sampling=thinking))
    assert [block.text for block in first.signed] == ["".join(THOUGHTS)]
    await aws.ask(ask(HELLO, first.as_message(), HELLO, sampling=thinking))
    sent = aws.sent["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]
    assert sent == {"text": first.signed[0].text, "signature": first.signed[0].signature}
    unsigned = Message(role="assistant", content="Hi", reasoning=(ReasoningBlock(text="hm"),))
    await aws.ask(ask(HELLO, unsigned, HELLO))
    assert aws.sent["messages"][1]["content"] == [{"text": "Hi"}]


async def test_an_answer_is_continued(aws: Bench[EmulatedBedrock]) -> None:
    """A trailing message of the assistant is the beginning of the answer, without its trailing blank."""
    answer = await aws.ask(ask(HELLO, Message(role="assistant", content="As I said, ")))
    assert not answer.text.startswith("Emulated")
    assert aws.sent["messages"][-1]["content"] == [{"text": "As I said,"}]


async def test_settings_of_the_operator_go_with_every_request(aws: Bench[EmulatedBedrock]) -> None:
    """Tier, latency and guardrail are the backend's own."""
    backend = aws.backend(service_tier="flex", performance="optimized", guardrail="abc123:DRAFT")
    await aws.ask(ask(), backend)
    assert aws.sent["serviceTier"] == {"type": "flex"}
    assert aws.sent["performanceConfig"] == {"latency": "optimized"}
    assert aws.sent["guardrailConfig"] == {"guardrailIdentifier": "abc123", "guardrailVersion": "DRAFT"}


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
async def test_a_filtered_answer_says_so(aws: Bench[EmulatedBedrock], reason: str) -> None:
    """What a guardrail replaced, or the vendor cut, ends as filtered."""
    aws.server.stop_reason = reason
    assert (await aws.ask(ask())).finish == [FinishReason.CONTENT_FILTER]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
async def test_a_malformed_answer_is_a_failure(aws: Bench[EmulatedBedrock], reason: str) -> None:
    """An output that the model spoilt is never taken for an answer."""
    aws.server.stop_reason = reason
    _, error = await aws.until_broken(ask())
    assert isinstance(error, UpstreamFault | StreamBroken)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ValidationException", BadRequest),
        (400, "ServiceQuotaExceededException", QuotaExhausted),
        (403, "AccessDeniedException", AuthFailed),
        (404, "ResourceNotFoundException", ModelNotServed),
        (408, "ModelTimeoutException", TimedOut),
        (424, "ModelErrorException", UpstreamFault),
        (429, "ThrottlingException", RateLimited),
        (429, "ModelNotReadyException", Warming),
        (500, "InternalServerException", UpstreamFault),
        (503, "ServiceUnavailableException", Overloaded),
    ],
)
async def test_each_error_code_has_its_meaning(
    aws: Bench[EmulatedBedrock], status: int, code: str, kind: type[BackendError]
) -> None:
    """The code in the header decides, not the status alone."""
    aws.server.faults = Faults(status=status, code=code, headers={"retry-after": "3"})
    with pytest.raises(BackendError) as caught:
        await aws.ask(ask())
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.retry_after_s) == (status, 3.0)


async def test_a_prompt_that_is_too_long_and_a_model_that_is_not_there(aws: Bench[EmulatedBedrock]) -> None:
    """Both are a 400 whose words say which."""
    with pytest.raises(ContextTooLong):
        await aws.ask(ask(Message(role="user", content="x" * 20_000)), model=LLAMA)
    with pytest.raises(ModelNotServed):
        await aws.ask(ask(), model="us.amazon.nova-micro-v1:O")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("throttlingException", RateLimited.code),
        ("serviceUnavailableException", Overloaded.code),
        ("internalServerException", UpstreamFault.code),
        ("modelStreamErrorException", UpstreamFault.code),
        ("validationException", BadRequest.code),
    ],
)
async def test_an_exception_inside_the_stream(aws: Bench[EmulatedBedrock], code: str, word: str) -> None:
    """What came before it was delivered; the failure keeps its kind."""
    aws.server.faults = Faults(error_after=2, code=code)
    chunks, error = await aws.until_broken(ask())
    assert "".join(chunk.text for chunk in chunks) == "Emulated"
    assert isinstance(error, StreamBroken)
    assert error.message.startswith(f"{word}: ")


async def test_an_exception_before_the_first_token_can_be_tried_elsewhere(aws: Bench[EmulatedBedrock]) -> None:
    """Nothing was delivered, so the failure is of its own kind; a filtered prompt is told by its words."""
    blocked = b'{"message":"Output blocked by content filtering policy"}'
    aws.server.frames = [event_stream.exception("validationException", blocked)]
    with pytest.raises(ContentFiltered):
        await aws.ask(ask())
    aws.server.frames = [event_stream.error("InternalError", "An internal server error occurred")]
    with pytest.raises(UpstreamFault, match="An internal server error"):
        await aws.ask(ask())


async def test_the_end_without_the_counts_is_an_end(aws: Bench[EmulatedBedrock]) -> None:
    """After messageStop an answer is complete; its usage is estimated and says so."""
    frames = [
        event_stream.event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Hi"}}'),
        event_stream.event("messageStop", b'{"stopReason":"end_turn"}'),
    ]
    aws.server.frames = frames
    answer = await aws.ask(ask())
    assert (answer.text, answer.finish) == ("Hi", [FinishReason.STOP])
    assert answer.usage.estimated
    aws.server.frames = frames[:1]
    _, error = await aws.until_broken(ask())
    assert isinstance(error, StreamBroken)
    assert error.message.startswith(ProtocolViolation.code)


async def test_an_api_key_goes_as_a_bearer(aws: Bench[EmulatedBedrock]) -> None:
    """One word behind the reference is a Bedrock API key, also from the variable that SDKs look at."""
    for credential, env in (("env:ONE", {"ONE": API_KEY}), (None, {"AWS_BEARER_TOKEN_BEDROCK": API_KEY})):
        await aws.ask(ask(), aws.backend(credential=credential, env=env))
        assert aws.server.seen[-1]["headers"]["authorization"] == f"Bearer {API_KEY}"


async def test_without_a_credential_the_machines_own_is_used(aws: Bench[EmulatedBedrock]) -> None:
    """The default chain finds keys in the environment, a session token with them."""
    aws.server.callers.tokens.add("session")
    env = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_SESSION_TOKEN": "session"}
    await aws.ask(ask(), aws.backend(credential=None, env=env))
    assert aws.server.seen[-1]["headers"]["x-amz-security-token"] == "session"


async def test_expired_keys_are_read_again_and_the_request_sent_once_more(
    aws: Bench[EmulatedBedrock], tmp_path: Path
) -> None:
    """Keys that were rotated a moment ago cost one refused request, not a failure."""
    file = tmp_path / "keys"
    file.write_text(f"{KEYS}:old")
    backend = aws.backend(credential=f"file:{file}")
    aws.server.callers.tokens.add("new")
    (tmp_path / "next").write_text(f"{KEYS}:new")
    (tmp_path / "next").replace(file)
    assert (await aws.ask(ask(), backend)).text
    assert [seen["headers"]["x-amz-security-token"] for seen in aws.server.seen] == ["old", "new"]


async def test_expired_keys_that_stay_are_refused_once(aws: Bench[EmulatedBedrock]) -> None:
    """There is nothing else to send, so nothing else is sent."""
    with pytest.raises(AuthFailed, match="expired"):
        await aws.ask(ask(), aws.backend(env={"KEYS": f"{KEYS}:old"}))
    assert len(aws.server.seen) == 1


async def test_no_secret_is_ever_said(aws: Bench[EmulatedBedrock], caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error that quotes what was signed, nor a log at its lowest level, nor a repr holds a secret."""
    caplog.set_level("DEBUG")
    token = "FwoGZXIvYXdzEemulatedtoken"
    aws.server.callers.tokens.add(token)
    backend = aws.backend(env={"KEYS": f"{ACCESS_KEY}:wrong-secret-key:{token}"})
    with pytest.raises(AuthFailed, match="signature") as caught:
        await aws.ask(ask(), backend)
    said = repr(backend) + str(caught.value) + repr(caught.value.__cause__) + caplog.text
    assert not [secret for secret in (token, "wrong-secret-key") if secret in said]
