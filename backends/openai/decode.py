"""The OpenAI-like stream, decoded without I/O: reads in, chunks out.

All events of one read are joined in one chunk, since what comes later (protobuf, gRPC, a socket) costs per message and
not per token. Only an order that one chunk cannot hold (reasoning, text, tool calls, end) makes it several.

The end is proven by a finish reason or by `[DONE]`; without either the answer is broken. A finish reason "error" or
"abort" is the engine's failure and is raised as one. Where no usage comes, output is the number of events that carried
some, input is unknown and left at 0, and the usage says that it is an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason
from backends.errors import BackendError, Overloaded, ProtocolViolation, UpstreamFault
from backends.failures.bodies import read_problem
from backends.http.sse import Event as SseEvent
from backends.http.sse import EventTooLarge, SseDecoder
from backends.json_text import read_json
from backends.openai.logprobs import token_logprobs
from backends.openai.loose import decode_loosely
from backends.openai.profile import Profile
from backends.openai.reasoning import DetailAssembler
from backends.openai.tools import ToolCallAssembler
from backends.openai.usage import UsageMeter, timings
from backends.openai.wire import Choice, ContentPiece, Delta, Event, Logprobs, ToolCallPart, decode_event

_FINISH = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_FAILED: Mapping[str, type[BackendError]] = {
    "error": UpstreamFault,
    "abort": UpstreamFault,
    "insufficient_system_resource": Overloaded,
}
# Other events are a server's own, and may hold anything.
_NAMES = frozenset({b"", b"message", b"error"})
_CHARS_PER_TOKEN = 4
_LONGEST_MARKER = 32  # with blanks around it; anything longer is an event

FailureReader = Callable[[bytes], BackendError]


class ChatDecoder:
    """One answer. After `done` nothing more needs to be read; `ended` says that its end is proven."""

    def __init__(self, profile: Profile, *, read_failure: FailureReader) -> None:
        self._profile = profile
        self._read_failure = read_failure
        self._sse = SseDecoder()
        self._meter = UsageMeter(profile)
        self._tools = ToolCallAssembler()
        self._details: DetailAssembler | None = None
        self._finish: FinishReason | None = None
        self._has_first = False
        self._out = ChunkBuilder()
        self.done = False

    @property
    def ended(self) -> bool:
        return self.done or self._finish is not None

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes: usually one, none for a comment or half an event.

        Raises:
            BackendError: a failure inside the stream, or bytes that are no stream. What the same read brought before it
                is not delivered, so that a stream that fails in its first read can be tried elsewhere.
        """
        try:
            events = self._sse.feed(data)
        except EventTooLarge as error:
            raise ProtocolViolation(str(error)) from error
        self._take_events(events)
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """The body has ended, perhaps inside the event after the last one that mattered.

        Raises:
            ProtocolViolation: before the answer did.
        """
        if not self.done:
            was_ended = self.ended
            try:
                self._take_events(self._sse.close())
            except ProtocolViolation:
                if not was_ended:
                    raise
        if not self.ended:
            raise ProtocolViolation("the stream ended before the answer did")
        if not self.done:
            self._complete()
        return self._out.drain()

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer that came as one JSON object although a stream was asked for."""
        event = self._decode(body)
        if event is None or not event.choices:
            raise ProtocolViolation("a JSON answer without choices")
        choice = event.choices[0]
        self._take_event(event)
        if self._finish is None:
            # A whole document is its own proof of the end, and some servers leave the reason out.
            self._end(FinishReason.TOOL_CALLS if self._tools.count else FinishReason.STOP, choice)
        self._complete(estimate=sum(len(text) for text in _texts(event)) // _CHARS_PER_TOKEN)
        return self._out.drain()

    def _take_events(self, events: list[SseEvent]) -> None:
        for name, payload in events:
            if len(payload) < _LONGEST_MARKER and payload.strip() == b"[DONE]":
                self._complete()
                return
            event = self._decode(payload, name=name)
            if event is not None:
                self._take_event(event)

    def _decode(self, payload: bytes, *, name: bytes = b"") -> Event | None:
        try:
            event = _read_event(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not payload.strip() or name not in _NAMES:
                return None
            if name == b"error":
                raise self._read_failure(payload) from error
            raise ProtocolViolation(f"an event that is not of this wire: {error}") from error
        if event.error or name == b"error" or event.object == "error":
            raise self._read_failure(payload)
        if event.x_groq is not None and event.x_groq.error:
            raise self._read_failure(msgspec.json.encode({"error": event.x_groq.error}))
        if event.choices is None and event.usage is None and read_problem(payload).message:
            raise self._read_failure(payload)
        return event

    def _take_event(self, event: Event) -> None:
        choice = self._ours(event.choices) if event.choices else None
        if choice is not None:
            if choice.error:
                raise self._read_failure(msgspec.json.encode({"error": choice.error}))
            delta = choice.delta or choice.message
            if delta is not None:
                self._take_delta(delta)
            elif choice.text:
                self._out.add_text(choice.text)
                self._out.count_event()
            if isinstance(choice.logprobs, Logprobs):
                self._out.add_logprobs(token_logprobs(choice.logprobs))
            if choice.finish_reason:
                self._take_finish(choice.finish_reason, choice)
        if event.timings is not None:
            self._out.usage = self._meter.take_timings(event.timings) or self._out.usage
        if event.x_groq is not None and event.x_groq.usage is not None:
            self._out.usage = self._meter.take(event.x_groq.usage)
        if event.usage is not None:
            self._out.usage = self._meter.take(event.usage)
        if (
            event.timings is not None
            or event.time_info is not None
            or event.x_groq is not None
            or event.usage is not None
        ):
            self._out.timings = timings(event) or self._out.timings

    def _ours(self, choices: list[Choice]) -> Choice | None:
        """The first answer; another than the one with index 0 only where none had that (TGI counts tokens there)."""
        first = next((choice for choice in choices if choice.index in (0, None)), None)
        self._has_first = self._has_first or first is not None
        return first if first is not None or self._has_first else choices[0]

    def _take_delta(self, delta: Delta) -> None:
        has_output = False
        reasoning = delta.reasoning or delta.reasoning_content
        if delta.reasoning_details:
            if self._details is None:
                self._details = DetailAssembler()
            told = self._details.take(delta.reasoning_details)
            reasoning = reasoning or told
        if reasoning:
            self._out.add_reasoning(reasoning)
            has_output = True
        content = delta.content
        if content:
            if isinstance(content, str):
                self._out.add_text(content)
            else:
                self._take_pieces(content)
            has_output = True
        if delta.refusal:
            self._out.add_text(delta.refusal)
            has_output = True
        parts = delta.tool_calls
        if delta.function_call is not None:
            parts = [*(parts or ()), ToolCallPart(index=0, function=delta.function_call)]
        if parts:
            self._out.add_calls(self._tools.take(parts))
            has_output = True
        if has_output:
            self._out.count_event()

    def _take_pieces(self, pieces: list[ContentPiece]) -> None:
        for piece in pieces:
            if isinstance(piece.thinking, str):
                self._out.add_reasoning(piece.thinking)
            elif piece.thinking is not None:
                self._out.add_reasoning("".join(part.text or "" for part in piece.thinking))
            if piece.text:
                self._out.add_text(piece.text)

    def _take_finish(self, reason: str, choice: Choice) -> None:
        if reason in _FAILED:
            if self._profile.aborts_when_full and not self._out.total_events:
                raise Overloaded("the engine aborted the request before its first token")
            raise _FAILED[reason](f"the engine ended the answer with {reason!r}")
        if self._finish is None:
            # A word nobody has seen yet still says that the answer is complete.
            self._end(_FINISH.get(reason, FinishReason.STOP), choice)

    def _end(self, reason: FinishReason, choice: Choice | None) -> None:
        for block in self._details.signed() if self._details is not None else ():
            self._out.add_signed(block)
        self._out.add_calls(self._tools.finish(was_cut=reason is FinishReason.LENGTH))
        self._finish = reason
        stops = (choice.stop_reason, choice.matched_stop) if choice is not None else ()
        self._out.end(reason, next((stop for stop in stops if isinstance(stop, str)), None))

    def _complete(self, *, estimate: int = 0) -> None:
        """The terminal marker is here: add what the server left out."""
        self.done = True
        if self._finish is None:
            if not self._out.total_events and not self._meter.is_credible(0):
                raise ProtocolViolation("a stream without an answer")
            self._end(FinishReason.TOOL_CALLS if self._tools.count else FinishReason.STOP, None)
        if not self._meter.is_credible(self._out.total_events):
            self._out.usage = self._meter.usage(estimated=True, output=max(estimate, self._out.total_events))


def _read_event(payload: bytes) -> Event:
    try:
        return read_json(decode_event, payload)
    except msgspec.ValidationError:
        return decode_loosely(payload)


def _texts(event: Event) -> Iterator[str]:
    for choice in event.choices or ():
        message = choice.message or choice.delta or Delta()
        content = message.content if isinstance(message.content, str) else None
        yield from filter(None, (choice.text, content, message.reasoning or message.reasoning_content))
