"""A caller who takes nothing of an answer for too long is cut off, for it holds a place on a backend."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from router.api.asgi import Receive, Scope, Send
from router.api.http_server import HttpServer, bind

PATIENCE_S = 0.2
PIECE = b"x" * 65536


class Endless:
    """An application that streams for as long as it is let."""

    def __init__(self) -> None:
        self.pieces = 0
        self.left = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        streaming = asyncio.create_task(self._stream(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        streaming.cancel()
        self.left.set()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            self.pieces += 1
            await asyncio.sleep(0)


@pytest.fixture
def endless() -> Endless:
    return Endless()


@pytest.fixture
async def connection(endless: Endless) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has asked, and whose reader holds little."""
    server = HttpServer(endless, bind("127.0.0.1", 0), reader_patience_s=PATIENCE_S)
    await server.start()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, len(PIECE))
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=len(PIECE))
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    yield reader, writer
    writer.transport.abort()
    await server.stop(limit_s=1.0)


async def test_one_who_reads_nothing_is_cut_off(
    endless: Endless, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """After the time of patience the application hears that its caller is gone."""
    began = time.monotonic()

    async with asyncio.timeout(5.0):
        await endless.left.wait()

    assert time.monotonic() - began >= PATIENCE_S
    assert not connection[0].at_eof()


async def test_one_who_reads_on_is_served_on(
    endless: Endless, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """However long it takes: pauses that are shorter than the patience never end a stream."""
    ends_at = time.monotonic() + 4 * PATIENCE_S
    while time.monotonic() < ends_at:
        for _ in range(32):
            await connection[0].read(len(PIECE))
        await asyncio.sleep(PATIENCE_S / 4)

    assert not endless.left.is_set()
    assert endless.pieces > 32
