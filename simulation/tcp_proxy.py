"""A TCP proxy on 127.0.0.1 that can delay what comes back, swallow everything, or refuse: the faults of a wire."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from simulation.ports import LOCAL

_CHUNK = 65_536


class TcpProxy:
    """Use as `async with TcpProxy(server.port) as proxy:` and connect to `proxy.address`.

    Attributes:
        delay_s: what the server sends arrives so much later, in order.
        black_hole: True: new connections are accepted and nothing passes in either direction.
    """

    def __init__(self, target_port: int, *, target_host: str = LOCAL) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.delay_s = 0.0
        self.connections = 0
        self.port = 0

    @property
    def address(self) -> str:
        return f"{LOCAL}:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def black_hole(self) -> bool:
        return not self._passing.is_set()

    @black_hole.setter
    def black_hole(self, on: bool) -> None:
        if on:
            self._passing.clear()
        else:
            self._passing.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._link, LOCAL, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Resets every connection that is open."""
        links = tuple(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._links.add(task)
        self.connections += 1
        upstream: asyncio.StreamWriter | None = None
        try:
            await self._passing.wait()
            answers, upstream = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._carry(reader, upstream))
                directions.create_task(self._carry_late(answers, writer))
        except* (OSError, asyncio.CancelledError):
            pass  # a wire that breaks has nobody to tell but its ends, below
        finally:
            self._links.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _carry_late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._passing.wait()
                if not data:
                    raise ConnectionResetError
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            while True:
                data = await reader.read(_CHUNK)
                await waiting.put((loop.time() + self.delay_s, data))
                if not data:
                    break
