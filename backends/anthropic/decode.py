"""The Messages stream, decoded without I/O: reads in, chunks out.

Only `message_stop` proves the end, so the finish reason, which comes before it, is kept back until then: a chunk that
has one is the last word. What the caller cannot use is let pass, as the vendor asks of its clients: unknown events,
blocks of tools that run at the vendor with their results, citations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from backends.anthropic.usage import UsageMeter
from backends.anthropic.wire import (
    Block,
    Delta,
    Event,
    decode_block,
    decode_event,
    decode_typed,
    decode_types,
    decode_whole,
)
from backends.call_ids import new_call_id
from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, ReasoningBlock, ToolCallDelta
from backends.errors import BackendError, ProtocolViolation
from backends.http.sse import Event as SseEvent
from backends.http.sse import EventTooLarge, SseDecoder
from backends.json_text import read_json
from backends.raw_json import as_text

_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_READ_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)
_READ_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_READ_DELTAS = frozenset({"text_delta", "thinking_delta", "signature_delta", "input_json_delta"})
_MAX_OPEN_BLOCKS = 64
_CHARS_PER_TOKEN = 4

FailureReader = Callable[[bytes], BackendError]


@dataclass(slots=True)
class _Open:
    """A block that has begun. `call` is its number among the tool calls; thinking is kept to be given back signed."""

    call: int = -1
    thinking: list[str] = field(default_factory=list)
    signature: str = ""


class MessagesDecoder:
    """One answer. After `done` nothing more needs to be read."""

    def __init__(self, *, read_failure: FailureReader) -> None:
        self._read_failure = read_failure
        self._sse = SseDecoder()
        self._meter = UsageMeter()
        self._out = ChunkBuilder()
        self._blocks: dict[int, _Open] = {}
        self._has_arguments: list[bool] = []  # of each tool call
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._has_told_input = False
        self.done = False

    @property
    def ended(self) -> bool:
        return self.done

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes. Raises what `backends.http.exchange.Decoder` says."""
        try:
            events = self._sse.feed(data)
        except EventTooLarge as error:
            raise ProtocolViolation(str(error)) from error
        self._take_events(events)
        return self._drain()

    def close(self) -> list[Chunk]:
        """The body has ended. Raises ProtocolViolation if it did before the answer had."""
        if not self.done:
            self._take_events(self._sse.close())
        if not self.done:
            raise ProtocolViolation("the stream ended before the answer did")
        return self._drain()

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer that came as one JSON document although a stream was asked for."""
        try:
            answer = decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"not an answer of this wire: {error}") from error
        if answer.type == "error" or answer.error:
            raise self._read_failure(body)
        if answer.content is None:
            raise ProtocolViolation("a JSON answer without content")
        characters = 0
        for index, raw in enumerate(answer.content):
            try:
                if decode_typed(raw).type not in _READ_BLOCKS:
                    continue
                block = decode_block(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolViolation(f"not a block of this wire: {error}") from error
            characters += len(block.text or block.thinking or "")
            self._begin(index, block)
            self._end_block(index)
        if answer.usage is not None:
            self._meter.take(answer.usage)
        self._stop_reason, self._stop_sequence = answer.stop_reason, answer.stop_sequence
        self._complete(estimate=characters // _CHARS_PER_TOKEN)
        return self._out.drain()

    def _drain(self) -> list[Chunk]:
        """With the input's count in the first chunk that has output: a caller that leaves early pays for it too."""
        if not self._has_told_input and self._out.total_events and self._meter.is_begun:
            self._has_told_input = True
            self._out.usage = self._out.usage or self._meter.usage()
        return self._out.drain()

    def _take_events(self, events: list[SseEvent]) -> None:
        for name, payload in events:
            event = self._decode(name, payload)
            if event is not None:
                self._take_event(event)
            if self.done:
                return

    def _decode(self, name: bytes, payload: bytes) -> Event | None:
        try:
            event = read_json(decode_event, payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if name == b"error":
                raise self._read_failure(payload) from error
            if not payload.strip() or payload.strip() == b"[DONE]" or _is_unknown(payload):
                return None
            raise ProtocolViolation(f"an event that is not of this wire: {error}") from error
        if event.type == "error" or name == b"error" or event.error:
            raise self._read_failure(payload)
        return event

    def _take_event(self, event: Event) -> None:
        match event.type:
            case "content_block_delta":
                if event.delta is not None:
                    self._take_delta(event.index, event.delta)
            case "content_block_start":
                if event.content_block is not None:
                    self._begin(event.index, event.content_block)
            case "content_block_stop":
                self._end_block(event.index)
            case "message_start":
                if event.message is not None and event.message.usage is not None:
                    self._meter.take(event.message.usage)
            case "message_delta":
                if event.usage is not None:
                    self._meter.take(event.usage)
                if event.delta is not None and event.delta.stop_reason is not None:
                    self._stop_reason, self._stop_sequence = event.delta.stop_reason, event.delta.stop_sequence
            case "message_stop":
                self._complete()

    def _begin(self, index: int, block: Block) -> None:
        opened = _Open()
        if len(self._blocks) >= _MAX_OPEN_BLOCKS:
            raise ProtocolViolation(f"more than {_MAX_OPEN_BLOCKS} blocks that do not end")
        self._blocks[index] = opened
        match block.type:
            case "text":
                self._say(block.text)
            case "thinking":
                self._think(opened, block.thinking)
                opened.signature = block.signature or ""
            case "redacted_thinking":
                if block.data:
                    self._out.add_signed(ReasoningBlock(signature=block.data, redacted=True))
            case "tool_use":
                opened.call = len(self._has_arguments)
                # Engines that know the whole call at once may put it here instead of in pieces.
                arguments = block.input or ""
                if not isinstance(arguments, str):
                    arguments = as_text(msgspec.json.encode(arguments))
                self._has_arguments.append(bool(arguments))
                delta = ToolCallDelta(
                    index=opened.call, id=block.id or new_call_id(), name=block.name or "", arguments=arguments
                )
                if not delta.name:
                    raise ProtocolViolation("a tool call without a name")
                self._out.add_calls([delta])
                self._out.count_event()

    def _take_delta(self, index: int, delta: Delta) -> None:
        opened = self._blocks.get(index)
        match delta.type:
            case "text_delta":
                self._say(delta.text)
            case "thinking_delta":
                self._think(opened, delta.thinking)
            case "signature_delta":
                if opened is not None:
                    opened.signature = delta.signature or ""
            case "input_json_delta":
                # Pieces of other blocks are the inputs of tools that run at the vendor.
                if opened is not None and opened.call >= 0 and delta.partial_json:
                    self._has_arguments[opened.call] = True
                    self._out.add_calls([ToolCallDelta(index=opened.call, arguments=delta.partial_json)])
                    self._out.count_event()

    def _end_block(self, index: int) -> None:
        opened = self._blocks.pop(index, None)
        if opened is not None and opened.signature:
            self._out.add_signed(ReasoningBlock(text="".join(opened.thinking), signature=opened.signature))

    def _say(self, text: str | None) -> None:
        if text:
            self._out.add_text(text)
            self._out.count_event()

    def _think(self, opened: _Open | None, text: str | None) -> None:
        if text:
            if opened is not None:
                opened.thinking.append(text)
            self._out.add_reasoning(text)
            self._out.count_event()

    def _complete(self, *, estimate: int = 0) -> None:
        """The end is here: add what is owed with it."""
        self.done = True
        events = self._out.total_events
        if self._stop_reason is None and not events and not self._meter.is_credible(0):
            raise ProtocolViolation("a stream without an answer")
        reason = FinishReason.TOOL_CALLS if self._has_arguments else FinishReason.STOP
        if self._stop_reason is not None:
            # A word nobody has seen yet still says that the answer is complete.
            reason = _FINISH.get(self._stop_reason, FinishReason.STOP)
        if reason is not FinishReason.LENGTH:  # of a call that was cut nobody knows what its arguments would have been
            empty = [number for number, has_some in enumerate(self._has_arguments) if not has_some]
            self._out.add_calls([ToolCallDelta(index=number, arguments="{}") for number in empty])
        self._out.end(reason, self._stop_sequence)
        is_counted = self._meter.is_credible(events)
        self._out.usage = self._meter.usage(estimate=None if is_counted else max(estimate, events))


def _is_unknown(payload: bytes) -> bool:
    """Whether it is an event, or has a part, of a kind that is not read: its fields may have any form."""
    try:
        kind = decode_typed(payload).type
        if kind not in _READ_EVENTS:
            return bool(kind)
        event = decode_types(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if event.content_block is not None:
        return event.content_block.type not in _READ_BLOCKS
    return event.delta is not None and bool(event.delta.type) and event.delta.type not in _READ_DELTAS
