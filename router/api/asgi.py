"""The little that bare ASGI needs: reading a body within bounds, sending one, and noticing that the caller has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]


class BodyTooLargeError(Exception):
    """More bytes than the server takes."""


class CallerGoneError(Exception):
    """The connection closed before the request was complete."""


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """The whole body; how long it may take is the server's to say.

    Raises:
        BodyTooLargeError: as soon as that is known.
        CallerGoneError: the caller went away.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CallerGoneError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


async def answer(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    """A complete answer; a HEAD request's body is left out by the server, its length is not."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Departure:
    """Cancels the task that serves a request as soon as its caller is gone; `gone` tells that cancel from others.

    A server's `send` does not fail when nobody listens any more, so somebody has to wait in `receive`: one task for
    each request, none for each token.
    """

    __slots__ = ("_server", "_watcher", "gone")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        server = asyncio.current_task()
        assert server is not None  # noqa: S101  # a coroutine runs in a task
        self._server = server
        self._watcher = asyncio.get_running_loop().create_task(_until_gone(receive))
        self._watcher.add_done_callback(self._on_gone)

    def forget(self) -> None:
        """From here on the end of the connection is nobody's concern: the answer is complete."""
        self._watcher.cancel()

    def _on_gone(self, watcher: asyncio.Task[None]) -> None:
        if not watcher.cancelled():
            self.gone = True
            self._server.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
