"""A real HTTP server on a loopback port that answers as it is told, in the pieces it is told, and sees who hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """An answer. A piece is sent as one write; an event is waited for; a callable is awaited.

    `framing` "cut" announces a chunked body and closes the connection without its end.
    """

    pieces: Sequence[bytes | asyncio.Event | Callable[[], Awaitable[None]]] = ()
    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "text/event-stream"),)
    framing: Literal["chunked", "length", "close", "cut"] = "chunked"


@dataclass(slots=True)
class LoopbackServer:
    """Answers every request with what `answer` makes of it."""

    answer: Callable[[Seen], Reply]
    seen: list[Seen] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    hung_up_at: asyncio.Future[float] | None = None
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self.hung_up_at = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (seen := await _read(reader)) is not None:
                self.seen.append(seen)
                self.arrived.set()
                if not await self._reply(self.answer(seen), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self._hung_up()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _reply(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = [f"HTTP/1.1 {reply.status} Reply", *(f"{name}: {value}" for name, value in reply.headers)]
        if reply.framing == "length":
            head.append(f"content-length: {sum(len(piece) for piece in reply.pieces if isinstance(piece, bytes))}")
        elif reply.framing == "close":
            head.append("connection: close")
        else:
            head.append("transfer-encoding: chunked")
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        is_chunked = reply.framing in ("chunked", "cut")
        for piece in reply.pieces:
            if isinstance(piece, asyncio.Event):
                if not await self._wait(piece, reader):
                    return False
            elif isinstance(piece, bytes):
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                    await writer.drain()
            else:
                await piece()
        if reply.framing == "chunked":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return reply.framing in ("chunked", "length")

    async def _wait(self, event: asyncio.Event, reader: asyncio.StreamReader) -> bool:
        """Until the event, unless the client leaves first."""
        gate, gone = asyncio.ensure_future(event.wait()), asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({gate, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gate.done():
                return True
            self._hung_up()
            return False
        finally:
            gate.cancel()
            gone.cancel()
            await asyncio.gather(gate, gone, return_exceptions=True)

    def _hung_up(self) -> None:
        if self.hung_up_at is not None and not self.hung_up_at.done():
            self.hung_up_at.set_result(asyncio.get_running_loop().time())


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = request.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)
