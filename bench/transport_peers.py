"""The other processes of the transport benchmark: an emulated upstream that speaks SSE, and a load generator.

    python -m bench.transport_peers upstream    prints its port
    python -m bench.transport_peers load        runs one JSON job a line: url, streams, requests, bytes, pieces

The path of a request says what it gets: `/<events>/<milliseconds between writes>/<events per write>`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import httptools
import httpx
import uvloop

from backends.http.transport import FastTransport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
_DELTA = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1760000000,"model":"m","choices":[{"index":0,'
)
EVENT = (_DELTA + b'"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}').ljust(188) + b"\n\n"
QUESTION = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "word " * 120}]}).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer_bytes(events: int) -> int:
    """Bytes of body in an answer of so many events."""
    return events * len(EVENT) + len(DONE)


class UpstreamProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._target = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target = url

    def on_message_complete(self) -> None:
        events, pause_ms, together = (int(part) for part in self._target.split(b"/")[1:4])
        self._write(events, pause_ms / 1000, together, HEAD)

    def _write(self, left: int, pause_s: float, together: int, before: bytes) -> None:
        """One write of events, and the next one later; the last write brings the end as well."""
        count = min(left, together)
        data = before + chunk(EVENT) * count
        left -= count
        if not left:
            self._transport.write(data + chunk(DONE) + b"0\r\n\r\n")
            return
        self._transport.write(data)
        self._loop.call_later(pause_s, self._write, left, pause_s, together, b"")


async def upstream() -> None:
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def load() -> None:
    loop = asyncio.get_running_loop()
    async with FastTransport(max_idle_per_host=1024) as transport:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            job: dict[str, Any] = json.loads(line)

            async def stream(job: dict[str, Any] = job) -> None:
                for _ in range(job["requests"]):
                    response = await transport.handle_async_request(httpx.Request("POST", job["url"], content=QUESTION))
                    assert isinstance(response.stream, httpx.AsyncByteStream)
                    sizes = [len(piece) async for piece in response.stream]
                    if response.status_code != 200 or sum(sizes) != job["bytes"] or len(sizes) < job["pieces"]:
                        raise RuntimeError(f"status {response.status_code}, {sum(sizes)} bytes in {len(sizes)} pieces")

            async with asyncio.TaskGroup() as tasks:
                for _ in range(job["streams"]):
                    tasks.create_task(stream())
            print("done", flush=True)


if __name__ == "__main__":
    uvloop.run({"upstream": upstream, "load": load}[sys.argv[1]]())
