"""Google's stream of responses, decoded without I/O: reads in, chunks out.

Nothing marks the end but a candidate's finish reason, and some models give one in every event; so the end is handed on
only when the body is complete. A call comes whole, and a finish reason says STOP for it as for text. What a filter
stops, be it the prompt, is an answer that a content filter ended: it has usage, and no other backend is to be asked.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import msgspec

from backends.call_ids import new_call_id
from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, ReasoningBlock, TokenLogprob, ToolCallDelta
from backends.errors import BackendError, ProtocolViolation
from backends.failures.bodies import read_problem
from backends.gemini.finish import finish_reason, is_blocked
from backends.gemini.usage import UsageMeter
from backends.gemini.wire import (
    Candidate,
    FunctionCall,
    LogprobsResult,
    Part,
    Response,
    TokenCandidate,
    decode_response,
    decode_responses,
    given,
)
from backends.http.sse import EventTooLarge, SseDecoder
from backends.json_text import read_json
from backends.raw_json import as_text
from backends.signatures import marked

VENDOR = "gemini"

_KEPT_TAIL_BYTES = 64 * 1024
_JSON_START = re.compile(rb"(?:^|\n)(?=[\[{])")

# Indexes of the answer that was asked for: a zero may be left out, or be written as 64-bit numbers are.
_FIRST = (None, 0, "0")

FailureReader = Callable[[bytes], BackendError]


class GeminiDecoder:
    """One answer. `ended` says that its end is proven; `done` comes with the end of the body."""

    def __init__(self, *, read_failure: FailureReader) -> None:
        self._read_failure = read_failure
        self._sse = SseDecoder()
        self._meter = UsageMeter()
        self._out = ChunkBuilder()
        self._finish: FinishReason | None = None
        self._calls = 0
        self._thought: list[str] = []
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.done = False

    @property
    def ended(self) -> bool:
        return self.done or self._finish is not None

    def feed(self, data: bytes) -> list[Chunk]:
        """See `backends.http.exchange.Decoder`."""
        self._remember(data)
        try:
            events = self._sse.feed(data)
        except EventTooLarge as error:
            raise ProtocolViolation(str(error)) from error
        for _, payload in events:
            self._take_all(payload)
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """See `backends.http.exchange.Decoder`."""
        for _, payload in self._sse.close():
            self._take_all(payload)
        if self._finish is None:
            raise self._bare_failure() or ProtocolViolation("the stream ended before the answer did")
        self._complete(self._finish)
        return self._out.drain()

    def whole(self, body: bytes) -> list[Chunk]:
        """One response, or all of them in an array, as the stream is without `alt=sse`."""
        self._take_all(body)
        if self._finish is None:
            raise ProtocolViolation("a JSON answer without its end")
        self._complete(self._finish)
        return self._out.drain()

    def _take_all(self, payload: bytes) -> None:
        """One response, or several in an array; a gateway's marker of the end says nothing here."""
        text = payload.strip()
        if text == b"[DONE]":
            return
        try:
            parts = [bytes(part) for part in decode_responses(text)] if text[:1] == b"[" else [text]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"not an answer of this wire: {error}") from error
        for part in parts:
            self._take(part)

    def _take(self, payload: bytes) -> None:
        try:
            response = read_json(decode_response, payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not payload.strip():
                return
            raise ProtocolViolation(f"an event that is not of this wire: {error}") from error
        if given(response.error) is not None:
            raise self._read_failure(payload)
        self._take_response(response)

    def _take_response(self, response: Response) -> None:
        if response.usage_metadata is not None:
            self._meter.take(response.usage_metadata)
        for candidate in response.candidates or ():
            if candidate.index in _FIRST:
                self._take_candidate(candidate)
                break
        if response.prompt_feedback is not None and is_blocked(response.prompt_feedback.block_reason):
            self._finish = FinishReason.CONTENT_FILTER
        if response.usage_metadata is not None and self._meter.counts_output:
            self._out.usage = self._meter.usage(events=self._out.total_events)

    def _take_candidate(self, candidate: Candidate) -> None:
        parts = candidate.content.parts if candidate.content is not None else None
        has_output = False
        for part in parts or ():
            has_output |= self._take_part(part)
        if has_output:
            self._out.count_event()
        if candidate.logprobs_result is not None:
            self._out.add_logprobs(_logprobs(candidate.logprobs_result))
        self._finish = finish_reason(candidate.finish_reason, candidate.finish_message) or self._finish

    def _take_part(self, part: Part) -> bool:
        if part.function_call is not None:
            self._take_call(part.function_call, part.thought_signature)
            return True
        text = part.text or ""
        if part.thought and text:
            self._out.add_reasoning(text)
            self._thought.append(text)
        if part.thought_signature:
            # It stands for all the thought before it, whatever part it comes with.
            thought = "".join(self._thought)
            self._thought.clear()
            self._out.add_signed(ReasoningBlock(text=thought, signature=marked(VENDOR, part.thought_signature)))
        if text and not part.thought:
            self._out.add_text(text)
        return bool(text)

    def _take_call(self, call: FunctionCall, signature: str | None) -> None:
        if not call.name:
            raise ProtocolViolation("a function call without a name")
        arguments = given(call.args)
        delta = ToolCallDelta(
            index=self._calls,
            id=call.id or new_call_id(),
            name=call.name,
            # A document that came whole is laid out for people to read.
            arguments="{}" if arguments is None else as_text(msgspec.json.format(arguments, indent=-1)),
            signature=signature,
        )
        self._calls += 1
        self._out.add_calls([delta])

    def _complete(self, reason: FinishReason) -> None:
        self.done = True
        if reason is FinishReason.STOP and self._calls:
            reason = FinishReason.TOOL_CALLS
        self._out.usage = self._meter.usage(events=self._out.total_events)
        self._out.end(reason, None)

    def _remember(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) > _KEPT_TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())

    def _bare_failure(self) -> BackendError | None:
        """An error that stands in the stream as it is, without being an event: a gateway's way to end one."""
        tail = b"".join(self._tail).replace(b"\r\n", b"\n")
        for found in reversed(list(_JSON_START.finditer(tail))):
            body = tail[found.end() :].strip()
            problem = read_problem(body)
            if problem.codes and problem.message:
                return self._read_failure(body)
        return None


def _logprobs(wire: LogprobsResult) -> list[TokenLogprob]:
    tops = [step.candidates or [] for step in wire.top_candidates or ()]
    return [
        _logprob(chosen, tuple(_logprob(other, ()) for other in tops[place]) if place < len(tops) else ())
        for place, chosen in enumerate(wire.chosen_candidates or ())
    ]


def _logprob(wire: TokenCandidate, top: tuple[TokenLogprob, ...]) -> TokenLogprob:
    token = wire.token or ""
    return TokenLogprob(token=token, logprob=float(wire.log_probability or 0.0), bytes=tuple(token.encode()), top=top)
