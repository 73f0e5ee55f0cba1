"""What emulated servers of gRPC families have in common: listening, faults, and who leaves before the end.

Answers are bytes here, as in HTTP families, so that what is not of the wire can be sent as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio

from simulation.wires.faults import Faults
from simulation.wires.serving import FAULT_DELAY_S, KEPT_REQUESTS, Piece, with_faults

MALFORMED = b"\xff\xff\xff"
CODES: Mapping[int, grpc.StatusCode] = MappingProxyType(
    {
        400: grpc.StatusCode.INVALID_ARGUMENT,
        401: grpc.StatusCode.UNAUTHENTICATED,
        403: grpc.StatusCode.PERMISSION_DENIED,
        404: grpc.StatusCode.NOT_FOUND,
        429: grpc.StatusCode.RESOURCE_EXHAUSTED,
        500: grpc.StatusCode.INTERNAL,
        501: grpc.StatusCode.UNIMPLEMENTED,
        503: grpc.StatusCode.UNAVAILABLE,
        504: grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any, Context], Awaitable[bytes]]
Stream = Callable[[Any, Context], AsyncGenerator[bytes]]


class Refusal(Exception):
    """A call that ends with a status."""

    def __init__(self, code: grpc.StatusCode, words: str, trailers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.trailers = tuple((trailers or {}).items())


class RpcWire:
    """One emulated server. Implements `simulation.wires.WireServer` but for its methods.

    Args:
        service: with its package.
        key: the bearer token that is wanted of every call; "" for none.

    Attributes:
        tls: what it listens with; None for a plain connection. Set before it is started.
    """

    def __init__(self, service: str, *, key: str = "") -> None:
        self.faults = Faults()
        self.seen: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self.disconnects = 0
        self.port = 0
        self.tls: grpc.ServerCredentials | None = None
        self._service = service
        self._key = key
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._server: grpc.aio.Server | None = None
        self._asked = asyncio.Event()
        self._left = asyncio.Event()

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one. Raises OSError when the port is taken."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self._service, self._methods),))
        try:
            address = f"{host}:{port}"
            if self.tls is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self.tls)
        except RuntimeError as error:
            raise OSError(f"{host}:{port} cannot be listened on: {error}") from error
        await server.start()
        self._server = server

    async def close(self) -> None:
        """At once: calls that are open are cut off."""
        if self._server is not None:
            await self._server.stop(None)

    def answers(self, name: str, request: Any, answer: Unary) -> None:
        """One answer to each request of that method; `request` is its message class."""

        async def handle(message: Any, context: Context) -> bytes:
            try:
                self._check_key(context)
                return await answer(message, context)
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.words, refusal.trailers)

        self._methods[name] = grpc.unary_unary_rpc_method_handler(handle, request_deserializer=request.FromString)

    def streams(self, name: str, request: Any, answer: Stream, *, is_bidirectional: bool = False) -> None:
        """A stream of answers; a bidirectional method is given the stream of its requests."""

        async def handle(asked: Any, context: Context) -> AsyncGenerator[bytes]:
            try:
                self._check_key(context)
                async for message in answer(asked, context):
                    yield message
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.words, refusal.trailers)
            except (asyncio.CancelledError, GeneratorExit):
                self.disconnects += 1
                self._left.set()
                raise

        make = grpc.stream_stream_rpc_method_handler if is_bidirectional else grpc.unary_stream_rpc_method_handler
        self._methods[name] = make(handle, request_deserializer=request.FromString)

    def note(self, context: Context, request: dict[str, Any]) -> None:
        """Keeps a request that asks for an answer. Raises Refusal where a status was asked for."""
        self.seen.append({"metadata": dict(context.invocation_metadata() or ()), **request})
        self._asked.set()
        if self.faults.status:
            code = CODES.get(self.faults.status, grpc.StatusCode.UNKNOWN)
            raise Refusal(code, self.faults.code or "a fault that was asked for", self.faults.headers)

    async def asked(self) -> None:
        """Waits until somebody has asked for an answer."""
        await self._asked.wait()

    async def disconnected(self) -> None:
        """Waits until a client has left before its answer was complete."""
        await self._left.wait()

    async def play(self, pieces: Sequence[Piece], *, error: bytes) -> AsyncGenerator[bytes]:
        """The pieces, with the faults that are set now. Raises Refusal where the connection is to break.

        Args:
            pieces: all of the stream.
            error: the wire's own error inside a stream.
        """
        for step in with_faults(pieces, self.faults, error=error, malformed=MALFORMED):
            if isinstance(step, Piece):
                yield step.data
            elif step == "wait":
                await asyncio.sleep(FAULT_DELAY_S)
            elif step == "cut":
                # What a client is told by its own side when a connection is gone.
                raise Refusal(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            else:
                await asyncio.Event().wait()  # a stall: the client has to leave

    def _check_key(self, context: Context) -> None:
        given = str(dict(context.invocation_metadata() or ()).get("authorization", "no token"))
        if self._key and given != f"Bearer {self._key}":
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, f"unauthorized: {given}")
