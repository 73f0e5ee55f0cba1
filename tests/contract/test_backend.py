"""What every backend promises, whatever wire it speaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from backends.contract import Backend, Chunk, FinishReason, GenerateRequest, Message, Usage
from backends.errors import BackendError, ConnectFailed, RateLimited, StreamBroken, by_code
from backends.scripted import Call, Count, Cut, Fail, Finish, Gate, Stall, Step, Text
from tests.contract.harness import Harness, OpenAIStage

REQUEST = GenerateRequest(model="m", messages=(Message(role="user", content="hi"),))
USAGE = Usage(input=7, cached_input=3, output=5, reasoning=2)


async def collect(backend: Backend) -> list[Chunk]:
    async with contextlib.aclosing(backend.generate(REQUEST, upstream_model="m", request_id="r-1")) as stream:
        return [chunk async for chunk in stream]


async def collect_until_failure(backend: Backend) -> tuple[list[Chunk], BackendError]:
    chunks: list[Chunk] = []
    async with contextlib.aclosing(backend.generate(REQUEST, upstream_model="m", request_id="r-1")) as stream:
        with pytest.raises(BackendError) as caught:
            await _drain(stream, chunks)
    return chunks, caught.value


async def _drain(stream: AsyncIterator[Chunk], chunks: list[Chunk]) -> None:
    async for chunk in stream:
        chunks.append(chunk)  # noqa: PERF401 - what came before a failure is wanted as well


async def test_streams_in_order(harness: Harness) -> None:
    """Pieces arrive in the order in which they were said, and the end comes last."""
    words = [f"{n} " for n in range(50)]
    script: list[Step] = [*(Text(text=word) for word in words), Finish(usage=USAGE)]
    stage = await harness.stage(script)
    chunks = await collect(stage.backend)
    assert "".join(chunk.text for chunk in chunks) == "".join(words)
    assert sum(chunk.events for chunk in chunks) == 50
    finishes = [chunk.finish_reason for chunk in chunks if chunk.finish_reason is not None]
    assert finishes == [FinishReason.STOP]
    after_finish = chunks[next(i for i, chunk in enumerate(chunks) if chunk.finish_reason) + 1 :]
    assert all(chunk.text == "" and chunk.events == 0 for chunk in after_finish)


async def test_a_piece_is_not_held_back(harness: Harness) -> None:
    """The first piece is out while the upstream has not said the second."""
    stage = await harness.stage([Text(text="a"), Gate(name="go"), Text(text="b"), Finish()])
    async with contextlib.aclosing(stage.backend.generate(REQUEST, upstream_model="m", request_id="r")) as stream:
        async with asyncio.timeout(2):
            assert (await anext(stream)).text == "a"
        stage.open_gate("go")
        assert "".join([chunk.text async for chunk in stream]) == "b"


async def test_reasoning_and_tool_calls_are_told_apart_from_text(harness: Harness) -> None:
    """Each kind of output arrives as what it is."""
    script: list[Step] = [
        Text(reasoning="hm"),
        Text(text="so"),
        Call(name="f", arguments='{"x":1}', id="id1"),
        Call(name="g", arguments="{}", id="id2", index=1),
        Finish(reason=FinishReason.TOOL_CALLS),
    ]
    chunks = await collect((await harness.stage(script)).backend)
    assert "".join(chunk.reasoning for chunk in chunks) == "hm"
    assert "".join(chunk.text for chunk in chunks) == "so"
    calls: dict[int, list[str | None]] = {}
    for piece in (piece for chunk in chunks for piece in chunk.tool_calls):
        call = calls.setdefault(piece.index, [piece.id, piece.name, ""])
        call[2] = (call[2] or "") + piece.arguments
    assert calls == {0: ["id1", "f", '{"x":1}'], 1: ["id2", "g", "{}"]}
    assert chunks[-1].finish_reason in (FinishReason.TOOL_CALLS, None)


async def test_reports_usage(harness: Harness) -> None:
    """The last usage is what the upstream counted, cached and reasoning tokens included."""
    script: list[Step] = [Text(text="x"), Count(usage=Usage(input=7, output=1)), Text(text="y"), Finish(usage=USAGE)]
    chunks = await collect((await harness.stage(script)).backend)
    assert [chunk.usage for chunk in chunks if chunk.usage is not None][-1] == USAGE


@pytest.mark.parametrize("code", sorted(OpenAIStage.STATUSES))
async def test_maps_each_failure(harness: Harness, code: str) -> None:
    """Every kind of failure before the first chunk arrives as its own error."""
    stage = await harness.stage([Fail(code=code)])
    chunks, error = await collect_until_failure(stage.backend)
    assert chunks == []
    assert type(error) is by_code()[code]
    assert error.message


async def test_a_rate_limit_says_how_long(harness: Harness) -> None:
    """The upstream's wish to be left alone is passed on in seconds."""
    stage = await harness.stage([Fail(code="RATE_LIMITED", retry_after_s=2.5)])
    _, error = await collect_until_failure(stage.backend)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 2.5


