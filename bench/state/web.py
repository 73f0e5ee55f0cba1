"""Requests over HTTP at a steady rate, as cheap for the sender as they can be."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.load_http import Connection
from bench.load_job import MODEL, WrongAnswer
from bench.state.site import Router

LANES = 24
BROKEN = 0

# Status (0: the connection broke), body, and when it came.
Answered = Callable[[int, bytes, float], None]


def request_of(router: Router, *, key: str = "") -> bytes:
    """A short chat completion, not streamed."""
    message = {"role": "user", "content": "hello"}
    body = json.dumps({"model": MODEL, "messages": [message], "max_tokens": 1, "user": "0"}).encode()
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {router.http}\r\n{authorization}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class WebLoad:
    """To one router, over a few connections; when all of them are busy a request is skipped, and counted."""

    router: Router
    rate: float
    answered: Answered
    key: str = ""
    sent: int = 0
    skipped: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[WebLoad]:
        """Sends until the block ends, and then waits for the answers."""
        host, _, port = self.router.http.rpartition(":")
        loop = asyncio.get_running_loop()
        lanes = [(await loop.create_connection(Connection, host, int(port)))[1] for _ in range(LANES)]
        running: set[asyncio.Task[None]] = set()
        sending = asyncio.create_task(self._send(deque(lanes), running))
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await asyncio.gather(*running)
            for lane in lanes:
                lane.transport.close()

    async def _send(self, free: deque[Connection], running: set[asyncio.Task[None]]) -> None:
        request = request_of(self.router, key=self.key)
        began = time.perf_counter()
        for n in range(1 << 60):
            await asyncio.sleep(max(0.0, began + n / self.rate - time.perf_counter()))
            if not free:
                self.skipped += 1
                continue
            self.sent += 1
            task = asyncio.create_task(self._one(free.popleft(), request, free))
            running.add(task)
            task.add_done_callback(running.discard)

    async def _one(self, lane: Connection, request: bytes, free: deque[Connection]) -> None:
        try:
            body = await lane.ask(request)
        except WrongAnswer as error:
            self.answered(BROKEN, str(error).encode(), time.perf_counter())
            return
        self.answered(lane.status, body, time.perf_counter())
        free.append(lane)
