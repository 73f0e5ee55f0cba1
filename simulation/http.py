"""A small HTTP/1.1 server on asyncio.Protocol and httptools: cheap, streaming, and it knows when a client goes away.

It shares two cores with the router, the demo and the benchmarks, so a response costs one write and a token nothing but
its bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools

MAX_BODY_BYTES = 32 * 1024 * 1024
_KNOWN = frozenset(HTTPStatus)


class Exchange:
    """One request and its response.

    Attributes:
        on_gone: called once if the client leaves before the response is complete.
        http10: answer as an old server does: a stream has no frames of its own, and ends with the connection.
    """

    def __init__(
        self, connection: Connection, method: str, path: str, headers: dict[str, str], body: bytes, query: str = ""
    ) -> None:
        self.method = method
        self.query = query
        self.path = path
        self.headers = headers
        self.body = body
        self.on_gone: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.http10 = False
        self._connection = connection
        self._done = False

    @property
    def done(self) -> bool:
        """Whether the response is complete or can no longer be sent."""
        return self._done

    @property
    def writable(self) -> bool:
        """False while the client reads more slowly than it is written to."""
        return self._connection.writable

    def respond(self, status: int, body: bytes = b"", *, content_type: str = "application/json", **extra: str) -> None:
        """Sends a whole response; underscores in the names of extra headers become hyphens."""
        if self._done:
            return
        extra["content_length"] = str(len(body))
        self._connection.write(_head(status, content_type, extra, http10=self.http10) + body)
        self._finish()

    def start_stream(self, *, content_type: str = "text/event-stream; charset=utf-8", **extra: str) -> None:
        """Sends the head of an event stream."""
        if not self.http10:
            extra["transfer_encoding"] = "chunked"
        self._connection.write(_head(200, content_type, extra, http10=self.http10))

    def send(self, data: bytes) -> None:
        if data and not self._done:
            self._connection.write(self._framed(data))

    def end_stream(self, data: bytes = b"") -> None:
        if self._done:
            return
        self._connection.write(self._framed(data) + (b"" if self.http10 else b"0\r\n\r\n"))
        self._finish()

    def break_off(self) -> None:
        """Cuts the connection in the middle, as a crashing server does."""
        self._done = True
        self._connection.abort()

    def gone(self) -> None:
        """Called by the connection when the client has left."""
        if not self._done:
            self._done = True
            if self.on_gone is not None:
                self.on_gone()

    def _framed(self, data: bytes) -> bytes:
        return data if self.http10 or not data else b"%x\r\n%b\r\n" % (len(data), data)

    def _finish(self) -> None:
        self._done = True
        if self.http10:
            self._connection.close()
        else:
            self._connection.next()


class Connection(asyncio.Protocol):
    """One client connection; requests on it are answered in order."""

    def __init__(self, handle: Callable[[Exchange], None], connections: set[Connection]) -> None:
        self.writable = True
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._connections.discard(self)
        self._queue.clear()
        if self._current is not None:
            self._current.gone()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.write(_head(400, "text/plain", {"content_length": "0"}))
            self.close()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self._current is not None and self._current.on_writable is not None:
            self._current.on_writable()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._body_bytes = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self.close()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        url = httptools.parse_url(self._url)
        path, query = url.path.decode("latin-1"), (url.query or b"").decode("latin-1")
        method = self._parser.get_method().decode()
        self._queue.append(Exchange(self, method, path, self._headers, b"".join(self._body), query))
        if self._current is None:
            self.next()

    def next(self) -> None:
        """Goes on to the next request of the connection, or closes it when the client wants no other."""
        self._current = None
        if self._queue:
            self._current = self._queue.popleft()
            self._handle(self._current)
        elif not self._keep_alive:
            self.close()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _head(status: int, content_type: str, extra: dict[str, str], *, http10: bool = False) -> bytes:
    phrase = HTTPStatus(status).phrase if status in _KNOWN else "Emulated"  # vendors have statuses of their own
    lines = [f"HTTP/1.{0 if http10 else 1} {status} {phrase}", f"content-type: {content_type}", "x-emulated: true"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in extra.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
