"""A prediction from its creation to its end, on Replicate.

It is asked for at one address, read at another and ends when it is told to: dropping the stream stops neither the
model nor the bill. So whoever leaves before the end, in whatever way, leaves a request behind that cancels the
prediction; also when it has been asked for and its name is not known yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import httpx
import msgspec

from backends.authorise import Authoriser
from backends.contract import Chunk, GenerateRequest, LoadReport
from backends.dialect import Dialect
from backends.errors import BackendError, ConnectFailed, ProtocolViolation, once_delivered
from backends.failures import classify
from backends.failures.client import CLIENT_ERRORS, map_httpx_errors
from backends.http.answer import next_read
from backends.http.exchange import Outgoing, Prober
from backends.neutral import fitting
from backends.replicate.calls import Calls, Created
from backends.replicate.decode import PredictionDecoder
from backends.replicate.encode import Settings, encode
from backends.replicate.links import AllowedHosts
from backends.replicate.wire import Prediction, Urls
from backends.spec import BackendSpec
from backends.urls import endpoint

# For each request that nobody waits for.
CANCEL_S = 5.0
# The end of an answer waits so long for its counts.
_COUNTS_S = 2.0

T = TypeVar("T")


class ReplicateBackend:
    """Implements `backends.contract.Backend`."""

    def __init__(
        self,
        spec: BackendSpec,
        dialect: Dialect,
        settings: Settings,
        *,
        hosts: AllowedHosts,
        transport: httpx.AsyncBaseTransport,
        authoriser: Authoriser,
        prober: Prober,
        cancel_s: float = CANCEL_S,
    ) -> None:
        self._spec = spec
        self._dialect = dialect
        self._settings = settings
        self._hosts = hosts
        self._authoriser = authoriser
        self._prober = prober
        self._cancel_s = cancel_s
        self._calls = Calls(spec, dialect, transport=transport, authoriser=authoriser)
        self._tasks: set[asyncio.Task[Any]] = set()  # as many as there are requests at most, each for a few seconds

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.id!r}, {self._spec.base_url!r})"

    @property
    def spec(self) -> BackendSpec:
        return self._spec

    async def generate(
        self, request: GenerateRequest, *, upstream_model: str, request_id: str
    ) -> AsyncGenerator[Chunk]:
        """Streams the answer; the prediction is cancelled unless its end was seen."""
        request = fitting(request, self._dialect.parameters)
        outgoing = encode(request, upstream_model=upstream_model, dialect=self._dialect, settings=self._settings)
        prediction, signals = await self._created(outgoing, request_id)
        decoder = PredictionDecoder(read_failure=self._read_failure)
        has_delivered = False
        try:
            async with aclosing(self._answer(prediction, decoder, request.sampling.max_output_tokens)) as chunks:
                async for chunk in chunks:
                    yield chunk if has_delivered or signals is None else msgspec.structs.replace(chunk, signals=signals)
                    has_delivered = True
        except BackendError as error:
            error.signals = error.signals or signals
            if has_delivered:
                raise once_delivered(error) from error
            raise
        finally:
            if not decoder.done:
                self._start(self._cancel(prediction))

    async def probe(self, *, timeout_s: float) -> LoadReport:
        return await self._prober.probe(timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Waits until every prediction that was left is cancelled, but no longer than that may take."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._cancel_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _created(self, outgoing: Outgoing, request_id: str) -> Created:
        """A caller that leaves now leaves a prediction that has to be waited for to be cancelled."""
        creation = self._start(self._calls.create(outgoing, request_id))
        try:
            return await asyncio.shield(creation)
        except asyncio.CancelledError:
            if creation.cancelled():
                raise ConnectFailed("the backend was closed while the prediction was created") from None
            self._start(self._abandon(creation))
            raise

    async def _answer(
        self, prediction: Prediction, decoder: PredictionDecoder, max_tokens: int | None
    ) -> AsyncGenerator[Chunk]:
        urls = prediction.urls or Urls()
        if not urls.stream:
            raise ProtocolViolation("a prediction without a stream: this model has none")
        stream = self._hosts.checked(urls.stream, "stream")
        get = self._hosts.checked(urls.get, "own address") if urls.get else None
        async with aclosing(self._text(stream, decoder)) as chunks:
            async for chunk in chunks:
                yield chunk
        ended = None if get is None else await self._ended(get)
        for chunk in decoder.finish(ended, max_tokens=max_tokens):
            yield chunk

    async def _text(self, url: httpx.URL, decoder: PredictionDecoder) -> AsyncGenerator[Chunk]:
        """All of the stream; a connection that ends before it is resumed once."""
        for is_last in (False, True):
            with map_httpx_errors() as crossing:
                response = await self._calls.open_stream(url, after=decoder.last_id)
                crossing.answered = True
                try:
                    async with aclosing(_reads(response, may_break=not is_last)) as reads:
                        async for data in reads:
                            for chunk in decoder.feed(data):
                                yield chunk
                            if decoder.done:
                                return
                finally:
                    await response.aclose()
            decoder.interrupted()
            if decoder.done:
                return
            if not decoder.can_resume:
                break
        raise ProtocolViolation("the stream ended before the prediction did")

    async def _ended(self, url: httpx.URL) -> Prediction | None:
        """The prediction with its counts, where it can be had soon."""
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(_COUNTS_S):
                return await self._calls.get(url)
        return None

    def _start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _abandon(self, creation: asyncio.Task[Created]) -> None:
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(self._cancel_s):
                created = await creation
            await self._cancel(created.prediction)

    async def _cancel(self, prediction: Prediction) -> None:
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(self._cancel_s):
                await self._calls.cancel(self._cancel_address(prediction))

    def _cancel_address(self, prediction: Prediction) -> httpx.URL:
        """Its own where that may be asked; else the one that the service has for every prediction."""
        urls = prediction.urls or Urls()
        with suppress(ProtocolViolation):
            return self._hosts.checked(urls.cancel or "", "address to cancel it")
        if not prediction.id.isalnum() or not prediction.id.isascii():
            raise ProtocolViolation("a prediction without a name")
        return endpoint(self._spec.base_url, f"/v1/predictions/{prediction.id}/cancel")

    def _read_failure(self, body: bytes) -> BackendError:
        return classify.from_event(body, rules=self._dialect.failures, secret=self._authoriser.revealed())


async def _reads(response: httpx.Response, *, may_break: bool) -> AsyncGenerator[bytes]:
    """What comes over one connection; one that breaks has ended, if that may be."""
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport returns
    reads = stream.__aiter__()
    while True:
        try:
            data = await next_read(reads, limit_s=None)
        except CLIENT_ERRORS:
            if not may_break:
                raise
            return
        if data is None:
            return
        yield data
