"""The adapter against the real mlx-lm server, in its build for CPUs, with a real small model.

It knows no window: a prompt that is too long is computed all the same, for as long as that takes, so nothing here can
prove a refusal of one. The router's own check of the window is all there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

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
from backends.errors import BackendError, BadRequest, ModelNotServed, Unsupported
from router.app import discovering
from router.domain.catalogue import Catalogue
from tests.engines.engine import EVERY_SAMPLER, GREEDY, HELLO, MODEL_FILES, Engine, serve, text, usage, user

pytestmark = [
    pytest.mark.judge("mlx", "real"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
]
MODEL = str(MODEL_FILES.resolve())
TOOL = Tool(name="f", parameters=msgspec.Raw(b'{"type":"object","properties":{"n":{"type":"integer"}}}'))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mlx(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    if not (MODEL_FILES / "model.safetensors").exists():
        async with serve("vllm_cpu", "vllm", model="", env={}):
            pass  # its first start writes the model that both read
    # Without such a folder it cannot list its models: an empty list comes with 200.
    hub = tmp_path_factory.mktemp("hub")
    async with serve("mlx_lm", "mlx", model=MODEL, env={"HF_HUB_CACHE": str(hub)}) as engine:
        yield engine


async def test_a_chat_is_streamed_token_by_token(mlx: Engine) -> None:
    """Each token comes as it is made, over several turns, after comments that tell how far the prompt is read."""
    turns = (
        Message(role="system", content="Be kind."),
        *user("Hi"),
        Message(role="assistant", content="Hello!"),
        *user("Tell me a story about a bird."),
    )
    chunks = await mlx.ask(messages=turns, sampling=Sampling(max_output_tokens=16, temperature=0.0))
    assert len([chunk for chunk in chunks if chunk.text]) > 8
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.LENGTH]
    counted = usage(chunks)
    assert (counted.output, counted.estimated, counted.reasoning) == (16, False, 0)
    assert counted.input > 20


async def test_what_is_on_its_wire(mlx: Engine) -> None:
    """HTTP/1.0 that ends with its connection, comments between events, a usage under another object's name."""
    body = {
        "model": "default_model",
        "messages": [{"role": "user", "content": "Say something that nobody has said."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 2,
    }
    answer = await mlx.control.post(f"{mlx.url}/v1/chat/completions", json=body)
    assert (answer.http_version, answer.headers.get("content-length")) == ("HTTP/1.0", None)
    assert ": keepalive " in answer.text
    *_, counted, done = answer.text.split("\n\n")[:-1]
    assert msgspec.json.decode(counted.removeprefix("data: "))["object"] == "chat.completion"
    assert done == "data: [DONE]"


async def test_a_text_is_completed(mlx: Engine) -> None:
    """The completions endpoint; the model that it was started with also goes by a name that is always the same."""
    chunks = await mlx.ask(prompt="Once upon a time", model="default_model", sampling=GREEDY)
    assert text(chunks)
    assert (usage(chunks).input, usage(chunks).output) == (4, 8)


async def test_what_was_in_the_cache_is_counted(mlx: Engine) -> None:
    """A prompt that came before is read from the cache."""
    prompt = user("Of birds: " + "sing " * 40)
    await mlx.ask(messages=prompt, sampling=GREEDY)
    again = usage(await mlx.ask(messages=prompt, sampling=GREEDY))
    assert again.input > again.cached_input > 40


@pytest.mark.parametrize("of", [slice(3, 5), slice(2, 8)])
async def test_a_stop_sequence_ends_the_answer(mlx: Engine, of: slice) -> None:
    """The server itself takes it out and goes on, unless it falls on tokens of its own; so it is found on our side."""
    sampling = Sampling(max_output_tokens=20, temperature=0.0)
    whole = text(await mlx.ask(messages=HELLO, sampling=sampling))
    stop = whole[of]
    chunks = await mlx.ask(messages=HELLO, sampling=msgspec.structs.replace(sampling, stop=(stop,)))
    assert text(chunks) == whole.partition(stop)[0]
    assert [(c.finish_reason, c.stop_sequence) for c in chunks if c.finish_reason] == [(FinishReason.STOP, stop)]
    assert 0 < usage(chunks).output < 20


async def test_what_the_server_does_with_a_stop_sequence(mlx: Engine) -> None:
    """The reason for the above: asked itself, it lets the answer go on past the sequence, without it."""
    asked = {"model": "default_model", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 20}
    choice = (await mlx.control.post(f"{mlx.url}/v1/chat/completions", json={**asked, "stop": ["e"]})).json()[
        "choices"
    ][0]
    said = choice["message"]["content"]
    assert len(said) > 10, "it stops by itself now: let it (profile mlx, stops_here)"
    assert "e" not in said


async def test_seeds_and_samplers(mlx: Engine) -> None:
    """A seed repeats an answer, and every sampler of the profile is taken."""
    assert await mlx.is_repeated_by_a_seed()
    assert usage(await mlx.ask(messages=HELLO, sampling=EVERY_SAMPLER, end_user="u")).output == 4


async def test_what_it_would_pass_over_in_silence_is_not_asked_of_it(mlx: Engine) -> None:
    """Schemas, forced calls, logarithms in a stream, pictures: the server would answer as if nobody had asked."""
    wanted = ResponseFormat(kind="json_schema", schema=msgspec.Raw(b'{"type":"object"}'))
    picture = Message(role="user", content=(TextPart(text="?"), ImagePart(url="data:image/png;base64,iVBORw0KGgo=")))
    cases: tuple[dict[str, Any], ...] = (
        {"response_format": wanted},
        {"response_format": ResponseFormat(kind="json_object")},
        {"tools": (TOOL,), "tool_choice": ToolChoice(mode="required")},
        {"sampling": Sampling(logprobs=True)},
        {"messages": (picture,)},
    )
    for fields in cases:
        with pytest.raises(Unsupported):
            await mlx.ask(**{"messages": HELLO, "sampling": GREEDY, **fields})
    # A model whose template has no place for tools is offered them in vain.
    assert text(await mlx.ask(messages=HELLO, tools=(TOOL,), sampling=GREEDY))


async def test_refusals_are_told_apart(mlx: Engine) -> None:
    """Its errors are a text; whatever goes wrong before the first token is a 404, and only the words say what."""
    cases: tuple[tuple[dict[str, Any], type[BackendError]], ...] = (
        ({"model": "nobody/nothing"}, ModelNotServed),
        ({"sampling": Sampling(top_p=7.0)}, BadRequest),
        ({"sampling": msgspec.structs.replace(GREEDY, temperature="hot")}, BadRequest),
        ({"sampling": Sampling(max_output_tokens=0)}, BadRequest),
        ({"messages": ()}, BadRequest),
    )
    for fields, error in cases:
        with pytest.raises(BackendError) as refused:
            await mlx.ask(**{"messages": HELLO, "sampling": GREEDY, **fields})
        assert type(refused.value) is error, refused.value
    assert text(await mlx.ask(messages=HELLO, sampling=GREEDY))


async def test_it_is_healthy_and_says_nothing_of_its_load(mlx: Engine) -> None:
    """What it does not say is unknown, and not zero."""
    report = await mlx.backend.probe(timeout_s=5)
    assert report.healthy
    assert report.models == (MODEL,)
    assert (report.running, report.waiting, report.kv_cache_usage) == (None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process computes is read from /proc")
async def test_a_caller_that_leaves_frees_it(mlx: Engine) -> None:
    """Once the stream is closed its process computes nothing more, long before the answer would have been complete."""
    request = GenerateRequest(model="m", prompt="1 2 3", sampling=Sampling(max_output_tokens=4000))
    stream = mlx.backend.generate(request, upstream_model=MODEL, request_id="r")
    async with contextlib.aclosing(stream):
        await anext(stream)
        assert await busy_s(mlx.child.pid) > 0.1
    async with asyncio.timeout(20):
        while await busy_s(mlx.child.pid) > 0.1:
            pass


async def busy_s(pid: int) -> float:
    """Seconds of processor time that a process takes in one second."""

    def spent() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    began = spent()
    await asyncio.sleep(1.0)
    return spent() - began


async def test_it_is_discovered(mlx: Engine) -> None:
    """`backends discover` knows it by its HTTP/1.0, and what it prints has its model and its dialect."""
    found = await discovering.find(mlx.url, env=os.environ, credential=None)
    assert (found.title, found.wire, found.profile) == ("mlx-lm", "openai_chat", "mlx")
    assert (found.emulated, found.tells_load, found.place) == (False, False, "device")
    assert [(model.name, model.context_tokens) for model in found.facts.models] == [(MODEL, None)]
    matches = discovering.match(found.facts.models, Catalogue())
    document = discovering.as_yaml(found, matches, backend_id="m", credential=None)
    entry = yaml.safe_load(document)["backends"]["m"]
    assert entry["models"] == [{"model": MODEL_FILES.name, "upstream_name": MODEL}]
    assert not {"json_schema", "json_object", "logprobs", "assistant_prefill"} & set(entry["capabilities"])
