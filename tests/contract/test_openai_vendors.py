"""Every dialect of the OpenAI chat wire against the emulated vendor that an official SDK has judged."""

from __future__ import annotations

from typing import Any

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
    ToolCall,
    ToolChoice,
    Usage,
)
from backends.errors import (
    ModelNotServed,
    Unsupported,
)
from backends.openai.profiles import PROFILES
from simulation.wires.openai_chunks import THOUGHT
from simulation.wires.openai_shapes import SIGNATURE
from simulation.wires.openai_vendor import MODEL
from tests.contract.emulated import text
from tests.contract.openai_stage import EMULATED, USER, every_dialect, staged

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
        asked = Message(role="user", content="What is the weather?")
        chunks = await stage.ask(asked, tools=(WEATHER,))
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
            asked,
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content="rain", tool_call_id=call_id),
        )
        assert text(await stage.ask(*turns, tools=(WEATHER,)))
        sent_call = stage.sent["messages"][1]["tool_calls"][0]
        assert sent_call["id"] == stage.sent["messages"][2]["tool_call_id"]
        proof = {"google": {"thought_signature": SIGNATURE}} if name == "gemini_openai" else None
        assert sent_call.get("extra_content") == proof


@every_dialect
async def test_a_call_is_forced_or_refused(name: str) -> None:
    """Each has its word for "call something"; where there is none, nothing is sent."""
    async with staged(name) as stage:
        wanted = {"tools": (WEATHER,), "tool_choice": ToolChoice(mode="required")}
        if not PROFILES[name].obeys_choice:
            with pytest.raises(Unsupported):
                await stage.ask(**wanted)
            return
        chunks = await stage.ask(**wanted)
        assert FinishReason.TOOL_CALLS in [chunk.finish_reason for chunk in chunks]


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
            if parameter == "stop" and PROFILES[name].stops_here:
                continue
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
        if name == "llama_cpp":
            assert "GET /slots" not in asked
        if name == "trtllm":
            assert "GET /metrics" not in asked
        if name in ("trtllm", "vllm", "vllm_tpu", "vllm_neuron"):
            assert (report.running, report.waiting, report.kv_cache_usage) == (2, 1, 0.5)
        if name == "azure":
            assert not asked
        else:
            assert report.models == (MODEL,)


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


async def test_usage_that_is_not_told_is_estimated() -> None:
    """A desktop server that knows no stream_options is not sent any, and its tokens are counted as they come."""
    async with staged("local", usage="unasked") as stage:
        chunks = await stage.ask()
        assert "stream_options" not in stage.sent
        assert chunks[-1].usage == Usage(output=sum(chunk.events for chunk in chunks), estimated=True)


async def test_llama_cpp_tells_its_times() -> None:
    """Beside the usage, for every request."""
    async with staged("llama_cpp") as stage:
        chunks = await stage.ask()
        times = [chunk.timings for chunk in chunks if chunk.timings is not None]
        assert [(found.prefill_s, found.decode_s) for found in times] == [(0.25, 2.0)]
