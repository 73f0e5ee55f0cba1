"""The upstream of the benchmarks: an OpenAI-compatible server that costs next to nothing and does as the request says.

    python -m bench.upstream PORT        0: any free port; prints it

`max_tokens` events are streamed, or joined in one JSON answer. `user` is the pause between events in milliseconds; "0"
sends all of them in one write.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools
import msgspec
import uvloop

TOKEN = " token"  # noqa: S105 - a word, not a password
# Two in turn: a gateway may take a word that comes again and again for a model that has gone astray.
WORDS = (b" tokens", b" token")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1800000000,"model":"bench","choices":['
EVENTS = tuple(
    _CHUNK + b'{"index":0,"delta":{"content":"' + word + b'"},"logprobs":null,"finish_reason":null}]}\n\n'
    for word in WORDS
)
END = (
    _CHUNK
    + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    + _CHUNK
    + b'],"usage":{"prompt_tokens":12,"completion_tokens":%d,"total_tokens":%d}}\n\ndata: [DONE]\n\n'
)
WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1800000000,"model":"bench","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":%d,"total_tokens":%d}}'
)
MODELS = b'{"object":"list","data":[{"id":"bench","object":"model"}]}'
LAST = b"0\r\n\r\n"


class Ask(msgspec.Struct):
    """The fields that it looks at."""

    max_tokens: int = 0
    max_completion_tokens: int = 0
    stream: bool = False
    user: str = "0"


def times(pair: tuple[bytes, ...], count: int) -> bytes:
    """`count` of them, in turn."""
    return b"".join(pair) * (count // 2) + pair[0] * (count % 2)


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after another."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._url = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._url.endswith(b"/completions"):
            self._plain(MODELS if self._url.endswith(b"/models") else b"")
            return
        ask = msgspec.json.decode(self._body, type=Ask)
        tokens = ask.max_completion_tokens or ask.max_tokens or 16
        end = END % (tokens, tokens + 12)
        if not ask.stream:
            self._plain(WHOLE % (times(WORDS, tokens), tokens, tokens + 12))
        elif ask.user == "0":
            self._transport.write(HEAD + chunked(times(EVENTS, tokens) + end) + LAST)
        else:
            self._task = asyncio.create_task(self._paced(tokens, float(ask.user) / 1000.0, end))

    def _plain(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )

    async def _paced(self, tokens: int, pause_s: float, end: bytes) -> None:
        """The first event is sent at once, so that the time to it is the gateway's own."""
        self._transport.write(HEAD + chunked(EVENTS[0]))
        for n in range(1, tokens):
            await asyncio.sleep(pause_s)
            self._transport.write(chunked(EVENTS[n % 2]))
        self._transport.write(chunked(end) + LAST)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
