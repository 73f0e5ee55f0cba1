"""Loopback servers that do exactly what a test tells them to; every test runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import textwrap
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from backends.http.transport import FastTransport

TLS_DATA = Path(__file__).parents[3] / "data" / "tls"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[bytes] = []
        self.gone = asyncio.Event()

    async def request(self) -> bytes:
        """The next request, head and body; raises IncompleteReadError when the client is gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        body = b""
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readline()
        elif b"content-length:" in lowered:
            length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
            body = await self.reader.readexactly(length)
        self.requests.append(head + body)
        return head + body

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def disconnect(self) -> None:
        """Returns when the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.gone.set()

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A server whose script runs once for each connection; the connection closes when the script ends."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.arrived = asyncio.Event()
        self.failures: list[BaseException] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.scheme = "http"
        self.host = "127.0.0.1"
        self.port = 0

    async def start(self, host: str, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=context, limit=1 << 20)
        self.scheme = "https" if context else "http"
        self.host = f"[{host}]" if ":" in host else host
        self.port = self._server.sockets[0].getsockname()[1]

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.arrived.set()
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.gone.set()
        except asyncio.CancelledError:
            peer.reset()  # the end of the test
        except BaseException as exc:  # noqa: BLE001 - shown by the fixture, in place of a line in a log
            self.failures.append(exc)
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
                await writer.wait_closed()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.failures:
            raise self.failures[0]


StartUpstream = Callable[..., Awaitable[Upstream]]


@pytest.fixture
async def upstream() -> AsyncIterator[StartUpstream]:
    """Starts servers, and stops them after the test; an assertion that failed inside a script fails the test."""
    started: list[Upstream] = []

    async def start(script: Script, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Upstream:
        server = Upstream(script)
        started.append(server)
        await server.start(host, context)
        return server

    yield start
    for server in started:
        await server.stop()


@pytest.fixture
async def make_transport() -> AsyncIterator[Callable[..., FastTransport]]:
    """Makes transports and closes them; nothing may be left open after that."""
    made: list[FastTransport] = []

    def make(**options: Any) -> FastTransport:
        made.append(FastTransport(**options))
        return made[-1]

    yield make
    for transport in made:
        await transport.aclose()
        assert not transport._pool._sockets
        assert not transport._pool._hosts


@pytest.fixture
def transport(make_transport: Callable[..., FastTransport]) -> FastTransport:
    return make_transport()


@pytest.fixture(scope="session")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """TLS for a loopback server, from the public test key of tests/data/tls."""
    body = "\n".join(textwrap.wrap(b64encode((TLS_DATA / "loopback.key.der").read_bytes()).decode(), 64))
    label = "PRIVATE KEY"
    key_file = tmp_path_factory.mktemp("tls") / "key.pem"
    key_file.write_text(f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_DATA / "loopback.crt.pem", key_file)
    return context


@pytest.fixture(scope="session")
def client_context() -> ssl.SSLContext:
    """Trusts the test server and nothing else."""
    return ssl.create_default_context(cafile=str(TLS_DATA / "loopback.crt.pem"))


async def fetch(
    transport: httpx.AsyncBaseTransport, method: str, url: str, **options: Any
) -> tuple[httpx.Response, bytes]:
    """One request, its body read to the end."""
    response = await transport.handle_async_request(httpx.Request(method, url, **options))
    body = await read(response)
    return response, body


async def read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    body = b"".join([piece async for piece in response.stream])
    await response.aclose()
    return body
