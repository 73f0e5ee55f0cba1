"""What the chat adapter does on the network beyond the contract of every backend, on both transports."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from backends.contract import Backend, Chunk, FinishReason, GenerateRequest, Message
from backends.errors import AuthFailed, ProtocolViolation, RateLimited, StreamBroken, UpstreamFault
from backends.registry import build
from backends.spec import BackendSpec
from tests.contract.harness import make_transport
from tests.contract.loopback import LoopbackServer, Reply, Seen

REQUEST = GenerateRequest(model="m", messages=(Message(role="user", content="hi"),))
JSON = (("content-type", "application/json"),)
TEXT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'

Answer = Callable[[Seen], Reply]


class Bench:
    """A server that answers as it is told, and a backend bound to it."""

    def __init__(self, server: LoopbackServer, transport: httpx.AsyncBaseTransport, control: httpx.AsyncClient) -> None:
        self.server = server
        self._transport = transport
        self._control = control

    def backend(self, profile: str = "generic", credential: str | None = None, path: str = "") -> Backend:
        spec = BackendSpec(
            id="b", wire="openai_chat", profile=profile, base_url=self.server.url + path, credential=credential
        )
        return build(spec, transport=self._transport, control=self._control, env={"KEY": "sk-our-own-key"})

    async def ask(self, reply: Reply, *, profile: str = "generic", credential: str | None = None) -> list[Chunk]:
        self.server.answer = lambda _: reply
        stream = self.backend(profile, credential).generate(REQUEST, upstream_model="up", request_id="id-7")
        async with contextlib.aclosing(stream), asyncio.timeout(5):
            return [chunk async for chunk in stream]


@pytest.fixture(params=["httpx", "fast"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    transport = make_transport(request.param)
    try:
        async with LoopbackServer(lambda _: Reply()) as server, httpx.AsyncClient() as control:
            yield Bench(server, transport, control)
            await transport.aclose()
    finally:
        await transport.aclose()


async def test_a_request_carries_what_it_must(bench: Bench) -> None:
    """The key as a bearer token, the request's id, and a wish for an uncompressed stream."""
    await bench.ask(Reply([TEXT, STOP, DONE]), credential="env:KEY")
    (seen,) = bench.server.seen
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["authorization"] == "Bearer sk-our-own-key"
    assert seen.headers["x-request-id"] == "id-7"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["content-type"] == "application/json"


async def test_azure_takes_its_key_in_a_header_of_its_own(bench: Bench) -> None:
    """The credential's header belongs to the dialect."""
    await bench.ask(Reply([TEXT, STOP, DONE]), profile="azure", credential="env:KEY")
    headers = bench.server.seen[0].headers
    assert headers["api-key"] == "sk-our-own-key"
    assert "authorization" not in headers


async def test_the_connection_is_used_again(bench: Bench) -> None:
    """An answer that was read to its end leaves its connection to the next."""
    for _ in range(5):
        await bench.ask(Reply([TEXT, STOP + DONE]))
    assert bench.server.connections == 1


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_an_answer_of_one_document_is_understood(bench: Bench, framing: str) -> None:
    """A server that answers in JSON although a stream was asked for is no failure."""
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}'
    reply = Reply([body[:9], body[9:]], headers=JSON, framing="chunked" if framing == "chunked" else "close")
    (chunk,) = await bench.ask(reply)
    assert (chunk.text, chunk.finish_reason) == ("x", FinishReason.LENGTH)


async def test_nobody_waits_for_a_body_that_does_not_end(bench: Bench) -> None:
    """After the marker the answer is complete, whatever the connection does."""
    chunks = await asyncio.wait_for(bench.ask(Reply([TEXT + STOP + DONE, asyncio.Event()])), 1)
    assert chunks[0].finish_reason is FinishReason.STOP


