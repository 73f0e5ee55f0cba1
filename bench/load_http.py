"""The HTTP load: chat completions over keep-alive connections, with as little work in the client as there can be."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import httptools

from bench.load_job import MODEL, PROMPT, Job, WrongAnswer, verify

ANSWER_S = 60.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; `done` completes with the answer to the request that was written last."""

    def __init__(self) -> None:
        self.first_at = 0.0
        self.pieces = 0
        self.status = 0
        self._parts: list[bytes] = []
        self._done: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(WrongAnswer(f"the connection ended: {exc or 'closed by the gateway'}"))

    def data_received(self, data: bytes) -> None:
        self.pieces += 1
        if not self.first_at and b"token" in data:
            self.first_at = time.perf_counter()
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self._done is not None and not self._done.done():
            self._done.set_result(b"".join(self._parts))

    async def ask(self, request: bytes) -> bytes:
        self._parser = httptools.HttpResponseParser(self)
        self._parts.clear()
        self.first_at = 0.0
        self.pieces = 0
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        # asyncio.wait_for loses a cancellation that comes together with the answer (Python 3.11).
        async with asyncio.timeout(ANSWER_S):
            return await self._done


class HttpDriver:
    """Every lane has a connection of its own."""

    def __init__(self, job: Job, lanes: list[Connection]) -> None:
        self.pieces = 0
        self._job = job
        self._lanes = lanes
        body = json.dumps(
            {
                "model": MODEL,
                "messages": [{"role": "user", "content": PROMPT}],
                "max_tokens": job.tokens,
                "user": str(job.pause_ms),
                "stream": job.stream,
            }
        ).encode()
        self._request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {job.address}\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def ask(self, lane: int) -> float:
        connection = self._lanes[lane]
        started = time.perf_counter()
        body = (await connection.ask(self._request)).decode()
        if connection.status != 200:
            raise WrongAnswer(f"HTTP {connection.status}: {body[:300]}")
        verify(self._job, body)
        self.pieces += connection.pieces
        return connection.first_at - started

    async def after(self) -> None:
        """Nothing follows."""


@asynccontextmanager
async def http_driver(job: Job) -> AsyncGenerator[HttpDriver]:
    host, _, port = job.address.rpartition(":")
    lanes: list[Connection] = []
    try:
        for _ in range(job.streams):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
            lanes.append(connection)
        yield HttpDriver(job, lanes)
    finally:
        for connection in lanes:
            connection.transport.close()
