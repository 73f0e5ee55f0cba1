"""Every dialect of the OpenAI chat wire against the emulated vendor that an official SDK has judged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from backends.contract import (
    Backend,
    Chunk,
    FinishReason,
    GenerateRequest,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from backends.errors import (
    AuthFailed,
    BackendError,
    BadRequest,
    ModelNotServed,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    StreamBroken,
    Unsupported,
    UpstreamFault,
)
from backends.openai.profiles import PROFILES
from simulation.wires.faults import Faults
from simulation.wires.openai_chunks import THOUGHT
from simulation.wires.openai_engines import ENGINES
from simulation.wires.openai_shapes import SIGNATURE
from simulation.wires.openai_vendor import KEY, MODEL, EmulatedVendor
from simulation.wires.openai_vendors import VENDORS
from tests.contract.emulated import SECRET, adapters, ask, ask_until_broken, text

ADDRESSES = {
    "azure_v1": "/openai/v1",
    "groq": "/openai",
    "fireworks": "/inference/v1",
    "openrouter": "/api",
    "gemini_openai": "/v1beta/openai",
}
EMULATED = {**VENDORS, **ENGINES}
USER = Message(role="user", content="Hello")
WEATHER = Tool(
    name="get_weather",
    parameters=msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'),
)
SCHEMA = ResponseFormat(
    kind="json_schema",
    name="n",
    schema=msgspec.Raw(b'{"type":"object","properties":{"a":{"const":1}},"required":["a"]}'),
)
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

assert SECRET == KEY  # what the adapters are given is what the servers want


@dataclass(frozen=True, slots=True)
class Stage:
    server: EmulatedVendor
    backend: Backend

    async def ask(self, *messages: Message, **fields: Any) -> list[Chunk]:
        return await ask(self.backend, a_request(*messages, **fields))

    @property
    def sent(self) -> dict[str, Any]:
        body: dict[str, Any] = self.server.seen[-1]["body"]
        return body


@contextlib.asynccontextmanager
async def staged(name: str, **options: str) -> AsyncIterator[Stage]:
    server = EmulatedVendor(EMULATED[name])
    await server.start("127.0.0.1", 0)
    try:
        async with adapters() as made:
            url = f"http://127.0.0.1:{server.port}{ADDRESSES.get(name, '')}"
            credential = bool(server.vendor.key_header)
            yield Stage(server, made.bind("openai_chat", url, profile=name, credential=credential, options=options))
    finally:
        await server.close()


def a_request(*messages: Message, **fields: Any) -> GenerateRequest:
    return GenerateRequest(model=MODEL, messages=messages or (USER,), **fields)


every_dialect = pytest.mark.parametrize("name", sorted(EMULATED))


def test_every_emulated_vendor_is_a_profile() -> None:
    """What is emulated can be configured under the same name."""
    assert EMULATED.keys() <= PROFILES.keys()


@every_dialect
async def test_text_and_usage_arrive(name: str) -> None:
    """With thoughts before the text, and counts by the vendor's own rule: all of the output, cached input inside."""
    async with staged(name) as stage:
        stage.server.thinks = True
        chunks = await stage.ask()
    assert text(chunks).startswith(f"Emulated answer of {name}")
    assert "".join(chunk.reasoning for chunk in chunks) == "".join(THOUGHT)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.STOP]
    usage = [chunk.usage for chunk in chunks if chunk.usage is not None][-1]
    tells_cached = name not in ("sglang", "gemini_openai")
    assert usage == Usage(
        input=usage.input,
        cached_input=usage.input // 2 if tells_cached else 0,
        output=sum(chunk.events for chunk in chunks if not chunk.signed),
        reasoning=0 if name == "together" else len(THOUGHT),
    )


