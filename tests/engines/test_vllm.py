"""The adapter against the real vLLM, on the CPU, with a real small model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
import pytest_asyncio
import yaml

from backends.contract import (
    Chunk,
    FinishReason,
    GenerateRequest,
    LoadReport,
    Message,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)
from backends.errors import AuthFailed, BadRequest, ContextTooLong, ModelNotServed, Unsupported
from backends.signals import ORCA_ANSWER, ORCA_REQUEST, read_signals
from router.app import discovering
from router.domain.catalogue import Catalogue
from tests.engines.engine import EVERY_SAMPLER, GREEDY, HELLO, KEY, Engine, serve, text, usage, user

pytestmark = [
    pytest.mark.judge("vllm", "real"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
]
MODEL = "smollm2-135m"
WINDOW = 2048
TOOL = Tool(name="f", parameters=msgspec.Raw(b'{"type":"object","properties":{"n":{"type":"integer"}}}'))
SCHEMA = msgspec.Raw(
    b'{"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":9}},"required":["n"],'
    b'"additionalProperties":false}'
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm() -> AsyncIterator[Engine]:
    async with serve("vllm_cpu", "vllm", model=MODEL, env={"VLLM_API_KEY": KEY}) as engine:
        yield engine


async def test_a_chat_is_streamed_token_by_token(vllm: Engine) -> None:
    """Each token comes as it is made, over several turns; the counts are the engine's own."""
    turns = (
        Message(role="system", content="Be kind."),
        *user("Hi"),
        Message(role="assistant", content="Hello!"),
        *user("Tell me a story about a bird."),
    )
    chunks = await vllm.ask(messages=turns, sampling=Sampling(max_output_tokens=24, temperature=0.0))
    assert len([chunk for chunk in chunks if chunk.text]) > 12
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.LENGTH]
    counted = usage(chunks)
    assert (counted.output, counted.estimated, counted.reasoning) == (24, False, 0)
    assert counted.input > 20
    assert 20 <= sum(chunk.events for chunk in chunks) <= 24


async def test_a_text_is_completed(vllm: Engine) -> None:
    """The completions endpoint, with the logarithms of its own form."""
    sampling = Sampling(max_output_tokens=6, temperature=0.0, logprobs=True, top_logprobs=2)
    chunks = await vllm.ask(prompt="Once upon a time", sampling=sampling)
    found = [value for chunk in chunks for value in chunk.logprobs]
    assert text(chunks) == "".join(value.token for value in found)
    assert [len(value.top) >= 2 for value in found] == [True] * 6
    assert usage(chunks).input == 4


async def test_an_answer_that_was_begun_is_continued(vllm: Engine) -> None:
    """A trailing assistant message is gone on with, and not answered."""
    begun = (*user("Count to ten."), Message(role="assistant", content="1, 2, 3, 4,"))
    assert text(await vllm.ask(messages=begun, sampling=GREEDY)).startswith(" 5")


async def test_logarithms_of_a_chat(vllm: Engine) -> None:
    """One per token, with its alternatives and its bytes; more alternatives than the engine allows are refused."""
    wanted = Sampling(max_output_tokens=5, temperature=0.0, logprobs=True, top_logprobs=2)
    chunks = await vllm.ask(messages=HELLO, sampling=wanted)
    found = [value for chunk in chunks for value in chunk.logprobs]
    assert len(found) == 5
    assert b"".join(bytes(value.bytes or ()) for value in found).decode() == text(chunks)
    assert all(len(value.top) == 2 and value.logprob <= 0 for value in found)
    with pytest.raises(BadRequest, match="logprobs"):
        await vllm.ask(messages=HELLO, sampling=Sampling(logprobs=True, top_logprobs=50))


async def test_stops_seeds_and_samplers(vllm: Engine) -> None:
    """A stop sequence ends the text and is told, a seed repeats an answer, and every sampler is taken."""
    whole = text(await vllm.ask(messages=HELLO, sampling=Sampling(max_output_tokens=20, temperature=0.0)))
    stop = whole[3:5]
    chunks = await vllm.ask(messages=HELLO, sampling=Sampling(max_output_tokens=20, temperature=0.0, stop=(stop,)))
    assert text(chunks) == whole.partition(stop)[0]
    assert [(c.finish_reason, c.stop_sequence) for c in chunks if c.finish_reason] == [(FinishReason.STOP, stop)]

    assert await vllm.is_repeated_by_a_seed()
    everything = msgspec.structs.replace(EVERY_SAMPLER, reasoning_effort="low")
    assert usage(await vllm.ask(messages=HELLO, sampling=everything, end_user="u")).output == 4


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
async def test_a_schema_bounds_the_answer(vllm: Engine, kind: str) -> None:
    """What a small model would never keep to by itself, and a schema that is none is the request's fault."""
    wanted = ResponseFormat(kind="json_schema", schema=SCHEMA, strict=True)
    if kind == "json_object":
        wanted = ResponseFormat(kind="json_object")
    sampling = Sampling(max_output_tokens=400, temperature=0.0, repetition_penalty=1.3)
    chunks = await vllm.ask(messages=user("A number, please."), response_format=wanted, sampling=sampling)
    if kind == "json_object":
        assert text(chunks).lstrip().startswith("{")
        return
    assert 0 <= json.loads(text(chunks))["n"] <= 9
    broken = ResponseFormat(kind="json_schema", schema=msgspec.Raw(b'{"type":"nonsense"}'))
    with pytest.raises(BadRequest, match="nonsense"):
        await vllm.ask(messages=HELLO, response_format=broken, sampling=GREEDY)


