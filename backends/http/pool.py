"""Which connection carries the next exchange: the one used last (LIFO), else a new one.

The most recent is the least likely to have been closed by the server, and the rest can age out. A connection leaves
the pool at the first sign of its end, so a stale one is met only when request and close cross on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque

import httpx

from backends.http.connection import Connection, Origin, name_of

CLOSE_LIMIT_S = 2.0


class _Host:
    """Connections of one origin: all that count against the limit, the idle of them, and who waits for one."""

    __slots__ = ("idle", "open", "waiters")

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.idle: deque[Connection] = deque()
        self.waiters: deque[asyncio.Future[Connection | None]] = deque()


class Pool:
    def __init__(self, *, max_idle_per_host: int, idle_age_s: float, max_per_host: int | None) -> None:
        self._max_idle = max_idle_per_host
        self._idle_age_s = idle_age_s
        self._max_per_host = max_per_host
        self._hosts: dict[Origin, _Host] = {}
        self._sockets: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._closed = False

    def take_idle(self, origin: Origin, now: float) -> Connection | None:
        """The idle connection that was used last, if one is young enough."""
        host = self._hosts.get(origin)
        while host is not None and host.idle:
            connection = host.idle.pop()
            if connection.usable and now - connection.idle_since < self._idle_age_s:
                return connection
            connection.abort()
        return None

    async def acquire(
        self,
        origin: Origin,
        *,
        context: ssl.SSLContext | None,
        connect_timeout_s: float | None,
        pool_timeout_s: float | None,
    ) -> Connection:
        """A new connection; at the limit, whichever is free first.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout
        """
        loop = asyncio.get_running_loop()
        deadline = None if pool_timeout_s is None else loop.time() + pool_timeout_s
        while not self._closed:
            host = self._hosts.get(origin)
            if host is None:
                host = self._hosts[origin] = _Host()
            if self._max_per_host is None or len(host.open) < self._max_per_host:
                return await self._open(host, origin, context, connect_timeout_s)
            if host.idle:
                host.idle.popleft().abort()  # the caller has turned down the idle ones: make room
                continue
            connection = await self._turn(host, origin, deadline)
            if connection is not None and connection.usable:
                return connection
        raise httpx.ConnectError("the transport is closed")

    async def _open(
        self, host: _Host, origin: Origin, context: ssl.SSLContext | None, timeout_s: float | None
    ) -> Connection:
        scheme, raw_host, port = origin
        name = name_of(scheme, raw_host, port)
        loop = asyncio.get_running_loop()
        connection = Connection(self, origin, loop)
        host.open.add(connection)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                await loop.create_connection(
                    lambda: connection,
                    raw_host.decode("ascii"),
                    port or (443 if scheme == "https" else 80),
                    ssl=context,
                )
        except (OSError, ValueError) as exc:  # refused, unresolvable, TLS; a host name that cannot be encoded
            self._give_up(connection)
            if limit.expired():
                raise httpx.ConnectTimeout(f"no connection to {name} within {timeout_s:g} s") from exc
            kind = httpx.ConnectTimeout if isinstance(exc, TimeoutError) else httpx.ConnectError
            raise kind(f"no connection to {name}: {exc}") from exc
        except BaseException:
            self._give_up(connection)
            raise
        if self._closed:
            connection.abort()
            raise httpx.ConnectError("the transport is closed")
        return connection

    def _give_up(self, connection: Connection) -> None:
        """Ends a connection that was not handed out: cancelled just after it was made, uvloop never reports its end."""
        connection.abort()
        self.closed(connection)

    async def _turn(self, host: _Host, origin: Origin, deadline: float | None) -> Connection | None:
        """Waits for a connection of this host, or (None) for room to open one."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        host.waiters.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                return await turn
        except BaseException as exc:
            with contextlib.suppress(ValueError):
                host.waiters.remove(turn)
            if turn.done() and not turn.cancelled():  # it was our turn, and we are gone: the next one's
                connection = turn.result()
                if connection is not None and connection.usable:
                    self.release(connection)
                else:
                    _call_next(host, None)
            if isinstance(exc, TimeoutError):
                name = name_of(*origin)
                raise httpx.PoolTimeout(f"all {self._max_per_host} connections to {name} are in use") from exc
            raise

    # What connections tell.

    def opened(self, connection: Connection) -> None:
        self._sockets.add(connection)

    def release(self, connection: Connection) -> None:
        host = self._hosts.get(connection.origin)
        if host is None or self._closed:
            connection.abort()
            return
        if host.waiters and _call_next(host, connection):
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        host.idle.append(connection)
        if len(host.idle) > self._max_idle:
            host.idle.popleft().abort()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._idle_age_s, self._sweep)

    def forget(self, connection: Connection) -> None:
        host = self._hosts.get(connection.origin)
        if host is None or connection not in host.open:
            return
        host.open.remove(connection)
        with contextlib.suppress(ValueError):
            host.idle.remove(connection)
        if host.waiters:
            _call_next(host, None)
        elif not host.open:
            del self._hosts[connection.origin]

    def closed(self, connection: Connection) -> None:
        self._sockets.discard(connection)
        if not self._sockets and self._all_closed is not None and not self._all_closed.done():
            self._all_closed.set_result(None)

    def _sweep(self) -> None:
        """Closes what has been idle too long; runs only while something is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        oldest = None
        for host in list(self._hosts.values()):
            while host.idle and now - host.idle[0].idle_since >= self._idle_age_s:
                host.idle.popleft().abort()
            if host.idle:
                since = host.idle[0].idle_since
                oldest = since if oldest is None else min(oldest, since)
        self._sweeper = None if oldest is None else loop.call_at(oldest + self._idle_age_s, self._sweep)

    async def aclose(self) -> None:
        """Aborts every connection and waits until their sockets are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for host in list(self._hosts.values()):
            while host.waiters:
                _call_next(host, None)
            for connection in list(host.open):
                connection.abort()
        for connection in list(self._sockets):
            connection.abort()
        if self._sockets:
            self._all_closed = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self._all_closed


def _call_next(host: _Host, connection: Connection | None) -> bool:
    """Gives a connection, or room for one, to whoever has waited longest."""
    while host.waiters:
        turn = host.waiters.popleft()
        if not turn.done():
            turn.set_result(connection)
            return True
    return False
