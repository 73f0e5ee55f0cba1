"""One generation over HTTP: from the director's events to an answer, a stream of events, or an error in either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from typing import Protocol

from backends.contract import Chunk, GenerateRequest
from router.api.asgi import Departure, HeaderList, Receive, Send, answer
from router.api.openai_errors import error_answer, error_body
from router.api.wire.openai_request import Decoded
from router.api.wire.openai_response import Answer, whole_answer
from router.api.wire.openai_stream import StreamEncoder, error_event
from router.dispatch.events import Finished, Rerouted, Routed, ServeEvent
from router.domain.decision import Candidate, Decision
from router.domain.request import RequestProfile, StreamBreakAction
from router.errors import RouterError, ShuttingDown, StreamBroken

_LAST_WORDS_S = 1.0
_JSON: HeaderList = [(b"content-type", b"application/json")]
_EVENTS: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies that follow nginx's convention pass each event on at once
]


class Serving(Protocol):
    """What a generation needs of the director."""

    def serve(self, request: GenerateRequest, profile: RequestProfile) -> AsyncGenerator[ServeEvent]: ...


class Exchange:
    """Answers one decoded request. Run it in the task of the request: the caller's going away cancels that task."""

    __slots__ = ("_candidate", "_created", "_decision", "_decoded", "_departure", "_send", "_started")

    def __init__(self, decoded: Decoded, *, created: int, receive: Receive, send: Send) -> None:
        self._decoded = decoded
        self._created = created
        self._send = send
        self._departure = Departure(receive)
        self._decision: Decision | None = None
        self._candidate: Candidate | None = None
        self._started = False

    async def run(self, director: Serving) -> None:
        decoded = self._decoded
        try:
            async with aclosing(director.serve(decoded.request, decoded.profile)) as events:
                if decoded.stream:
                    await self._stream(events)
                else:
                    await self._whole(events)
        except asyncio.CancelledError:
            if self._departure.gone:
                return
            await self._last_words()
        except Exception as error:  # noqa: BLE001  # the outermost frame: the caller gets an answer whatever happens
            await self._fail(error)
        finally:
            self._departure.forget()

    async def _whole(self, events: AsyncGenerator[ServeEvent]) -> None:
        gathered = Answer()
        finished: Finished | None = None
        async for event in events:
            if isinstance(event, Chunk):
                gathered.add(event)
            elif isinstance(event, Finished):
                finished = event
            else:
                self._follow(event)
                if isinstance(event, Rerouted) and event.resume is StreamBreakAction.RESTART:
                    gathered = Answer()
        if finished is None:
            raise RouterError("the answer ended without an outcome")
        self._candidate = finished.candidate
        body = whole_answer(
            gathered,
            self._decoded,
            created=self._created,
            outcome=finished.outcome,
            candidate=finished.candidate,
            decision=self._decision,
        )
        self._departure.forget()
        await answer(self._send, 200, self._headers(_JSON), body)

    async def _stream(self, events: AsyncGenerator[ServeEvent]) -> None:
        send = self._send
        encoder = StreamEncoder(self._decoded, created=self._created)
        encode = encoder.chunk
        async for event in events:
            if isinstance(event, Chunk):
                data = encode(event)
                if not data:
                    continue
                if not self._started:
                    data = await self._start(encoder) + data
                await send({"type": "http.response.body", "body": data, "more_body": True})
            elif isinstance(event, Finished):
                last = encoder.end(event, self._decision)
                if not self._started:
                    last = await self._start(encoder) + last
                self._departure.forget()
                await send({"type": "http.response.body", "body": last, "more_body": False})
                return
            else:
                self._follow(event)
                encoder.route(event.candidate)
                if isinstance(event, Rerouted) and self._started:
                    if event.resume is StreamBreakAction.RESTART:
                        raise StreamBroken("another backend would start over, and what was sent cannot be taken back")
                    await send({"type": "http.response.body", "body": encoder.rerouted(event), "more_body": True})
        raise RouterError("the stream ended without an outcome")

    def _follow(self, event: Routed | Rerouted) -> None:
        self._candidate = event.candidate
        if isinstance(event, Routed):
            self._decision = event.decision

    async def _start(self, encoder: StreamEncoder) -> bytes:
        """Status and headers leave with the first piece of the answer: until then an error can have its own status."""
        self._started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers(_EVENTS)})
        return encoder.start(self._decision)

    def _headers(self, base: HeaderList) -> HeaderList:
        headers = [*base, (b"x-request-id", _value(self._decoded.profile.request_id))]
        if self._candidate is not None:
            headers.append((b"x-router-backend", _value(self._candidate.backend)))
            headers.append((b"x-router-hardware", _value(str(self._candidate.hardware))))
            headers.append((b"x-router-predicted-cost-usd", b"%.9g" % self._candidate.prediction.cost_usd))
        if self._decoded.ignored:
            headers.append((b"x-router-ignored", _value(",".join(self._decoded.ignored))))
        return headers

    async def _fail(self, error: Exception) -> None:
        request_id = self._decoded.profile.request_id
        self._departure.forget()
        if not self._started:
            await answer(self._send, *error_answer(error, request_id))
            return
        last = error_event(error_body(error, request_id))
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _last_words(self) -> None:
        """The server ends this request: its caller learns why, unless it does not even read."""
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        error = ShuttingDown("the router is shutting down and could not wait for this answer")
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._fail(error)
        except TimeoutError:
            return


@lru_cache(maxsize=4096)
def _value(text: str) -> bytes:
    """A header's value: servers refuse control characters, and not every client reads beyond ASCII."""
    return "".join(character if character.isprintable() else "?" for character in text).encode("ascii", "replace")