@every_dialect
async def test_a_tool_is_called_and_its_result_goes_back(name: str) -> None:
    """However the vendor cuts the call, it is one; the next turn holds it and its result."""
    async with staged(name) as stage:
        wanted = {"tools": (WEATHER,), "tool_choice": ToolChoice(mode="required")}
        chunks = await stage.ask(**wanted)
        deltas = [delta for chunk in chunks for delta in chunk.tool_calls]
        assert deltas[0].name == "get_weather"
        arguments = "".join(delta.arguments for delta in deltas)
        assert msgspec.json.decode(arguments) == {"city": "emulated"}
        assert chunks[-1].finish_reason in (FinishReason.TOOL_CALLS, None)
        assert FinishReason.TOOL_CALLS in [chunk.finish_reason for chunk in chunks]
        call_id = deltas[0].id
        assert call_id
        call = ToolCall(id=call_id, name="get_weather", arguments=arguments, signature=deltas[0].signature)
        turns = (
            USER,
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content="rain", tool_call_id=call_id),
        )
        assert text(await stage.ask(*turns, tools=(WEATHER,)))
        sent_call = stage.sent["messages"][1]["tool_calls"][0]
        assert sent_call["id"] == stage.sent["messages"][2]["tool_call_id"]
        proof = {"google": {"thought_signature": SIGNATURE}} if name == "gemini_openai" else None
        assert sent_call.get("extra_content") == proof


@every_dialect
async def test_an_id_of_another_vendor_is_taken(name: str) -> None:
    """A conversation that began elsewhere goes on here, whatever its ids look like."""
    async with staged(name) as stage:
        call = ToolCall(id="toolu_01-of-another:vendor", name="get_weather", arguments="{}", signature=None)
        turns = (
            USER,
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content="rain", tool_call_id=call.id),
        )
        assert text(await stage.ask(*turns, tools=(WEATHER,)))


@every_dialect
async def test_structured_output_or_a_refusal(name: str) -> None:
    """A schema bounds the answer, or is refused before anything is sent; it is never dropped."""
    async with staged(name) as stage:
        if "json_schema" in PROFILES[name].capabilities:
            said = text(await stage.ask(response_format=SCHEMA))
            assert msgspec.json.decode(said) == {"a": 1}
            return
        with pytest.raises(Unsupported):
            await stage.ask(response_format=SCHEMA)
        assert not stage.server.seen


@every_dialect
async def test_images_or_a_refusal(name: str) -> None:
    """A picture goes to those that see."""
    message = Message(role="user", content=(TextPart(text="what?"), ImagePart(url=PIXEL)))
    async with staged(name) as stage:
        if "vision" in PROFILES[name].capabilities:
            await stage.ask(message)
            assert stage.sent["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": PIXEL}}
            return
        with pytest.raises(Unsupported):
            await stage.ask(message)


@every_dialect
async def test_everything_it_takes_is_taken(name: str) -> None:
    """Every parameter of the profile at once: a strict server refuses none of them."""
    values: dict[str, Any] = {
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "stop": ("never said",),
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "repetition_penalty": 1.1,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
    }
    taken = PROFILES[name].parameters
    sampling = Sampling(**{field: value for field, value in values.items() if field in taken})
    async with staged(name) as stage:
        assert text(await stage.ask(sampling=sampling, end_user="u-1"))
        for parameter, word in taken.items():
            value = values[parameter]
            assert stage.sent[word] == (list(value) if isinstance(value, tuple) else value)


@every_dialect
async def test_a_probe_asks_for_nothing_that_generates_or_drains(name: str) -> None:
    """Ten probes in a row: healthy, and no path of the wrong kind among those that were asked for."""
    async with staged(name) as stage:
        for _ in range(10):
            report = await stage.backend.probe(timeout_s=2)
            assert report.healthy, report.reason
        asked = stage.server.asked_for
        assert not [path for path in asked if path.startswith("POST") or path.endswith(("health_generate", "/chat"))]
        if name == "sglang":
            assert "GET /health" not in asked
            assert (report.running, report.waiting, report.kv_cache_usage) == (4, 1, 0.5)
        if name == "trtllm":
            assert "GET /metrics" not in asked
            assert (report.running, report.waiting, report.kv_cache_usage) == (2, 1, 0.5)
        if name == "azure":
            assert not asked
        else:
            assert report.models == (MODEL,)


