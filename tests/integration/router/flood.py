"""An upstream that answers with as much text as it is let: what a slow reader has to be protected from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"' + b"flood " * 170 + b'"},"finish_reason":null}]}\n\n'
)
END = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'  # noqa: E501 - bytes of the wire
PIECE_EVENTS = 50
MODELS = b'{"object":"list","data":[{"id":"llama-3.1-8b","object":"model"}]}'


@dataclass
class Flood:
    """What was asked of it and what it got rid of: bytes that the router's side has taken into its socket."""

    total_bytes: int
    port: int = 0
    sent_bytes: int = 0
    ended: int = 0
    gone: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
                )
                await reader.readexactly(length)
                if head.startswith(b"POST"):
                    await self._flood(writer)
                else:
                    body = MODELS if b"/models" in head else b""
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone += 1
        finally:
            writer.close()

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        piece = EVENT * PIECE_EVENTS
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        for _ in range(self.total_bytes // len(piece)):
            writer.write(chunk)
            await writer.drain()
            self.sent_bytes += len(piece)
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(END), END))
        await writer.drain()
        self.ended += 1


@asynccontextmanager
async def flooding(total_bytes: int, port: int) -> AsyncGenerator[Flood]:
    """The upstream, listening."""
    flood = Flood(total_bytes)
    server = await asyncio.start_server(flood.serve, "127.0.0.1", port)
    async with server:
        flood.port = port
        yield flood
