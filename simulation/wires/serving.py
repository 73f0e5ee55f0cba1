"""What emulated servers of HTTP families have in common: listening, faults, a stream that is sent piece by piece.

What one of them says, and how, is its own business; it gives the bytes of its wire and says which of them are output.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from simulation.http import Connection, Exchange
from simulation.wires.faults import Faults

KEPT_REQUESTS = 64
# A fault follows what came before it by so much, so that a client can have read that.
FAULT_DELAY_S = 0.02


class Piece(NamedTuple):
    """One write of a stream; `is_output` where it carries what the model said."""

    data: bytes
    is_output: bool = False


class WireError(Exception):
    """A request that is refused, in the words of its wire."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


class HttpWire(ABC):
    """One emulated server. Implements `simulation.wires.WireServer` but for `handle`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.seen: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self.disconnects = 0
        self.port = 0
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._asked = asyncio.Event()
        self._left = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._answer, self._connections), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()

    @abstractmethod
    def handle(self, exchange: Exchange) -> None:
        """Answers one request. Raises WireError where it refuses it."""

    def note(self, exchange: Exchange, body: Any) -> None:
        """Keeps a request that asks for an answer among those that were seen."""
        self.seen.append({"headers": dict(exchange.headers), "body": body})
        self._asked.set()

    async def asked(self) -> None:
        """Waits until somebody has asked for an answer."""
        await self._asked.wait()

    async def disconnected(self) -> None:
        """Waits until a client has left before its answer was complete."""
        await self._left.wait()

    def play(
        self, exchange: Exchange, pieces: Sequence[Piece], *, error: bytes, malformed: bytes, **headers: str
    ) -> None:
        """Streams the pieces, with the faults that are set at its beginning.

        Args:
            exchange: the request that is answered.
            pieces: all of the stream.
            error: the wire's own error inside a stream.
            malformed: what is not of the wire.
            headers: of the answer.
        """
        exchange.on_gone = self._gone
        exchange.start_stream(**headers)
        self._play_on(exchange, iter(with_faults(pieces, self.faults, error=error, malformed=malformed)))

    def _play_on(self, exchange: Exchange, steps: Iterator[Piece | str]) -> None:
        for step in steps:
            if isinstance(step, Piece):
                exchange.send(step.data)
            elif step == "wait":
                self._later(lambda: self._play_on(exchange, steps))
                return
            elif step == "cut":
                exchange.break_off()
                return
            else:
                return  # a stall: the client has to leave
        exchange.end_stream()

    def _later(self, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(FAULT_DELAY_S, run)
        self._timers.add(timer)

    def _answer(self, exchange: Exchange) -> None:
        try:
            self.handle(exchange)
        except WireError as error:
            exchange.respond(error.status, error.body, **error.headers)

    def _gone(self) -> None:
        self.disconnects += 1
        self._left.set()


def with_faults(pieces: Sequence[Piece], faults: Faults, *, error: bytes, malformed: bytes) -> Iterator[Piece | str]:
    """The pieces, and among them what goes wrong."""
    sent = 0
    is_malformed = False
    for piece in pieces:
        if sent == faults.cut_after:
            yield from ("wait", "cut")
            return
        if sent == faults.stall_after:
            yield "stall"
            return
        if sent == faults.error_after:
            yield from ("wait", Piece(error))
            return
        if sent == faults.malformed_after and not is_malformed:
            is_malformed = True
            yield from ("wait", Piece(malformed))
        sent += piece.is_output
        yield piece
