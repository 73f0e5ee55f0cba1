"""The clients that are compared, each behind one call: send the question, read the answer, say what came.

aiohttp and pyreqwest are compared when they are installed; the router does not depend on them. pyreqwest holds a
response back until 64 KB of it are here, unless told otherwise, and its own httpx transport reads in such blocks: a
stream of tokens would come all at once, so both are used here in the way that passes tokens on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import httpx

from backends.http.request import post
from backends.http.transport import FastTransport
from bench.transport_peers import QUESTION


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    size: int
    pieces: int


Fetch = Callable[[str], Awaitable[Answer]]
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Authorization": "Bearer none",
    "X-Request-Id": "0123456789abcdef",
}
WIDE = httpx.Limits(max_connections=None, max_keepalive_connections=None)


@asynccontextmanager
async def fast_client() -> AsyncIterator[Fetch]:
    """As an adapter calls it: URL and headers are made once."""
    async with FastTransport(max_idle_per_host=1024) as transport:
        ready: dict[str, tuple[httpx.URL, list[tuple[bytes, bytes]]]] = {}

        async def fetch(text: str) -> Answer:
            if text not in ready:
                parsed = httpx.URL(text)
                ready[text] = parsed, [(b"Host", parsed.netloc), *httpx.Headers(HEADERS).raw]
            url, headers = ready[text]
            response = await transport.handle_async_request(post(url, headers, QUESTION))
            assert isinstance(response.stream, httpx.AsyncByteStream)
            size = pieces = 0
            async for piece in response.stream:
                size += len(piece)
                pieces += 1
            await response.aclose()
            return Answer(response.status_code, size, pieces)

        yield fetch


@asynccontextmanager
async def httpx_client() -> AsyncIterator[Fetch]:
    async with httpx.AsyncClient(headers=HEADERS, limits=WIDE, timeout=httpx.Timeout(None)) as client:

        async def fetch(url: str) -> Answer:
            async with client.stream("POST", url, content=QUESTION) as response:
                size = pieces = 0
                async for piece in response.aiter_raw():
                    size += len(piece)
                    pieces += 1
                return Answer(response.status_code, size, pieces)

        yield fetch


@asynccontextmanager
async def aiohttp_client() -> AsyncIterator[Fetch]:
    import aiohttp  # noqa: PLC0415 - not a dependency

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS, timeout=timeout) as session:

        async def fetch(url: str) -> Answer:
            async with session.post(url, data=QUESTION) as response:
                size = pieces = 0
                async for piece in response.content.iter_any():
                    size += len(piece)
                    pieces += 1
                return Answer(response.status, size, pieces)

        yield fetch


@asynccontextmanager
async def pyreqwest_client() -> AsyncIterator[Fetch]:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not a dependency

    async with ClientBuilder().default_headers(HEADERS).http1_only().tcp_nodelay(True).build() as client:

        async def fetch(url: str) -> Answer:
            async with client.post(url).body_bytes(QUESTION).streamed_read_buffer_limit(0).build_streamed() as response:
                size = pieces = 0
                while (piece := await response.body_reader.read_chunk()) is not None:
                    size += len(piece)
                    pieces += 1
                return Answer(response.status, size, pieces)

        yield fetch


class PyreqwestTransport(httpx.AsyncBaseTransport):
    """pyreqwest under httpx's seam, a piece as it comes."""

    def __init__(self) -> None:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not a dependency

        self._client = ClientBuilder().http1_only().tcp_nodelay(True).build()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        builder = self._client.request(request.method, str(request.url)).headers(request.headers.multi_items())
        exchange = builder.body_bytes(request.content).streamed_read_buffer_limit(0).build_streamed()
        response = await exchange.__aenter__()
        headers = list(response.headers.items())
        return httpx.Response(response.status, headers=headers, stream=_PyreqwestBody(exchange, response.body_reader))

    async def aclose(self) -> None:
        await self._client.close()


class _PyreqwestBody(httpx.AsyncByteStream):
    def __init__(self, exchange: Any, reader: Any) -> None:
        self._exchange = exchange
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._reader.read_chunk()) is not None:
            yield bytes(piece)

    async def aclose(self) -> None:
        await self._exchange.__aexit__(None, None, None)


def clients() -> dict[str, Callable[[], Any]]:
    """Each client in the way it is best used."""
    table: dict[str, Callable[[], Any]] = {
        "FastTransport": fast_client,
        "httpx AsyncClient": httpx_client,
    }
    if find_spec("aiohttp"):
        table["aiohttp"] = aiohttp_client
    if find_spec("pyreqwest"):
        table["pyreqwest"] = pyreqwest_client
    return table


def transports() -> dict[str, Callable[[], httpx.AsyncBaseTransport]]:
    """What fits the seam, httpx.AsyncBaseTransport, and so could stand in the router's hot path."""
    table: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {
        "FastTransport": lambda: FastTransport(max_idle_per_host=1024),
        "httpx AsyncHTTPTransport": lambda: httpx.AsyncHTTPTransport(limits=WIDE),
    }
    if find_spec("httpx_aiohttp"):
        from httpx_aiohttp import AiohttpTransport  # noqa: PLC0415 - not a dependency

        table["aiohttp (httpx-aiohttp)"] = lambda: AiohttpTransport(limits=WIDE)
    if find_spec("pyreqwest"):
        table["pyreqwest"] = PyreqwestTransport
    return table
