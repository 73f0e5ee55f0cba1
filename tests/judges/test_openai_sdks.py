"""The vendors' own SDKs drive the emulated vendors of the OpenAI chat wire: what passes, the adapter is tested on.

One suite over all of them: each SDK is only told where to send its requests, and checks the answers by its own types.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import cerebras.cloud.sdk as cerebras
import fireworks
import groq
import openai
import pytest
import together

from simulation.wires.faults import Faults
from simulation.wires.openai_engines import ENGINES
from simulation.wires.openai_vendor import KEY, MODEL, EmulatedVendor
from simulation.wires.openai_vendors import VENDORS

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@dataclass(frozen=True, slots=True)
class Judge:
    """One SDK and what it judges.

    `errors` has the SDK's classes of exceptions; `asks_for_usage` where a stream tells usage only if it is asked;
    `lists_models` where the SDK's list is of what can be asked for, and not of an account's own.
    """

    vendor: str
    client: Callable[[str], Any]
    errors: Any
    asks_for_usage: bool = True
    lists_models: bool = True


# Nothing here speaks TLS, and reading the bundle of authorities for every client would take most of the time.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _made(sdk: Any, client: Any, **more: Any) -> Any:
    """A client that holds answers to its types, unless it is told not to."""
    more = {"_strict_response_validation": True, **more}
    http_client = sdk.DefaultAsyncHttpxClient(verify=NO_TLS)
    return client(api_key=KEY, max_retries=0, http_client=http_client, **more)


# Recorded of Azure, and in the source of mlx-lm: an `object` that is not the one of OpenAI's types.
LOOSE: Any = {"_strict_response_validation": False}


def _openai(path: str, **more: Any) -> Callable[[str], Any]:
    return lambda base: _made(openai, openai.AsyncOpenAI, base_url=base + path, **more)


JUDGES = (
    Judge("openai", _openai("/v1"), openai),
    Judge(
        "azure",
        lambda base: _made(openai, openai.AsyncAzureOpenAI, azure_endpoint=base, api_version="2024-10-21", **LOOSE),
        openai,
    ),
    Judge("azure_v1", _openai("/openai/v1/", default_headers={"api-key": KEY}, **LOOSE), openai),
    Judge("groq", lambda base: _made(groq, groq.AsyncGroq, base_url=base), groq, asks_for_usage=False),
    Judge(
        "cerebras",
        lambda base: _made(cerebras, cerebras.AsyncCerebras, base_url=base, warm_tcp_connection=False),
        cerebras,
        asks_for_usage=False,
    ),
    Judge(
        "together",
        lambda base: _made(together, together.AsyncTogether, base_url=base + "/v1"),
        together,
        asks_for_usage=False,
    ),
    Judge(
        "fireworks",
        lambda base: _made(fireworks, fireworks.AsyncFireworks, base_url=base + "/inference"),
        fireworks,
        asks_for_usage=False,
        lists_models=False,
    ),
    # Vendors and engines without an SDK of their own send their customers to OpenAI's.
    Judge("openrouter", _openai("/api/v1"), openai),
    Judge("deepseek", _openai("/v1"), openai, asks_for_usage=False),
    Judge("xai", _openai("/v1"), openai),
    Judge("gemini_openai", _openai("/v1beta/openai"), openai),
    *(
        Judge(engine, _openai("/v1"), openai)
        for engine in ("vllm", "vllm_tpu", "vllm_neuron", "llama_cpp", "local", "trtllm")
    ),
    Judge("sglang", _openai("/v1"), openai),
    Judge("tabbyapi", _openai("/v1", default_headers={"x-api-key": KEY}), openai),
    Judge("mlx", _openai("/v1", **LOOSE), openai),
)


# Faces of one family.
FAMILIES = {"azure_v1": "azure", "gemini_openai": "gemini"}


def _judged(judge: Judge) -> Any:
    family = FAMILIES.get(judge.vendor, judge.vendor)
    return pytest.param(judge, id=judge.vendor, marks=pytest.mark.judge(family, "sdk"))


every_judge = pytest.mark.parametrize("judge", [_judged(judge) for judge in JUDGES])


@dataclass(frozen=True, slots=True)
class Bench:
    server: EmulatedVendor
    client: Any

    async def create(self, **more: Any) -> Any:
        return await self.client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, **more})


@contextlib.asynccontextmanager
async def bench_of(judge: Judge) -> AsyncIterator[Bench]:
    server = EmulatedVendor({**VENDORS, **ENGINES}[judge.vendor])
    await server.start("127.0.0.1", 0)
    try:
        async with judge.client(f"http://127.0.0.1:{server.port}") as client:
            yield Bench(server, client)
    finally:
        await server.close()


@every_judge
async def test_one_answer(judge: Judge) -> None:
    """A whole answer is taken by the SDK's types, with its counts."""
    async with bench_of(judge) as bench:
        answer = await bench.create(max_tokens=200)
        assert answer.choices[0].message.content.startswith("Emulated answer")
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.completion_tokens > 1
        assert answer.usage.prompt_tokens > 0


