"""Ollama's stream, decoded without I/O: reads in, chunks out.

The end is proven by the line with `done: true`. A tool call comes whole, in a line of its own, and does not show in the
reason why the answer ended.
"""

from __future__ import annotations

import msgspec

from backends.call_ids import new_call_id
from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, ToolCallDelta, UpstreamTimings, Usage
from backends.counts import Number, last
from backends.errors import ContextTooLong, ProtocolViolation, UpstreamFault
from backends.http.exchange import FailureReader
from backends.http.ndjson import LineTooLong, NdjsonDecoder
from backends.json_text import read_json
from backends.ollama.wire import Call, Line, decode_line
from backends.openai.logprobs import token_logprobs
from backends.openai.wire import Logprobs
from backends.raw_json import written_arguments

_NS = 1_000_000_000
_CHARS_PER_TOKEN = 4
# The server moved a model in or out of memory, and generated nothing.
_NO_ANSWER = frozenset({"load", "unload"})


class OllamaDecoder:
    """One answer. After `done` nothing more needs to be read; `ended` says that its end is proven."""

    def __init__(self, *, read_failure: FailureReader, num_ctx: int | None = None) -> None:
        self._read_failure = read_failure
        self._num_ctx = num_ctx
        self._lines = NdjsonDecoder()
        self._out = ChunkBuilder()
        self._calls = 0
        self._characters = 0
        self.done = False

    @property
    def ended(self) -> bool:
        return self.done

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes, as `backends.http.exchange.Decoder` says."""
        try:
            lines = self._lines.feed(data)
        except LineTooLong as error:
            raise ProtocolViolation(str(error)) from error
        self._take_lines(lines)
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """The body has ended. Raises ProtocolViolation if it did before the answer had."""
        if not self.done:
            self._take_lines(self._lines.close())
        if not self.done:
            raise ProtocolViolation("the stream ended before the answer did")
        return self._out.drain()

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer in one JSON document; some versions say `application/json` of a stream of one line, too."""
        self._take_lines([line for line in body.split(b"\n") if line.strip()], is_whole=True)
        return self.close()

    def _take_lines(self, lines: list[bytes], *, is_whole: bool = False) -> None:
        for text in lines:
            if self.done:
                return
            try:
                line = read_json(decode_line, text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolViolation(f"a line that is not of this wire: {error}") from error
            if line.error:
                raise self._read_failure(text)
            self._take(line, is_whole=is_whole)

    def _take(self, line: Line, *, is_whole: bool) -> None:
        message = line.message
        thinking = line.thinking if message is None else message.thinking
        text = line.response if message is None else message.content
        calls = (message.tool_calls if message is not None else None) or []
        if thinking:
            self._out.add_reasoning(thinking)
        if text:
            self._out.add_text(text)
        if calls:
            self._out.add_calls([self._call(call) for call in calls])
        if line.logprobs:
            self._out.add_logprobs(token_logprobs(Logprobs(content=line.logprobs)))
        if thinking or text or calls:
            self._out.count_event()
            self._characters += len(thinking or "") + len(text or "")
        if line.done:
            self._end(line, is_whole=is_whole)

    def _call(self, call: Call) -> ToolCallDelta:
        if not call.function.name:
            raise ProtocolViolation("a tool call without a name")
        index = self._calls
        self._calls += 1
        return ToolCallDelta(
            index=index,
            id=call.id or new_call_id(),
            name=call.function.name,
            arguments=written_arguments(call.function.arguments) or "{}",
        )

    def _end(self, line: Line, *, is_whole: bool) -> None:
        reason = line.done_reason or "stop"  # versions before 0.1.39 gave none
        if reason in _NO_ANSWER:
            raise UpstreamFault(f"the server ended the request with {reason!r} in place of an answer")
        if self._num_ctx is not None and (line.prompt_eval_count or 0) >= self._num_ctx:
            raise ContextTooLong(f"the server cut the prompt to its window of {self._num_ctx} tokens")
        self.done = True
        finish = FinishReason.STOP
        if reason == "length":
            finish = FinishReason.LENGTH
        elif self._calls:
            finish = FinishReason.TOOL_CALLS
        self._out.end(finish, None)
        self._out.usage = self._usage(line, is_whole=is_whole)
        self._out.timings = _timings(line)

    def _usage(self, line: Line, *, is_whole: bool) -> Usage:
        """A prompt that was in the cache is not counted by some versions: then its length is not known here."""
        given, output = last(None, line.prompt_eval_count), last(None, line.eval_count)
        if not output and self._out.total_events:
            seen = self._characters // _CHARS_PER_TOKEN if is_whole else 0
            return Usage(input=given or 0, output=max(seen, self._out.total_events), estimated=True)
        return Usage(input=given or 0, output=output or 0, estimated=given is None)


def _timings(line: Line) -> UpstreamTimings | None:
    """The time before a request reached a loaded model, in the queue too, is its `load_duration`."""
    if line.prompt_eval_duration is None and line.eval_duration is None:
        return None
    return UpstreamTimings(
        queue_s=_seconds(line.load_duration),
        prefill_s=_seconds(line.prompt_eval_duration),
        decode_s=_seconds(line.eval_duration),
    )


def _seconds(nanoseconds: Number | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / _NS