async def test_tools_need_a_server_that_was_started_for_them(vllm: Engine) -> None:
    """This one has no tool parser and says so: another may have it. Results of calls are read all the same."""
    for choice in (None, ToolChoice(mode="required"), ToolChoice(mode="function", name="f")):
        with pytest.raises(Unsupported, match="--tool-call-parser"):
            await vllm.ask(messages=HELLO, tools=(TOOL,), tool_choice=choice, sampling=GREEDY)
    assert text(await vllm.ask(messages=HELLO, tools=(TOOL,), tool_choice=ToolChoice(mode="none"), sampling=GREEDY))
    turns = (
        *HELLO,
        Message(role="assistant", tool_calls=(ToolCall(id="call_1", name="f", arguments='{"n":1}'),)),
        Message(role="tool", tool_call_id="call_1", content="2"),
    )
    assert text(await vllm.ask(messages=turns, sampling=GREEDY))


async def test_what_was_in_the_cache_is_counted(vllm: Engine) -> None:
    """A prompt that came before is read from the cache; the first time it is written there."""
    prompt = user("Of birds and bees and trees: " + "sing " * 300)
    first = usage(await vllm.ask(messages=prompt, sampling=GREEDY))
    again = usage(await vllm.ask(messages=prompt, sampling=GREEDY))
    assert first.input == again.input > 300
    assert again.cached_input > 200
    assert (first.cache_write_input > 200, again.cache_write_input < 200) == (True, True)


async def load(vllm: Engine) -> LoadReport:
    report = await vllm.backend.probe(timeout_s=5)
    assert report.healthy
    return report


async def idle(vllm: Engine) -> None:
    """Waits until the engine works on nothing."""
    async with asyncio.timeout(10):
        while (await load(vllm)).running != 0:
            await asyncio.sleep(0.02)


async def test_its_load_is_read_and_a_caller_that_leaves_frees_it(vllm: Engine) -> None:
    """Running, waiting and cache show in the metrics while it works, and fall to nothing when the stream is closed."""
    await idle(vllm)
    quiet = await load(vllm)
    assert (quiet.running, quiet.waiting, quiet.kv_cache_usage, quiet.models) == (0, 0, 0.0, (MODEL,))
    request = GenerateRequest(model="m", prompt="1 2 3", sampling=Sampling(max_output_tokens=1800))
    stream = vllm.backend.generate(request, upstream_model=MODEL, request_id="r")
    async with contextlib.aclosing(stream):
        await anext(stream)
        async with asyncio.timeout(10):
            while not ((busy := await load(vllm)).running and busy.kv_cache_usage):
                await asyncio.sleep(0.02)
        assert (busy.running, busy.waiting) == (1, 0)
    await idle(vllm)


async def test_callers_at_the_same_time_are_served_together(vllm: Engine) -> None:
    """Several streams over one pool; all show in the load, and each gets its own answer."""

    async def one(number: int) -> list[Chunk]:
        sampling = Sampling(max_output_tokens=40, temperature=0.0)
        return await vllm.ask(messages=user(f"Tell a story of {number} birds."), sampling=sampling)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(one(number)) for number in range(3)]
        most = 0
        while not all(task.done() for task in asked):
            most = max(most, (await load(vllm)).running or 0)
            await asyncio.sleep(0.02)
    assert most == 3
    assert all(usage(task.result()).output > 3 for task in asked)


async def test_a_prompt_over_the_window_is_the_requests_fault(vllm: Engine) -> None:
    """On both endpoints, by the prompt alone and with the output that was asked for."""
    with pytest.raises(ContextTooLong):
        await vllm.ask(messages=user("word " * 5000), sampling=GREEDY)
    with pytest.raises(ContextTooLong):
        await vllm.ask(prompt="word " * 5000, sampling=GREEDY)
    with pytest.raises(ContextTooLong):
        await vllm.ask(messages=HELLO, sampling=Sampling(max_output_tokens=WINDOW + 1))


