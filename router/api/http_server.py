"""Serves an ASGI application with uvicorn inside the router's own loop: the router starts it, and the router stops it.

uvicorn by itself would take over the process's signals and bind late; here the socket is bound before anything else is
started, so that a taken port is known at once. The parser bounds neither the head of a request nor the time
that it takes to arrive, so that is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.api.asgi import Receive, Scope, Send

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEEP_ALIVE_S = 75
_BACKLOG = 2048
_MAX_HEAD_BYTES = 64 * 1024
_REQUEST_TIMEOUT_S = 120.0
_READER_PATIENCE_S = 120.0
_LAST_S = 2.0


def bind(host: str, port: int, *, pick_free_port: bool = False) -> socket.socket:
    """A listening socket; with `pick_free_port` any other port does when this one is taken.

    Without SO_REUSEPORT: a second server on the port must be an error, not a silent share of the traffic.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not pick_free_port:
            raise
        return socket.create_server((host, 0), family=family, backlog=_BACKLOG)


class HttpServer:
    """An application on a bound socket, which it owns from here on."""

    def __init__(
        self, app: Application, listener: socket.socket, *, reader_patience_s: float = _READER_PATIENCE_S
    ) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                http=partial(_Protocol, reader_patience_s=reader_patience_s),  # type: ignore[arg-type]  # called, no more
                ws="none",
                loop="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                backlog=_BACKLOG,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when requests are answered."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="http-server")
        listening = asyncio.create_task(self._server.listening.wait())
        try:
            await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self, *, limit_s: float) -> None:
        """Accepts nothing more, lets the answers under way end within the limit, then cancels them."""
        if self._task is None:
            self._listener.close()
            return
        # uvicorn waits without end for "no limit"; a limit of none is the shortest that it knows.
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(limit_s))
        self._server.should_exit = True
        await self._task
        state = self._server.server_state
        if state.tasks:
            await asyncio.wait(tuple(state.tasks), timeout=_LAST_S)
        for connection in tuple(state.connections):
            connection.transport.abort()
        # Connections say goodbye to the loop in its next turn.
        await asyncio.sleep(0)


class _Uvicorn(uvicorn.Server):
    """Leaves signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, with bounds on the size of a request's head and on the time that a request takes to arrive.

    A request that arrives in one read, as nearly all do, never sets the timer. A caller who takes nothing of an answer
    for as long as `reader_patience_s` is cut off: it holds a place on a backend.
    """

    def __init__(self, *args: Any, reader_patience_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader_patience_s = reader_patience_s
        self._reader_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_request = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(_REQUEST_TIMEOUT_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request and self._timer is None:
            self._timer = self.loop.call_later(_REQUEST_TIMEOUT_S, self.transport.close)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_request = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        self._stop_timer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader_timer = self.loop.call_later(self._reader_patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_head = self._in_request = False
        self._stop_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None
