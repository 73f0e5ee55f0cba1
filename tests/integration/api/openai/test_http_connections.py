"""Connections to the HTTP face: callers who leave, who do not read, who send too much; and a server that is stopped."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from backends.contract import Chunk, FinishReason
from router.api.http_server import HttpServer, bind
from router.dispatch.scripted import ScriptedDirector, finished, routed

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
BODY = json.dumps({"model": "m", "messages": ASK, "stream": True}).encode()
WHOLE = json.dumps({"model": "m", "messages": ASK}).encode()


def _post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: router",
        f"content-length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an answer that has a content-length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def _until(true: Callable[[], bool]) -> None:
    """Gives the loop its turns until something holds; ten seconds are enough for anything here."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def test_closing_a_stream_ends_the_request_at_once(client: AsyncOpenAI, director: ScriptedDirector) -> None:
    """A caller who closes the SDK's stream has the director's generator cancelled within 100 ms."""
    director.script = (routed(), Chunk(text="Hel", events=1), asyncio.Event(), finished())
    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert not director.closed.is_set()

    left_at = time.monotonic()
    await stream.close()
    await director.closed.wait()

    assert time.monotonic() - left_at < 0.1
    assert director.cancelled


@pytest.mark.parametrize("body", [BODY, WHOLE], ids=["stream", "whole"])
async def test_a_caller_who_leaves_before_the_answer_is_noticed(
    server: HttpServer, director: ScriptedDirector, body: bytes
) -> None:
    """A connection that closes while the answer is awaited cancels the request within 100 ms, streamed or not."""
    director.script = (routed(), asyncio.Event(), finished())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(_post(body))
    await _until(lambda: director.pulled == 1)

    left_at = time.monotonic()
    writer.close()
    await director.closed.wait()

    assert time.monotonic() - left_at < 0.1
    assert director.cancelled
    assert reader.at_eof() or not await reader.read()


async def test_a_caller_who_does_not_read_stops_the_flow(server: HttpServer, director: ScriptedDirector) -> None:
    """Chunks are pulled until the buffers of the connection are full, then no more; leaving still ends the request."""
    piece = Chunk(text="x" * 10_000, events=1)
    director.script = itertools.chain((routed(),), itertools.repeat(piece))
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    writer.write(_post(BODY))
    seen = -1
    while seen != director.pulled:
        seen = director.pulled
        await asyncio.sleep(0.3)

    assert seen < 2_000  # 20 MB; what the kernel buffers for a connection on one machine is some 6 MB
    writer.transport.abort()
    async with asyncio.timeout(1):
        await director.closed.wait()
    assert director.cancelled


async def test_a_connection_serves_many_requests(server: HttpServer, director: ScriptedDirector) -> None:
    """Requests that follow each other on one connection, sent at once, are answered in order."""
    director.script = (routed(), Chunk(text="Hi", events=1), Chunk(finish_reason=FinishReason.STOP), finished())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer):
        writer.write(_post(BODY, "x-request-id: one") + _post(WHOLE, "x-request-id: two"))
        first = await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        second = await reader.readuntil(b"\r\n\r\n")

    assert b"x-request-id: one" in first
    assert b"x-request-id: two" in second
    assert not director.cancelled


async def test_a_body_that_is_too_large_is_refused(server: HttpServer, director: ScriptedDirector) -> None:
    """A content-length beyond the bound is a 413 before the body is sent; a chunked body is one once it is too long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer):
        writer.write(_post(b"", length=100_001))
        announced = await _answer(reader)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer):
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"186a1\r\n" + b" " * 100_001 + b"\r\n")
        chunked = await _answer(reader)
        writer.write(b"0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: r\r\n\r\n")
        after = await _answer(reader)

    for head, body in (announced, chunked):
        assert head.startswith(b"HTTP/1.1 413 ")
        assert json.loads(body)["error"]["code"] == "body_too_large"
    assert after[0].startswith(b"HTTP/1.1 200 ")
    assert not director.served


async def test_a_head_that_is_too_large_is_refused(server: HttpServer, director: ScriptedDirector) -> None:
    """A head beyond 64 KiB ends the connection: it cannot fill the memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer), suppress(ConnectionError):
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: r\r\n" + b"x-more: yes\r\n" * 40_000)
        await writer.drain()
        writer.write(b"\r\n")
        rest = await reader.read()
        assert b" 200 " not in rest
    assert not director.served


async def test_the_server_waits_for_answers_under_way(
    server: HttpServer, client: AsyncOpenAI, director: ScriptedDirector
) -> None:
    """Stop lets a stream end that does so within the limit, and the caller gets all of it."""
    go_on = asyncio.Event()
    director.script = (routed(), Chunk(text="Hel", events=1), go_on, Chunk(text="lo", events=1), finished())
    stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
    await anext(stream)

    stopping = asyncio.create_task(server.stop(limit_s=10))
    await asyncio.sleep(0.05)
    go_on.set()
    text = [event.choices[0].delta.content async for event in stream]
    await stopping

    assert text == ["Hel", "lo", None]
    assert not director.cancelled


async def test_the_server_cancels_what_takes_too_long(server: HttpServer, director: ScriptedDirector) -> None:
    """A stream that outlives the limit is cancelled, and its caller is told that the router is shutting down."""
    director.script = (routed(), Chunk(text="Hel", events=1), asyncio.Event(), finished())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer):
        writer.write(_post(BODY))
        await reader.readuntil(b"Hel")
        await server.stop(limit_s=0.5)
        rest = await reader.read()

    assert director.cancelled
    assert b'"code":"shutting_down"' in rest
    assert rest.endswith(b"0\r\n\r\n")


def test_a_taken_port_is_an_error_or_another_port() -> None:
    """Bind never shares a port: it fails, or picks a free one where that was asked for."""
    with closing(bind("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port)
        with closing(bind("127.0.0.1", port, pick_free_port=True)) as second:
            assert second.getsockname()[1] != port