@every_dialect
async def test_a_wrong_key_is_ours_to_mend(name: str) -> None:
    """Whatever the vendor says to it, and without the key in the message."""
    if not EMULATED[name].key_header:
        pytest.skip("this server has no keys")
    async with staged(name) as stage:
        stage.server.faults = Faults(status=401)
        with pytest.raises(AuthFailed) as caught:
            await stage.ask()
        assert KEY not in str(caught.value)
        assert KEY not in repr(stage.backend)


@every_dialect
async def test_a_rate_limit_says_what_is_left(name: str) -> None:
    """The headroom comes with the refusal and with an answer, and the wait is the vendor's."""
    async with staged(name) as stage:
        answered = (await stage.ask())[0].signals
        stage.server.faults = Faults(status=429, headers={"retry-after": "3"})
        with pytest.raises(RateLimited) as caught:
            await stage.ask()
        assert caught.value.retry_after_s == 3.0
        assert caught.value.signals == answered
        assert (answered is not None) == bool(PROFILES[name].limits and stage.server.vendor.limits)


@every_dialect
async def test_a_model_that_is_not_there(name: str) -> None:
    """A 404 in any of the shapes is about the model."""
    async with staged(name) as stage:
        with pytest.raises(ModelNotServed):
            await ask(stage.backend, GenerateRequest(model="no-such-model", messages=(USER,)))


@every_dialect
@pytest.mark.parametrize("status", [500, 503])
async def test_the_servers_own_trouble(name: str, status: int) -> None:
    """A 500 counts as sickness; a 503 is load where the vendor means it so."""
    async with staged(name) as stage:
        stage.server.faults = Faults(status=status)
        with pytest.raises(BackendError) as caught:
            await stage.ask()
        means = PROFILES[name].failures.statuses.get(status, UpstreamFault)
        if stage.server.vendor.words.get(status) is not None:
            means = Overloaded
        assert type(caught.value) is means


@every_dialect
@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(cut_after=2), "broke"),
        (Faults(malformed_after=2), "PROTOCOL_VIOLATION"),
        (Faults(error_after=2), "a fault that was asked for"),
    ],
    ids=["cut", "malformed", "error"],
)
async def test_a_stream_that_fails_is_broken(name: str, faults: Faults, said: str) -> None:
    """What was delivered stays; the end is never taken for an answer's."""
    async with staged(name) as stage:
        stage.server.faults = faults
        chunks, error = await ask_until_broken(stage.backend, a_request())
        assert "".join(chunk.text for chunk in chunks)
        assert isinstance(error, StreamBroken)
        assert said in error.message or (EMULATED[name].http10 and "PROTOCOL" in error.message)
        assert "secret" not in error.message


@every_dialect
async def test_an_error_in_the_first_event_can_be_tried_elsewhere(name: str) -> None:
    """Nothing was delivered, so it is the failure itself and not a broken stream."""
    async with staged(name) as stage:
        stage.server.faults = Faults(error_after=0)
        chunks, error = await ask_until_broken(stage.backend, a_request())
        assert not "".join(chunk.text for chunk in chunks)
        assert error is not None
        assert error.retryable


@every_dialect
async def test_leaving_frees_the_server(name: str) -> None:
    """A caller that goes away in a stall is seen to have gone."""
    async with staged(name) as stage:
        stage.server.faults = Faults(stall_after=1)
        stream = stage.backend.generate(a_request(), upstream_model=MODEL, request_id="r")
        async with contextlib.aclosing(stream), asyncio.timeout(2):
            await anext(stream)
        async with asyncio.timeout(2):
            await stage.server.disconnected()
        assert stage.server.disconnects == 1


@dataclass(frozen=True, slots=True)
class Refusal:
    vendor: str
    faults: Faults
    error: type[BackendError]
    wait_s: float | None = None
    id: str = field(default="")


