"""One HTTP/1.1 client connection: it carries one exchange at a time and is handed back for the next.

A protocol on the event loop and llhttp's parser, because every layer between the socket and the reader is paid for on
each token: no stream reader, no queue, no task. The parser appends body pieces to a list, and whoever reads the body
takes all that has arrived as one bytes object. Memory is bounded on both sides: reading pauses above a high-water mark
of unread body, and a peer that sends head, 1xx answers or trailers without end is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Protocol, cast

import httptools
import httpx

Origin = tuple[str, bytes, int | None]

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
HIGH_WATER_BYTES = 256 * 1024
WRITE_PIECE_BYTES = 64 * 1024


class Owner(Protocol):
    """Who is told of a connection's life: the pool."""

    def opened(self, connection: Connection) -> None: ...

    def release(self, connection: Connection) -> None:
        """The exchange ended cleanly; the connection can carry another."""
        ...

    def forget(self, connection: Connection) -> None:
        """It must carry no other exchange; may be said more than once."""
        ...

    def closed(self, connection: Connection) -> None:
        """Its socket is closed."""
        ...


class _StopParsing(Exception):
    """Raised inside a parser callback when nothing after this byte belongs to the response."""


class Connection(asyncio.Protocol):
    """Attributes that others read.

    usable: it may carry an exchange; false from the first sign of its end.
    reused: it has carried an exchange before.
    status, headers: of the final response; status is 0 until its head is complete.
    parts: pieces of body that nobody has taken yet.
    complete, error: how the exchange ended, if it has.
    stale: the peer closed it before one byte of the response; on a reused connection that says nothing of the request.
    """

    __slots__ = (
        "_buffered",
        "_head_only",
        "_loop",
        "_overhead",
        "_owner",
        "_parser",
        "_read_paused",
        "_reusable",
        "_sending",
        "_started",
        "_transport",
        "_waiter",
        "_write_paused",
        "busy",
        "complete",
        "error",
        "headers",
        "idle_since",
        "on_body",
        "origin",
        "parts",
        "reused",
        "stale",
        "status",
        "usable",
    )

    def __init__(self, owner: Owner, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self.origin = origin
        self.idle_since = 0.0
        self.usable = True
        self.reused = False
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._read_paused = False
        self._write_paused = False
        self.parts: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.on_body = self.parts.append  # the parser calls it: no Python frame for a piece of body
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin(head_only=False)
        self.busy = False

    @property
    def peer(self) -> str:
        scheme, host, port = self.origin
        return name_of(scheme, host, port)

    # One exchange, in the order of its life.

    def begin(self, *, head_only: bool) -> None:
        """Makes ready for one exchange; `head_only` for HEAD, whose answer has no body whatever its headers say."""
        self.headers.clear()
        self.parts.clear()
        self._buffered = 0
        self._overhead = 0
        self.status = 0
        self._head_only = head_only
        self._started = False
        self._sending = False
        self.complete = False
        self._reusable = False
        self.error: httpx.TransportError | None = None
        self.stale = False
        self.busy = True

    def send(self, data: bytes) -> None:
        """A request that fits a socket buffer: written whole, no waiting."""
        assert self._transport is not None  # noqa: S101 - the pool hands out connected ones only
        self._transport.write(data)

    async def send_pieces(self, head: bytes, pieces: AsyncIterator[bytes], timeout_s: float | None) -> None:
        """A long request: no more than a high-water mark of it is buffered in the event loop's transport.

        An answer that comes before the whole body was sent ends the sending: it is the server's last word.
        """
        self._sending = True
        self.send(head)
        async for piece in pieces:
            while self._write_paused and not self.status and self.error is None:
                await self.arm(timeout_s, httpx.WriteTimeout)
            if self.status or self.error is not None:
                return  # `_sending` stays set, so that the half-used connection is not reused
            self.send(piece)
        self._sending = False

    async def head(self, timeout_s: float | None) -> None:
        """Waits until `status` and `headers` are known.

        Raises:
            httpx.TransportError: the peer failed, or spoke no HTTP.
        """
        while not self.status:
            if self.error is not None:
                raise self.error
            await self.arm(timeout_s, httpx.ReadTimeout)

    def take(self) -> bytes:
        """All body that has arrived since the last take, perhaps nothing."""
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered = 0
        if self._read_paused:
            self._read_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def finish(self) -> None:
        """The response was complete and is taken: back to the pool, or closed."""
        self.busy = False
        self.reused = True
        if self._reusable and self.usable and not self._sending:
            self._owner.release(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes the socket now, so that the peer learns of it within a round trip."""
        if self.error is None and not self.complete:
            self.error = httpx.ReadError(f"the exchange with {self.peer} was closed here before its end")
        self.usable = False
        self._owner.forget(self)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def abort_soon(self) -> None:
        """Like abort, from any thread: the garbage collector's."""
        with contextlib.suppress(RuntimeError):  # a closed loop has closed its sockets
            self._loop.call_soon_threadsafe(self.abort)

    def arm(self, timeout_s: float | None, error: type[httpx.TimeoutException]) -> asyncio.Future[None]:
        """A future that the next event of this connection resolves; the caller looks at the state again after it."""
        waiter = self._waiter = self._loop.create_future()
        if timeout_s is not None:
            timer = self._loop.call_later(timeout_s, self._expire, waiter, timeout_s, error)
            waiter.add_done_callback(lambda _: timer.cancel())
        return waiter

    def _expire(self, waiter: asyncio.Future[None], timeout_s: float, error: type[httpx.TimeoutException]) -> None:
        if waiter is self._waiter and not waiter.done():
            verb = "took" if error is httpx.WriteTimeout else "sent"
            self._fail(error(f"{self.peer} {verb} nothing for {timeout_s:g} s"))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        if self.error is None and not self.complete:
            self.error = error
        self.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self.abort()  # an answer that nobody asked for: the framing cannot be trusted any more
            return
        parser = self._parser
        if parser is None or self.error is not None:
            return
        parts = self.parts
        before = len(parts)
        self._buffered += len(data)
        self._overhead += len(data)
        self._started = True
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._on_parser_error(exc)
        if len(parts) != before:
            self._overhead = 0
            if self._buffered > HIGH_WATER_BYTES and not self._read_paused and self.usable:
                self._read_paused = True
                cast(asyncio.Transport, self._transport).pause_reading()
        elif self._overhead > MAX_HEAD_BYTES and not self.complete:
            self._fail(httpx.RemoteProtocolError(f"{self.peer} sent {self._overhead} bytes of head without a body"))
        if self._waiter is not None:
            self._wake()

    def eof_received(self) -> None:
        """The base transport closes itself after this; the pool must not wait for it."""
        self.usable = False
        self._owner.forget(self)
        if self.busy and self.error is None and not self.complete and self._ends_with_connection():
            self.complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._parser = None  # parser and connection hold each other
        if self.busy and self.error is None and not self.complete:
            if exc is None and self._ends_with_connection():
                self.complete = True
            else:
                self.stale = not self._started
                self.error = self._broken(exc)
        self._owner.forget(self)
        self._owner.closed(self)
        self._wake()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    # What the parser calls, besides `on_body`.

    def on_message_begin(self) -> None:
        if self.complete:
            raise _StopParsing

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # a trailer: nothing in it is of use to a reader of tokens
        self.headers.append((name, value.rstrip(b" \t")))  # llhttp strips the front only
        if len(self.headers) > MAX_HEADERS:
            raise httpx.RemoteProtocolError(f"{self.peer} sent more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is calling
        status = parser.get_status_code()
        if status < 200:
            if status == 101:
                raise httpx.RemoteProtocolError(f"{self.peer} switched protocols, which was not asked for")
            self.headers.clear()
            return
        if self._overhead > MAX_HEAD_BYTES and _size(self.headers) > MAX_HEAD_BYTES:
            raise httpx.RemoteProtocolError(f"{self.peer} sent a head of more than {MAX_HEAD_BYTES} bytes")
        self.status = status
        if self._head_only:
            self.complete = True  # the parser cannot be told that no body follows, so this connection ends here
            raise _StopParsing
        self._reusable = parser.should_keep_alive() and parser.get_http_version() == "1.1"

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True

    def _on_parser_error(self, exc: httptools.HttpParserError) -> None:
        if self.complete:
            self._reusable = False  # the response is whole; what follows it is not ours
            return
        cause = exc.__context__
        if isinstance(cause, httpx.TransportError):
            self._fail(cause)
        elif isinstance(exc, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError(f"{self.peer} switched protocols, which was not asked for"))
        else:
            where = "body" if self.status else "head"
            self._fail(httpx.RemoteProtocolError(f"{self.peer} sent a malformed {where}: {exc}"))

    def _ends_with_connection(self) -> bool:
        """Whether the body has no length of its own, so that its end is the connection's."""
        if not self.status:
            return False
        for name, value in self.headers:
            lowered = name.lower()
            if lowered == b"content-length":
                return False
            if lowered == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked"):
                return False
        return True

    def _broken(self, exc: Exception | None) -> httpx.TransportError:
        if self.status:
            place = "before the end of the body"
        else:
            place = "inside the response head" if self._started else "without a response"
        if exc is None:
            return httpx.RemoteProtocolError(f"{self.peer} closed the connection {place}")
        kind = httpx.WriteError if self._sending and not self._started else httpx.ReadError
        return kind(f"the connection to {self.peer} broke {place}: {exc}")


def name_of(scheme: str, host: bytes, port: int | None) -> str:
    """`host:port` as a person writes it."""
    text = host.decode("ascii")
    number = port or (443 if scheme == "https" else 80)
    return f"[{text}]:{number}" if ":" in text else f"{text}:{number}"


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
