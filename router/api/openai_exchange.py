"""One generation over HTTP: from the director's events to an answer, a stream of events, or an error in either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache

from router.api.asgi import Departure, HeaderList, Receive, Send, answer
from router.api.openai_errors import error_answer, error_body
from router.api.wire.openai_request import Decoded
from router.api.wire.openai_response import WholeAnswer
from router.api.wire.openai_stream import StreamEncoder, error_event
from router.dispatch.directing import Directing
from router.dispatch.events import ServeEvent
from router.domain.decision import Candidate
from router.errors import RouterError, ShuttingDown

_LAST_WORDS_S = 1.0
_LONGEST_LIST = 1_000
_JSON: HeaderList = [(b"content-type", b"application/json")]
_EVENTS: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies that follow nginx's convention pass each event on at once
]


class Exchange:
    """Answers one decoded request. Run it in the task of the request: the caller's going away cancels that task."""

    __slots__ = ("_created", "_decoded", "_departure", "_ended", "_send", "_started")

    def __init__(self, decoded: Decoded, *, created: int, receive: Receive, send: Send) -> None:
        self._decoded = decoded
        self._created = created
        self._send = send
        self._departure = Departure(receive)
        self._started = False
        self._ended = False

    async def run(self, director: Directing) -> None:
        decoded = self._decoded
        try:
            async with aclosing(director.serve(decoded.request, decoded.profile)) as events:
                if decoded.stream:
                    await self._stream(events)
                else:
                    await self._whole(events)
        except asyncio.CancelledError:
            if not self._departure.gone:
                await self._last_words()
        except Exception as error:  # noqa: BLE001  # the outermost frame: the caller gets an answer whatever happens
            await self._fail(error)
        finally:
            self._departure.forget()

    async def _whole(self, events: AsyncGenerator[ServeEvent]) -> None:
        whole = WholeAnswer(self._decoded)
        async for event in events:
            whole.take(event)
        body = whole.body(created=self._created)
        self._end()
        await answer(self._send, 200, self._headers(_JSON, whole.candidate), body)

    async def _stream(self, events: AsyncGenerator[ServeEvent]) -> None:
        """Status and headers leave with the first piece of the answer: until then an error can have its own status."""
        send = self._send
        encoder = StreamEncoder(self._decoded, created=self._created)
        async for event in events:
            data = encoder.encode(event)
            if not data:
                continue
            if not self._started:
                self._started = True
                headers = self._headers(_EVENTS, encoder.candidate)
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            if encoder.finished:
                self._end()
            await send({"type": "http.response.body", "body": data, "more_body": not encoder.finished})
        if not encoder.finished:
            raise RouterError("the stream ended without an outcome")

    def _headers(self, base: HeaderList, candidate: Candidate | None) -> HeaderList:
        headers = [*base, (b"x-request-id", self._decoded.profile.request_id.encode())]
        if candidate is not None:
            headers.append((b"x-router-backend", _value(candidate.backend)))
            headers.append((b"x-router-hardware", _value(str(candidate.hardware))))
            headers.append((b"x-router-predicted-cost-usd", b"%.9g" % candidate.prediction.cost_usd))
        if self._decoded.ignored:
            headers.append((b"x-router-ignored", _short(",".join(self._decoded.ignored))))
        return headers

    def _end(self) -> None:
        """The next send is the last one: from here on the end of the connection means nothing."""
        self._ended = True
        self._departure.forget()

    async def _fail(self, error: Exception) -> None:
        request_id = self._decoded.profile.request_id
        if self._ended:
            error_body(error, request_id)  # too late for the caller; the log has it
            return
        self._end()
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


def _short(text: str) -> bytes:
    """A list whose length the caller decides, cut to what clients and proxies take in a header."""
    cut = text if len(text) <= _LONGEST_LIST else text[:_LONGEST_LIST] + "..."
    return cut.encode("ascii", "replace")


@lru_cache(maxsize=4096)
def _value(text: str) -> bytes:
    """A header's value: servers refuse control characters, and not every client reads beyond ASCII."""
    return "".join(character if character.isprintable() else "?" for character in text).encode("ascii", "replace")