async def test_usage_after_the_finish_is_waited_for(bench: Bench) -> None:
    """A finish reason alone does not end the reading: usage may come in a later read."""
    later = asyncio.Event()
    bench.server.answer = lambda _: Reply([TEXT + STOP, later, USAGE + DONE])
    stream = bench.backend().generate(REQUEST, upstream_model="up", request_id="r")
    async with contextlib.aclosing(stream):
        assert (await anext(stream)).finish_reason is FinishReason.STOP
        later.set()
        usage = (await anext(stream)).usage
        assert usage is not None
        assert (usage.output, usage.estimated) == (1, False)


async def test_a_cut_after_the_finish_changes_nothing(bench: Bench) -> None:
    """The answer is proven; a connection that breaks behind it is not its failure."""
    chunks = await bench.ask(Reply([TEXT + STOP], framing="cut"))
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [FinishReason.STOP]


async def test_a_cut_body_is_a_broken_stream(bench: Bench) -> None:
    """A body without its announced end fails like one without its marker, late or early."""
    go = asyncio.Event()
    bench.server.answer = lambda _: Reply([TEXT, go], framing="cut")
    stream = bench.backend().generate(REQUEST, upstream_model="up", request_id="r")
    async with contextlib.aclosing(stream):
        await anext(stream)
        go.set()
        with pytest.raises(StreamBroken):
            await anext(stream)
    with pytest.raises(UpstreamFault):
        await bench.ask(Reply([b": ping\n\n"], framing="cut"))


async def test_a_failure_in_the_first_read_can_be_tried_elsewhere(bench: Bench) -> None:
    """Text that came together with an error was never delivered, so the error keeps its kind."""
    with pytest.raises(RateLimited):
        await bench.ask(Reply([TEXT + b'data: {"error":{"message":"slow","code":429}}\n\n']))


async def test_an_echoed_key_is_masked(bench: Bench) -> None:
    """A vendor that repeats our key in its error does not spread it."""
    body = b'{"error":{"message":"Incorrect API key provided: sk-our-own-key."}}'
    with pytest.raises(AuthFailed) as caught:
        await bench.ask(Reply([body], status=401, headers=JSON), credential="env:KEY")
    assert "sk-our-own-key" not in caught.value.message


async def test_an_endless_error_body_is_not_read_to_its_end(bench: Bench) -> None:
    """An error's explanation is bounded, in bytes and in time."""
    with pytest.raises(UpstreamFault):
        await bench.ask(Reply([b"x" * 200_000, asyncio.Event()], status=500))


async def test_an_error_whose_body_breaks_off_keeps_its_status(bench: Bench) -> None:
    """The status says enough, whatever becomes of the explanation."""
    with pytest.raises(AuthFailed):
        await bench.ask(Reply([b'{"error":'], status=401, headers=JSON, framing="cut"))


async def test_a_compressed_error_is_read(bench: Bench) -> None:
    """A proxy that compresses unasked is still understood; compressed nonsense leaves the status."""
    headers = (*JSON, ("content-encoding", "gzip"))
    body = gzip.compress(b'{"error":{"message":"wait","code":"rate_limit_exceeded"}}')
    with pytest.raises(RateLimited, match="wait"):
        await bench.ask(Reply([body], status=429, headers=headers))
    with pytest.raises(RateLimited):
        await bench.ask(Reply([b"nonsense"], status=429, headers=headers))


async def test_a_compressed_answer_is_a_violation(bench: Bench) -> None:
    """Nobody asked for one, and its bytes would be no stream."""
    reply = Reply([b"\x1f\x8b"], headers=(("content-type", "text/event-stream"), ("content-encoding", "gzip")))
    with pytest.raises(ProtocolViolation, match="compressed"):
        await bench.ask(reply)


async def test_many_answers_at_once_do_not_mix(bench: Bench) -> None:
    """Each stream gets its own words."""
    bench.server.answer = lambda seen: Reply(
        [b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % seen.headers["x-request-id"].encode(), STOP, DONE]
    )
    backend = bench.backend()

    async def one(number: int) -> str:
        stream = backend.generate(REQUEST, upstream_model="up", request_id=f"n{number}")
        async with contextlib.aclosing(stream):
            return "".join([chunk.text async for chunk in stream])

    assert await asyncio.gather(*(one(number) for number in range(40))) == [f"n{number}" for number in range(40)]
