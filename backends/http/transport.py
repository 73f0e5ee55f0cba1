"""The hot path's way to an upstream: an httpx transport that costs little per request and per token.

Call `handle_async_request` directly: httpx's client layer costs several times what this transport does. The seam is
httpx's, so that any other transport (httpx's own, a mock) works in its place.

What is promised, and held by the tests: a body never ends silently short; closing or cancelling before the end aborts
the connection at once; memory per connection is bounded; every failure is an httpx exception. A reused connection that
the peer closes before any byte of the response is replaced once, because it says nothing of the request; nothing else
is retried here. Not here: proxies, HTTP/2, redirects, cookies, content decoding (httpx.Response decodes, if asked).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx

from backends.http.body import BodyStream
from backends.http.connection import WRITE_PIECE_BYTES, Connection
from backends.http.pool import Pool
from backends.http.request import encode_head, framed, slices

_EXTENSIONS = {"http_version": b"HTTP/1.1"}


class FastTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 with a pool of kept-alive connections per (scheme, host, port).

    Args:
        ssl_context: for https; httpx's default (verifying, its CA bundle) if None.
        max_idle_per_host: idle connections beyond this are closed, the oldest first.
        idle_age_s: an idle connection older than this is closed.
        max_connections_per_host: requests beyond it wait their turn, up to their pool timeout; None is no limit.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle_per_host: int = 128,
        idle_age_s: float = 30.0,
        max_connections_per_host: int | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._pool = Pool(
            max_idle_per_host=max_idle_per_host, idle_age_s=idle_age_s, max_per_host=max_connections_per_host
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request and returns at the end of the response's head.

        Timeouts are those of `request.extensions["timeout"]` (connect, read, write, pool; seconds), as httpx sets them;
        what is absent is not limited.

        Raises:
            httpx.TransportError: and nothing else of its own; a streamed request body may raise what it likes.
        """
        try:
            body: bytes | None = request.content
        except httpx.RequestNotRead:
            body = request.read() if isinstance(request.stream, httpx.ByteStream) else None  # None is a streamed one
        head = encode_head(request, body)
        url = request.url
        origin = (url.scheme, url.raw_host, url.port)
        timeouts = request.extensions.get("timeout") or {}
        connection, retries = None, 0
        if body is not None:  # a stream cannot be sent twice: no connection that may be stale, no retry
            connection, retries = self._pool.take_idle(origin, asyncio.get_running_loop().time()), 1
        try:
            while True:
                if connection is None:
                    connection = await self._pool.acquire(
                        origin,
                        context=await self._context(request),
                        connect_timeout_s=timeouts.get("connect"),
                        pool_timeout_s=timeouts.get("pool"),
                    )
                try:
                    return await _exchange(connection, request, head, body, timeouts)
                except httpx.TransportError:
                    if not (retries and connection.reused and connection.stale):
                        raise
                connection, retries = None, 0
        except httpx.RequestError as exc:
            exc.request = request
            raise

    async def _context(self, request: httpx.Request) -> ssl.SSLContext | None:
        scheme = request.url.scheme
        if scheme == "http":
            return None
        if scheme != "https":
            raise httpx.UnsupportedProtocol(f"{scheme!r} is not a scheme that this transport speaks")
        if self._ssl_context is None:  # reading the CA bundle takes long enough to stall a token
            self._ssl_context = await asyncio.to_thread(httpx.create_ssl_context)
        return self._ssl_context

    async def aclose(self) -> None:
        """Aborts all connections, idle or not; their sockets are closed when this returns."""
        await self._pool.aclose()


async def _exchange(
    connection: Connection,
    request: httpx.Request,
    head: bytes,
    body: bytes | None,
    timeouts: Mapping[str, float | None],
) -> httpx.Response:
    read_timeout_s = timeouts.get("read")
    connection.begin(head_only=request.method == "HEAD")
    try:
        if body is not None and len(body) <= WRITE_PIECE_BYTES:
            connection.send(head + body)
        else:
            pieces = framed(request) if body is None else slices(body)
            await connection.send_pieces(head, pieces, timeouts.get("write"))
        await connection.head(read_timeout_s)
    except BaseException:  # also cancellation: the upstream must not work on for nobody
        connection.abort()
        raise
    status, headers = connection.status, connection.headers
    if not connection.complete:
        stream = BodyStream(connection, b"", read_timeout_s)
        return httpx.Response(status, headers=headers, stream=stream, extensions=_EXTENSIONS)
    stream = BodyStream(None, connection.take(), read_timeout_s)
    response = httpx.Response(status, headers=headers, stream=stream, extensions=_EXTENSIONS)
    connection.finish()  # the body came with the head: the connection is free before the caller has looked at it
    return response