async def test_refusals_are_told_apart(vllm: Engine) -> None:
    """A model that is not there, a value out of range or of a wrong type, a prompt without words, a picture."""
    with pytest.raises(ModelNotServed):
        await vllm.ask(messages=HELLO, model="nobody", sampling=GREEDY)
    for fields in ({"top_p": 7.0}, {"temperature": "hot"}):
        with pytest.raises(BadRequest) as refused:
            await vllm.ask(messages=HELLO, sampling=Sampling(**fields))
        assert (refused.value.param or "").endswith(next(iter(fields)))
    with pytest.raises(BadRequest):
        await vllm.ask(prompt="", sampling=GREEDY)
    assert text(await vllm.ask(messages=HELLO, sampling=GREEDY))


async def test_a_wrong_key_is_refused_and_not_told(vllm: Engine) -> None:
    """Its 401 has a shape of its own; what asks for its health needs no key, and says that ours is wrong."""
    other = vllm.bind(wire="openai_chat", profile="vllm", key="sk-wrong-0123456789abcdef")
    with pytest.raises(AuthFailed) as refused:
        await vllm.ask(backend=other, messages=HELLO, sampling=GREEDY)
    assert "sk-wrong" not in str(refused.value)
    report = await other.probe(timeout_s=5)
    assert not report.healthy
    assert report.reason.startswith("AUTH_FAILED")


async def test_the_load_report_comes_with_whole_answers_only(vllm: Engine) -> None:
    """An answer in one piece has ORCA's header, and its JSON is read; a stream has none."""
    ours = {ORCA_REQUEST[0].decode(): ORCA_REQUEST[1].decode(), "authorization": f"Bearer {KEY}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    whole = await vllm.control.post(f"{vllm.url}/v1/chat/completions", headers=ours, json=body)
    signals = read_signals(whole.headers, ())
    assert signals is not None
    assert signals.load is not None
    assert (signals.load.waiting, signals.load.kv_cache_usage) == (0, 0.0)
    streamed = await vllm.control.post(f"{vllm.url}/v1/chat/completions", headers=ours, json={**body, "stream": True})
    assert ORCA_ANSWER not in streamed.headers
    assert all(chunk.signals is None for chunk in await vllm.ask(messages=HELLO, sampling=GREEDY))


async def test_its_messages_wire_is_spoken_as_well(vllm: Engine) -> None:
    """The adapter of the Messages wire, on an engine that offers it beside its own."""
    other = vllm.bind(wire="anthropic", profile="vllm")
    chunks = await vllm.ask(backend=other, messages=HELLO, sampling=GREEDY)
    assert text(chunks)
    assert (usage(chunks).output, usage(chunks).estimated) == (8, False)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.LENGTH]
    wanted = ResponseFormat(kind="json_schema", schema=SCHEMA)
    sampling = Sampling(max_output_tokens=200, temperature=0.0)
    bounded = await vllm.ask(backend=other, messages=HELLO, response_format=wanted, sampling=sampling)
    assert 0 <= json.loads(text(bounded))["n"] <= 9
    for messages, model, error in ((user("word " * 5000), MODEL, ContextTooLong), (HELLO, "nobody", ModelNotServed)):
        with pytest.raises(error):
            await vllm.ask(backend=other, messages=messages, model=model, sampling=GREEDY)
    with pytest.raises(Unsupported):
        await vllm.ask(backend=other, messages=HELLO, tools=(TOOL,), sampling=GREEDY)


async def test_it_is_discovered(vllm: Engine) -> None:
    """`backends discover` recognises it, and what it prints has its model, its window and its dialect."""
    found = await discovering.find(vllm.url, env={**os.environ, "KEY": KEY}, credential="env:KEY")
    assert (found.title, found.wire, found.profile) == ("vLLM", "openai_chat", "vllm")
    assert (found.emulated, found.tells_load, found.place) == (False, True, "device")
    assert [(model.name, model.context_tokens) for model in found.facts.models] == [(MODEL, WINDOW)]
    assert found.facts.version
    matches = discovering.match(found.facts.models, Catalogue())
    document = discovering.as_yaml(found, matches, backend_id="v", credential="env:KEY")
    entry = yaml.safe_load(document)["backends"]["v"]
    assert entry["models"] == [{"model": MODEL, "context_tokens": WINDOW}]
    assert entry["credential"] == "env:KEY"
    assert KEY not in document
    without = await discovering.find(vllm.url, env=os.environ, credential=None)
    assert without.wire == ""


async def test_the_engine_is_gone_with_its_child(vllm: Engine) -> None:
    """Last of all: stopped, nothing of it answers any more, the processes that it started included."""
    await vllm.child.stop(timeout_s=20.0)
    with pytest.raises(httpx.ConnectError):
        await vllm.control.get(f"{vllm.url}/health")
    async with asyncio.timeout(10):
        with contextlib.suppress(ProcessLookupError):
            while os.killpg(vllm.child.pid, 0) is None:  # type: ignore[func-returns-value]
                await asyncio.sleep(0.05)
