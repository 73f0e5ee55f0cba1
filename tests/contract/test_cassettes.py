"""The chat adapter on recorded traffic: what it makes of the bytes is what the recording says, however they are cut."""

from __future__ import annotations

import contextlib
import random
import zlib

import httpx
import pytest

from backends.contract import Chunk, GenerateRequest, Message, Usage
from backends.errors import BackendError
from backends.registry import build
from backends.spec import BackendSpec
from tests.contract.cassettes import FOLDER, PROFILE_OF, Reading, Recording, read, recordings
from tests.contract.harness import make_transport
from tests.contract.loopback import LoopbackServer, Reply

RECORDINGS = recordings()

if not RECORDINGS:
    pytest.skip(
        f"no recordings: {FOLDER.name} of the shared cassettes is not beside this project", allow_module_level=True
    )

# Statuses whose meaning the body decides: words in the body, and the code they stand for.
BODY_DECIDES = {
    400: (
        ("API key", "AUTH_FAILED"),
        ("context", "CONTEXT_TOO_LONG"),
        ("too long", "CONTEXT_TOO_LONG"),
        ("nvalid model", "MODEL_NOT_SERVED"),
        ("not a valid model", "MODEL_NOT_SERVED"),
        ("", "BAD_REQUEST"),
    ),
    401: (("", "AUTH_FAILED"),),
    404: (("", "MODEL_NOT_SERVED"),),
    422: (("", "BAD_REQUEST"),),
    429: (("", "RATE_LIMITED"),),
    500: (("", "BAD_REQUEST"),),  # all of them are llama.cpp's, for requests that it cannot take
}


def pieces(body: bytes, seed: int) -> list[bytes]:
    """The body cut at random: single bytes, a few, or thousands at a time."""
    rng = random.Random(seed)
    cut: list[bytes] = []
    at = 0
    size = rng.choice([3, 40, 1500])
    while at < len(body):
        step = rng.randint(1, max(1, size if len(body) < 40_000 else 4000))
        cut.append(body[at : at + step])
        at += step
    return cut


async def replay(recording: Recording, transport_name: str) -> tuple[list[Chunk], BackendError | None]:
    kind = "text/event-stream" if recording.is_stream and recording.status == 200 else "application/json"
    kept = [(n, v) for n, v in recording.headers.items() if n == "retry-after" or "ratelimit" in n]
    reply = Reply(
        pieces(recording.body, zlib.crc32(recording.id.encode())),
        status=recording.status,
        headers=[("content-type", kind), *kept],
    )
    chunks: list[Chunk] = []
    transport = make_transport(transport_name)
    async with LoopbackServer(lambda _: reply) as server, httpx.AsyncClient() as control:
        backend = build(
            BackendSpec(id="r", wire="openai_chat", profile=PROFILE_OF[recording.provider], base_url=server.url),
            transport=transport,
            control=control,
            env={},
        )
        request = GenerateRequest(model="m", messages=(Message(role="user", content="x"),))
        if "chat" not in recording.path:
            request = GenerateRequest(model="m", prompt="x")
        try:
            async with contextlib.aclosing(backend.generate(request, upstream_model="m", request_id="r")) as stream:
                async for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF401 - what came before a failure is wanted as well
        except BackendError as error:
            return chunks, error
        finally:
            await transport.aclose()
    return chunks, None


def assert_same_answer(chunks: list[Chunk], said: Reading) -> None:
    assert "".join(chunk.text for chunk in chunks) == said.text
    assert "".join(chunk.reasoning for chunk in chunks) == said.reasoning
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [said.finish]
    calls: dict[int, list[str]] = {}
    for delta in (delta for chunk in chunks for delta in chunk.tool_calls):
        call = calls.setdefault(delta.index, ["", "", ""])
        for position, value in enumerate((delta.id, delta.name, delta.arguments)):
            call[position] += value or ""
    assert len(calls) == len(said.calls)
    for (call_id, name, arguments), (said_id, said_name, said_arguments) in zip(
        calls.values(), said.calls, strict=True
    ):
        assert (name, arguments) == (said_name, said_arguments)
        assert call_id == said_id if said_id else call_id
    usage = next(chunk.usage for chunk in reversed(chunks) if chunk.usage is not None)
    if said.usage is None:
        assert usage.estimated
    else:
        assert usage == _usage(said.usage)


def _usage(counts: tuple[int, int, int, int, int]) -> Usage:
    said_input, cached, written, output, reasoning = counts
    return Usage(input=said_input, cached_input=cached, cache_write_input=written, output=output, reasoning=reasoning)


def expected_code(recording: Recording) -> str:
    body = recording.body.decode()
    return next(code for words, code in BODY_DECIDES[recording.status] if words in body)


@pytest.mark.parametrize("recording", [pytest.param(r, id=r.id) for r in RECORDINGS])
async def test_replays_equal(recording: Recording) -> None:
    """A recorded answer comes out of the adapter as an independent reading of it."""
    chunks, error = await replay(recording, "fast")
    if recording.status != 200:
        assert error is not None
        assert error.code == expected_code(recording)
        assert error.message
        assert chunks == []
        return
    said = read(recording)
    if said.error is not None or not said.is_complete:
        assert error is not None
        return
    assert error is None, error
    assert_same_answer(chunks, said)
