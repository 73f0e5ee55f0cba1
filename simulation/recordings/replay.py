"""A server on a real loopback port that answers one exchange with what was recorded of it, cut in awkward places."""

from __future__ import annotations

import asyncio
import json
import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Self

from simulation.recordings.interaction import Interaction
from simulation.recordings.predictions import created, creates, last_seen, stream_of

Framing = Literal["length", "chunked", "close"]

# Each piece costs a turn of the event loop, and a folder has hundreds of recordings.
_MOST_PIECES = 400
# How the body travels says nothing of its content, and is ours.
_HOP_BY_HOP = frozenset({"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "date"})

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")


@dataclass(frozen=True, slots=True)
class Cut:
    """One way to send a body."""

    name: str
    framing: Framing
    pieces: tuple[bytes, ...]


def cuts(body: bytes, seed: int, many: int) -> list[Cut]:
    """`many` ways to cut a body: whole, then single bytes and pieces that part characters and line ends."""
    found = [Cut("whole", "length", (body,))]
    for number in range(1, many):
        rng = random.Random(seed * 31 + number)
        if number % 2:
            found.append(Cut("single bytes", "chunked", _pieces(body, _single_bytes(body, rng))))
        else:
            found.append(Cut("awkward", "close", _pieces(body, _awkward(body, rng))))
    return found


def _pieces(body: bytes, at: Sequence[int]) -> tuple[bytes, ...]:
    places = sorted({0, len(body), *(place for place in at if 0 < place < len(body))})
    return tuple(body[a:b] for a, b in pairwise(places))


def _single_bytes(body: bytes, rng: random.Random) -> list[int]:
    """All of a short body; of a long one its begin, its end and some of its middle."""
    if len(body) <= _MOST_PIECES:
        return list(range(len(body)))
    window = _MOST_PIECES // 4
    middle = rng.randrange(len(body))
    rest = [rng.randrange(len(body)) for _ in range(window)]
    return [*range(window), *range(len(body) - window, len(body)), *range(middle, middle + window), *rest]


def _awkward(body: bytes, rng: random.Random) -> list[int]:
    """Inside characters, between CR and LF, between the two line ends of an event, and anywhere."""
    inside = [at for at, byte in enumerate(body) if byte & 0xC0 == 0x80]
    ends = [at + 1 for at, byte in enumerate(body) if byte in b"\r\n"]
    chosen = rng.sample(inside, min(len(inside), 150)) + rng.sample(ends, min(len(ends), 150))
    return chosen + [rng.randrange(len(body)) for _ in range(100) if body]


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    cut: Cut


@dataclass(slots=True)
class ReplayServer:
    """Answers every request with the recorded exchange. `seen` are the bodies of what was asked, parsed."""

    interaction: Interaction
    many: int = 3
    way: int = 0
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server's callback runs in a task
        self._tasks.add(task)
        try:
            while (asked := await _request(reader)) is not None:
                self.seen.append(asked)
                if not await _send(self._answer(*asked[:2]), writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _answer(self, method: str, path: str) -> _Answer:
        recorded, body = self.interaction, self.interaction.body
        stream = stream_of(recorded)
        if creates(recorded):
            if method == "GET" and path.endswith("/stream") and stream is not None:
                recorded, body = stream, stream.body
            elif path.endswith(("/get", "/cancel")):
                seen = last_seen(recorded) if method == "GET" else None
                document = seen.body if seen is not None else b'{"detail":"not recorded"}'
                cut = Cut("whole", "length", (document,))
                return _Answer(200 if seen is not None else 404, {"content-type": "application/json"}, cut)
            elif stream is not None:
                body = self._here(created(recorded))
        seed = zlib.crc32(recorded.id.encode())
        return _Answer(recorded.status, _sent_headers(recorded), cuts(body, seed, self.many)[self.way])

    def _here(self, prediction: dict[str, Any]) -> bytes:
        """The prediction, with its addresses on this server."""
        urls = {name: f"{self.url}/replayed/{name}" for name in prediction["urls"]}
        return json.dumps({**prediction, "urls": urls}).encode()


def _sent_headers(recorded: Interaction) -> dict[str, str]:
    headers = {
        name: value
        for name, value in recorded.headers.items()
        if name not in _HOP_BY_HOP and _TOKEN.fullmatch(name) and value.isprintable()
    }
    if "content-type" not in headers:  # some recorders keep none
        headers["content-type"] = _kind(recorded)
    return headers


def _kind(recorded: Interaction) -> str:
    if recorded.is_document:
        return "application/json"
    if recorded.path.endswith("-stream"):
        return "application/vnd.amazon.eventstream"
    return "application/x-ndjson" if recorded.body.lstrip()[:1] == b"{" else "text/event-stream"


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, Any] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    return method, path, value


async def _send(answer: _Answer, writer: asyncio.StreamWriter) -> bool:
    """Sends the answer piece by piece, each in a read of its own; False if the connection is to be closed."""
    framing = answer.cut.framing
    lines = [f"HTTP/1.1 {answer.status} Recorded", *(f"{name}: {value}" for name, value in answer.headers.items())]
    lines.append(
        {
            "length": f"content-length: {sum(map(len, answer.cut.pieces))}",
            "chunked": "transfer-encoding: chunked",
            "close": "connection: close",
        }[framing]
    )
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
    for piece in answer.cut.pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            await writer.drain()
            await asyncio.sleep(0)  # the client, in the same loop, reads it before the next one is sent
    if framing == "chunked":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return framing != "close"
