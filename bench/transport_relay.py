"""The least that a streaming gateway can do, to see a transport's share of the whole: HTTP in, transport, HTTP out.

It decides nothing and looks into nothing, so a transport weighs more here than in any real router.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools
import httpx

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class RelayProtocol(asyncio.Protocol):
    def __init__(self, transport: httpx.AsyncBaseTransport, upstream: str, headers: httpx.Headers) -> None:
        self._upstream_transport = transport
        self._upstream = upstream
        self._url = httpx.URL(upstream)
        self._headers = headers
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        if self._task is not None:
            self._task.cancel()

    def on_url(self, url: bytes) -> None:
        if url != self._url.raw_path:  # a router knows its few upstream URLs beforehand
            self._url = httpx.URL(self._upstream + url.decode())

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        self._task = asyncio.get_running_loop().create_task(self._relay(body))

    async def _relay(self, body: bytes) -> None:
        request = httpx.Request("POST", self._url, headers=self._headers, content=body)
        response = await self._upstream_transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        write = self._transport.write
        before = HEAD
        async for piece in response.stream:
            write(b"%b%x\r\n%b\r\n" % (before, len(piece), piece))
            before = b""
        write(before + b"0\r\n\r\n")
        await response.aclose()


def relay(transport: httpx.AsyncBaseTransport, upstream: str, headers: httpx.Headers) -> Callable[[], asyncio.Protocol]:
    return lambda: RelayProtocol(transport, upstream, headers)