@every_judge
async def test_a_stream_says_what_the_answer_says(judge: Judge) -> None:
    """The pieces are the whole answer, the finish reason comes once, and the last usage is its usage."""
    async with bench_of(judge) as bench:
        whole = await bench.create()
        more = {"stream_options": {"include_usage": True}} if judge.asks_for_usage else {}
        text, finishes, usage = "", [], None
        async for event in await bench.create(stream=True, **more):
            for choice in event.choices:
                text += choice.delta.content or ""
                finishes += [choice.finish_reason] if choice.finish_reason else []
            usage = event.usage or usage
        assert text == whole.choices[0].message.content
        assert set(finishes) <= {"stop", "eos"}
        assert usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens


@every_judge
async def test_a_tool_is_called_and_answered(judge: Judge) -> None:
    """The call comes whole and in pieces, and the conversation with its result goes on."""
    async with bench_of(judge) as bench:
        asked: Any = {"tools": TOOLS, "tool_choice": "required"}
        message = (await bench.create(**asked)).choices[0].message
        (call,) = message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "emulated"})
        name = arguments = ""
        async for event in await bench.create(**asked, stream=True):
            for piece in event.choices[0].delta.tool_calls or () if event.choices else ():
                name += piece.function.name or ""
                arguments += piece.function.arguments or ""
        assert (name, json.loads(arguments)) == ("get_weather", {"city": "emulated"})
        turns = [
            *MESSAGES,
            {"role": "assistant", "content": "", "tool_calls": [call.model_dump(exclude_none=True)]},
            {"role": "tool", "content": "rain", "tool_call_id": call.id},
        ]
        assert (await bench.create(messages=turns)).choices[0].message.content


ERRORS = {
    401: "AuthenticationError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
}


@every_judge
async def test_each_error_is_the_sdks_own(judge: Judge) -> None:
    """A refusal arrives as the exception that the SDK has for it, with the vendor's words."""
    async with bench_of(judge) as bench:
        for status, usual in ERRORS.items():
            bench.server.faults = Faults(status=status)
            said = bench.server.vendor.words.get(status)
            wanted = "BadRequestError" if said is not None and said.status == 400 else usual
            with pytest.raises(getattr(judge.errors, wanted)) as caught:
                await bench.create()
            assert caught.value.body


@pytest.mark.parametrize("judge", [_judged(judge) for judge in JUDGES if judge.lists_models])
async def test_the_list_of_models(judge: Judge) -> None:
    """Where there is one, the SDK finds the model in it."""
    async with bench_of(judge) as bench:
        if not any(path.endswith("/models") for path in bench.server.vendor.pages):
            with pytest.raises(judge.errors.NotFoundError):
                await bench.client.models.list()
            return
        listed = await bench.client.models.list()
        assert [entry.id for entry in (listed if isinstance(listed, list) else listed.data)] == [MODEL]


@every_judge
async def test_limits_are_in_the_head(judge: Judge) -> None:
    """What the vendor says of its limits can be read from the raw answer."""
    async with bench_of(judge) as bench:
        raw = await bench.client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
        for name, value in bench.server.vendor.limits.items():
            assert raw.headers[name] == value


@pytest.mark.judge("cerebras", "sdk")
async def test_the_sdk_warms_its_connection_first() -> None:
    """A GET before anything else, which is answered."""
    server = EmulatedVendor(VENDORS["cerebras"])
    await server.start("127.0.0.1", 0)

    def drive() -> None:
        with cerebras.Cerebras(base_url=f"http://127.0.0.1:{server.port}", api_key=KEY, max_retries=0) as client:
            client.chat.completions.create(model=MODEL, messages=MESSAGES)

    await asyncio.to_thread(drive)  # it warms in its constructor, which waits for the answer
    await server.close()
    assert list(server.asked_for) == ["GET /v1/tcp_warming", "POST /v1/chat/completions"]