@pytest.mark.parametrize(
    "case",
    [
        Refusal("groq", Faults(status=498), Overloaded),
        Refusal("groq", Faults(status=400, code="tool_use_failed"), BadRequest),
        Refusal("groq", Faults(status=429), RateLimited),
        Refusal("groq", Faults(status=400, code="blocked_api_access"), QuotaExhausted),
        Refusal("together", Faults(status=503), Overloaded),
        Refusal("cerebras", Faults(status=429, code="queue_exceeded"), Overloaded),
        Refusal("openai", Faults(status=429, code="insufficient_quota"), QuotaExhausted),
        Refusal("azure", Faults(status=429, headers={"retry-after": "1", "retry-after-ms": "0"}), RateLimited, 0.0),
        Refusal("azure", Faults(status=404), ModelNotServed),
        Refusal("deepseek", Faults(status=402), QuotaExhausted),
        Refusal("fireworks", Faults(status=412), QuotaExhausted),
        Refusal("openrouter", Faults(status=402), QuotaExhausted),
        Refusal("mistral", Faults(status=429, code="3505"), Overloaded),
        Refusal("sglang", Faults(status=503), Overloaded),
        Refusal("gemini_openai", Faults(status=429), RateLimited),
        Refusal("tabbyapi", Faults(status=422), BadRequest),
        Refusal("mlx", Faults(status=404), ModelNotServed),
    ],
    ids=lambda case: f"{case.vendor}-{case.faults.status}-{case.faults.code}".rstrip("-"),
)
async def test_a_refusal_means_what_the_vendor_means(case: Refusal) -> None:
    """Our rate, their shortage and an empty account are told apart."""
    async with staged(case.vendor) as stage:
        stage.server.faults = case.faults
        with pytest.raises(BackendError) as caught:
            await stage.ask()
        assert type(caught.value) is case.error
        if case.wait_s is not None:
            assert caught.value.retry_after_s == case.wait_s


async def test_an_azure_deployment_is_in_the_address() -> None:
    """With the version that the options say, and not in need of the body's model."""
    async with staged("azure", api_version="2023-05-15") as stage:
        with pytest.raises(ModelNotServed):
            await stage.ask()
    async with staged("azure") as stage:
        await stage.ask()
        assert list(stage.server.asked_for) == [f"POST /openai/deployments/{MODEL}/chat/completions"]


async def test_signed_reasoning_goes_back_as_it_came() -> None:
    """OpenRouter's blocks are put together, kept with their proof, and returned whole."""
    async with staged("openrouter") as stage:
        stage.server.thinks = True
        chunks = await stage.ask()
        blocks = tuple(block for chunk in chunks for block in chunk.signed)
        assert [block.text for block in blocks] == ["".join(THOUGHT)]
        await stage.ask(USER, Message(role="assistant", content="x", reasoning=blocks), USER)
        kind = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "signature": SIGNATURE}
        assert stage.sent["messages"][1]["reasoning_details"] == [{**kind, "text": "".join(THOUGHT)}]


@pytest.mark.parametrize("name", ["deepseek", "sglang", "tabbyapi", "fireworks"])
async def test_reasoning_goes_back_as_text(name: str) -> None:
    """Also another vendor's, without the proof that nobody here could check."""
    async with staged(name) as stage:
        block = ReasoningBlock(text="hm", signature="of another")
        await stage.ask(USER, Message(role="assistant", content="x", reasoning=(block,)), USER)
        assert stage.sent["messages"][1] == {"role": "assistant", "content": "x", "reasoning_content": "hm"}


async def test_a_strict_server_refuses_what_is_not_its_own() -> None:
    """So the emulated one does too, or the test of the profiles would prove nothing."""
    async with staged("trtllm", extra_body='{"cache_salt_": "x"}') as stage:
        with pytest.raises(BadRequest, match="cache_salt_"):
            await stage.ask()


async def test_an_end_without_the_marker_is_proven_by_a_finish_reason_only() -> None:
    """A connection that closes after the text alone is a broken answer, also where bodies end so by design."""
    async with staged("mlx") as stage:
        stage.server.faults = Faults(cut_after=1)
        with pytest.raises((StreamBroken, ProtocolViolation)):
            await stage.ask()