async def test_nobody_there_is_a_failed_connection(harness: Harness) -> None:
    """A refused connection is told apart from a refusal."""
    stage = await harness.unreachable()
    _, error = await collect_until_failure(stage.backend)
    assert isinstance(error, ConnectFailed)
    assert error.retryable
    assert error.counts_against_health


@pytest.mark.parametrize("code", ["RATE_LIMITED", "UPSTREAM_FAULT", "OVERLOADED"])
async def test_a_failure_after_the_first_chunk_is_a_broken_stream(harness: Harness, code: str) -> None:
    """What was delivered stays delivered; the failure says that it is late, and what it was."""
    stage = await harness.stage([Text(text="par"), Gate(name="go"), Fail(code=code)])
    stream = stage.backend.generate(REQUEST, upstream_model="m", request_id="r")
    async with contextlib.aclosing(stream):
        assert (await anext(stream)).text == "par"
        stage.open_gate("go")
        with pytest.raises(StreamBroken) as caught:
            await anext(stream)
    assert code in caught.value.message


async def test_the_end_of_the_connection_is_not_the_end_of_the_answer(harness: Harness) -> None:
    """A stream that stops without its terminal marker is an error, never a short success."""
    stage = await harness.stage([Text(text="par"), Gate(name="go"), Cut()])
    stream = stage.backend.generate(REQUEST, upstream_model="m", request_id="r")
    async with contextlib.aclosing(stream):
        assert (await anext(stream)).text == "par"
        stage.open_gate("go")
        with pytest.raises(StreamBroken):
            await anext(stream)


async def test_an_end_before_the_first_chunk_is_not_a_broken_stream(harness: Harness) -> None:
    """Where nothing was delivered the failure can be retried as if nothing had been sent."""
    stage = await harness.stage([Gate(name="go"), Cut()])
    stage.open_gate("go")
    chunks, error = await collect_until_failure(stage.backend)
    assert chunks == []
    assert not isinstance(error, StreamBroken)
    assert error.retryable


async def test_closing_the_stream_reaches_the_upstream(harness: Harness) -> None:
    """A caller that leaves frees the upstream within 100 ms."""
    stage = await harness.stage([Text(text="a"), Stall()])
    stream = stage.backend.generate(REQUEST, upstream_model="m", request_id="r")
    await anext(stream)
    left_at = asyncio.get_running_loop().time()
    await stream.aclose()
    assert await stage.caller_left_after_s(left_at) < 0.1


@pytest.mark.parametrize("delivered", [0, 1])
async def test_cancelling_reaches_the_upstream(harness: Harness, delivered: int) -> None:
    """A cancelled task frees the upstream within 100 ms, before the first token as well as after it."""
    script: list[Step] = [*[Text(text="a")] * delivered, Stall()]
    stage = await harness.stage(script)
    got = asyncio.Event()

    async def consume() -> None:
        async with contextlib.aclosing(stage.backend.generate(REQUEST, upstream_model="m", request_id="r")) as stream:
            async for _ in stream:
                got.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for((got if delivered else stage.called).wait(), 2)
    left_at = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stage.caller_left_after_s(left_at) < 0.1


async def test_a_probe_tells_the_healthy_from_the_sick(harness: Harness) -> None:
    """A probe answers for both and never raises."""
    well = await (await harness.stage([Finish()])).backend.probe(timeout_s=2)
    assert well.healthy
    assert well.running is None
    sick = await (await harness.sick()).backend.probe(timeout_s=2)
    assert not sick.healthy
    assert sick.reason.startswith("CONNECT_FAILED")
