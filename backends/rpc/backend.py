"""One request and its streamed answer over gRPC: what every gRPC family has in common.

As over HTTP, this moves messages and a family's codec gives them their meaning. Each message is read by awaiting the
call itself: no task and no queue per token. Leaving the generator cancels the call, which the server learns at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message

from backends.authorise import KeyAuthoriser
from backends.contract import LAST_ANSWERS_S, Chunk, GenerateRequest, LoadReport
from backends.dialect import Dialect
from backends.errors import BackendError, ConnectFailed, once_delivered
from backends.neutral import fitting
from backends.ongoing import Ongoing
from backends.rpc.channel import Channel, Metadata, Method, parse
from backends.rpc.failures import from_status
from backends.spec import BackendSpec

# How long the status of a call may take once its answer is complete.
_AFTER_DONE_S = 0.02


class Decoder(Protocol):
    """One answer, decoded without I/O.

    Attributes:
        done: nothing more is read.
        is_cut: what the server still has to say is not wanted: the call is cancelled.
    """

    @property
    def done(self) -> bool: ...

    @property
    def is_cut(self) -> bool: ...

    def feed(self, message: Any) -> list[Chunk]:
        """The chunks that one message makes. Raises BackendError for a failure inside the stream."""
        ...

    def close(self) -> list[Chunk]:
        """The call has ended with OK. Raises ProtocolViolation if it did before the answer had."""
        ...


class Codec(Protocol):
    """A family's words."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def method(self) -> Method[Any, Any]:
        """What generates."""
        ...

    @property
    def metadata(self) -> Metadata:
        """Sent with every call of it."""
        ...

    async def prepare(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> tuple[Message, Decoder]:
        """The message, and a decoder for what it is answered. Raises Unsupported, and what asking the server raises."""
        ...

    def failed(self, upstream_model: str, error: BackendError) -> None:
        """A request to that model has failed: what is remembered of it may be out of date."""
        ...


class Prober(Protocol):
    async def probe(self, *, timeout_s: float) -> LoadReport: ...


class RpcBackend:
    """One server of a gRPC family. Implements `backends.contract.Backend`, and owns its channel."""

    def __init__(
        self, spec: BackendSpec, codec: Codec, *, channel: Channel, authoriser: KeyAuthoriser, prober: Prober
    ) -> None:
        self._spec = spec
        self._codec = codec
        self._channel = channel
        self._authoriser = authoriser
        self._prober = prober
        self._ongoing = Ongoing()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.id!r}, {self._codec.dialect.name!r}, {self._spec.base_url!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Streams the answer; a trailing assistant message is continued."""
        request = fitting(request, self._codec.dialect.parameters)
        has_delivered = answered = False
        try:
            try:
                with self._ongoing:
                    message, decoder = await self._codec.prepare(
                        request, upstream_model=upstream_model, request_id=request_id
                    )
                    metadata = [*self._codec.metadata, *credential(self._authoriser), *_request_id(request_id)]
                    call = self._channel.start(self._codec.method, message, metadata=metadata)
                    try:
                        if self._codec.method.is_bidirectional:
                            await _send(call, message)
                        while not decoder.done:
                            answer = await call.read()
                            if answer is grpc.aio.EOF:
                                chunks = decoder.close()
                            else:
                                answered = True
                                chunks = decoder.feed(parse(self._codec.method, answer))
                            for chunk in chunks:
                                yield chunk
                                has_delivered = True
                        if not decoder.is_cut:
                            await _settle(call)
                    finally:
                        call.cancel()
            except grpc.aio.AioRpcError as error:
                raise from_status(
                    error, rules=self._codec.dialect.failures, secret=self._authoriser.revealed(), answered=answered
                ) from error
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled the caller: the channel was closed under the call.
                raise ConnectFailed("the backend was closed") from error
        except BackendError as error:
            self._codec.failed(upstream_model, error)
            self._authoriser.refused(error)
            if has_delivered:
                raise once_delivered(error) from error
            raise

    async def probe(self, *, timeout_s: float) -> LoadReport:
        return await self._prober.probe(timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Answers that are being given end first."""
        await self._ongoing.ended(within_s=LAST_ANSWERS_S)
        await self._channel.aclose()


def credential(authoriser: KeyAuthoriser) -> Metadata:
    """The proof of who asks, as metadata."""
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in authoriser.ready]


def _request_id(request_id: str) -> Metadata:
    return [("x-request-id", request_id)] if request_id.isascii() and request_id.isprintable() else []


async def _send(call: Any, message: Message) -> None:
    """The one request of the stream. Where the call has ended already, reading it says why."""
    with contextlib.suppress(asyncio.InvalidStateError):
        await call.write(message)
        await call.done_writing()


async def _settle(call: Any) -> None:
    """Lets a call end that is over but for its status, so that the server does not count it as cancelled."""
    with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
        async with asyncio.timeout(_AFTER_DONE_S):
            await call.code()
