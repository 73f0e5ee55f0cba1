"""A Converse stream, decoded without I/O: reads in, chunks out.

The end is proven by `messageStop`, which says why; `metadata` follows it with the usage, so the stream is read on until
then, but a body that ends in between is complete. Where no usage came, output is the number of events that had some.
A malformed output or tool call is the model's failure and is raised as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from backends.aws.bedrock.wire import Content, Event, Reasoning, TokenUsage, ToolUse, decode_event
from backends.aws.event_stream import EventStreamDecoder, Message
from backends.aws.failures import stream_failure
from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, ReasoningBlock, Usage
from backends.counts import last
from backends.errors import ProtocolViolation, UpstreamFault
from backends.http.exchange import FailureReader
from backends.json_text import read_json
from backends.openai.tools import ToolCallAssembler
from backends.openai.wire import FunctionPart, ToolCallPart
from backends.raw_json import written_arguments

_FINISH = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
}
_FAILED = "malformed_"
_CHARS_PER_TOKEN = 4
_CHARS_OF_A_BLOCK = 64


@dataclass(slots=True)
class _Thought:
    """A block of reasoning that has begun. Its text is kept for the signature, which comes last."""

    text: list[str] = field(default_factory=list)
    signature: str = ""
    redacted: str = ""

    def block(self) -> ReasoningBlock | None:
        """None for one that nobody signed: its text is all there is, and was passed on."""
        if self.redacted:
            return ReasoningBlock(signature=self.redacted, redacted=True)
        return ReasoningBlock(text="".join(self.text), signature=self.signature) if self.signature else None


class ConverseDecoder:
    """One answer. After `done` nothing more needs to be read; `ended` says that its end is proven."""

    def __init__(self, *, read_failure: FailureReader) -> None:
        self._read_failure = read_failure
        self._frames = EventStreamDecoder()
        self._tools = ToolCallAssembler()
        self._foreign_blocks: set[int] = set()  # calls of tools that run at the service
        self._thought: _Thought | None = None
        self._out = ChunkBuilder()
        self._has_usage = False
        self.ended = False
        self.done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes.

        Raises:
            BackendError: an exception inside the stream, or bytes that are no stream. What the same read brought before
                it is not delivered, so that a stream that fails in its first read can be tried elsewhere.
        """
        for message in self._frames.feed(data):
            if message.kind != "event":
                raise stream_failure(message, self._read_failure)
            self._take(message)
            if self.done:
                break
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """The body has ended.

        Raises:
            ProtocolViolation: before the answer did.
        """
        if not self.ended:
            raise ProtocolViolation("the stream ended before the answer did")
        self._complete()
        return self._out.drain()

    def whole(self, body: bytes) -> list[Chunk]:
        """An answer of Converse without a stream."""
        answer = _decode(body)
        if answer.output is None or answer.output.message is None or answer.stop_reason is None:
            raise ProtocolViolation("a JSON answer that is none of Converse")
        for index, content in enumerate(answer.output.message.content or ()):
            self._take_content(index, content)
            self._end_block()
        self._end(answer)
        if answer.usage is not None:
            self._count(answer.usage)
        characters = sum(len(content.text or "") for content in answer.output.message.content or ())
        self._complete(estimate=characters // _CHARS_PER_TOKEN)
        return self._out.drain()

    def _take(self, message: Message) -> None:
        match message.name:
            case "contentBlockStart":
                event = _decode(message.payload)
                if event.start is not None and event.start.tool_use is not None:
                    self._take_call(event.content_block_index, event.start.tool_use)
            case "contentBlockDelta":
                event = _decode(message.payload)
                if event.delta is not None:
                    self._take_content(event.content_block_index, event.delta)
            case "contentBlockStop":
                self._end_block()
            case "messageStop":
                self._end(_decode(message.payload))
            case "metadata":
                usage = _decode(message.payload).usage
                if usage is not None:
                    self._count(usage)
                if self.ended:
                    self._complete()
            case _:
                pass  # messageStart says nothing; what is new is not read

    def _take_content(self, index: int, content: Content) -> None:
        if content.text:
            self._say(content.text)
        for cited in (content.citations_content.content or ()) if content.citations_content is not None else ():
            self._say(cited.text)
        if content.reasoning_content is not None:
            self._think(content.reasoning_content)
        if content.tool_use is not None:
            self._take_call(index, content.tool_use)

    def _say(self, text: str) -> None:
        self._out.add_text(text)
        self._out.count_event()

    def _think(self, piece: Reasoning) -> None:
        thought = self._thought = self._thought or _Thought()
        text, signature = piece.text, piece.signature
        if piece.reasoning_text is not None:
            text, signature = piece.reasoning_text.text, piece.reasoning_text.signature
        if text:
            thought.text.append(text)
            self._out.add_reasoning(text)
            self._out.count_event()
        self._out.hold(len(signature or "") + len(piece.redacted_content or ""))
        thought.signature += signature or ""
        thought.redacted += piece.redacted_content or ""

    def _take_call(self, index: int, call: ToolUse) -> None:
        if call.type == "server_tool_use":
            self._out.hold(_CHARS_OF_A_BLOCK)
            self._foreign_blocks.add(index)
        if index in self._foreign_blocks:
            return
        # A piece of the arguments is a string; in a whole answer they are an object.
        function = FunctionPart(name=call.name, arguments=written_arguments(call.input))
        self._out.add_calls(self._tools.take([ToolCallPart(index=index, id=call.tool_use_id, function=function)]))
        self._out.count_event()

    def _end_block(self) -> None:
        block = self._thought.block() if self._thought is not None else None
        self._thought = None
        if block is not None:
            self._out.add_signed(block)

    def _end(self, event: Event) -> None:
        if self.ended:
            return
        self._end_block()
        reason = event.stop_reason or ""
        if reason.startswith(_FAILED):
            raise UpstreamFault(f"the model ended the answer with {reason!r}")
        # A word nobody has seen yet still says that the answer is complete.
        finish = _FINISH.get(reason, FinishReason.STOP)
        self._out.add_calls(self._tools.finish(was_cut=finish is FinishReason.LENGTH))
        fields = event.additional_model_response_fields
        stop = fields.get("stop_sequence") if isinstance(fields, dict) else None
        self._out.end(finish, stop if isinstance(stop, str) else None)
        self.ended = True

    def _count(self, usage: TokenUsage) -> None:
        cached = last(None, usage.cache_read_input_tokens) or 0
        written = last(None, usage.cache_write_input_tokens) or 0
        output = last(None, usage.output_tokens)
        self._has_usage = output is not None
        self._out.usage = Usage(
            input=(last(None, usage.input_tokens) or 0) + cached + written,
            cached_input=cached,
            cache_write_input=written,
            output=output or 0,
        )

    def _complete(self, *, estimate: int = 0) -> None:
        if not self.done and not self._has_usage:
            self._out.usage = Usage(output=max(estimate, self._out.total_events), estimated=True)
        self.done = True


def _decode(payload: bytes) -> Event:
    try:
        return read_json(decode_event, payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolViolation(f"an event that is not of this wire: {error}") from error
