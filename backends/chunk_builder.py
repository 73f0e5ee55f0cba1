"""Joins what one read brought into as few chunks as their order allows.

A chunk is read as reasoning, text, tool calls, end. A part that would come before one already there starts a new chunk.
Decoders keep parts of an answer until its end (thoughts that are signed last, arguments of calls), so an answer has a
bound, which no model comes near.
"""

from __future__ import annotations

from collections.abc import Iterable

from backends.contract import (
    Chunk,
    FinishReason,
    ReasoningBlock,
    TokenLogprob,
    ToolCallDelta,
    UpstreamTimings,
    Usage,
)
from backends.errors import ProtocolViolation

MAX_ANSWER_CHARS = 64 * 1024 * 1024
_CHARS_OF_A_CALL = 64  # what it takes beside its arguments

_REASONING, _TEXT, _CALLS, _END = range(4)


class ChunkBuilder:
    """Collects the parts of one read; `drain` hands out the chunks and starts over.

    Attributes:
        total_events: upstream events with output so far, over all reads.
        usage: counts to go out with the current chunk.
        timings: the engine's times to go out with the current chunk.
    """

    __slots__ = (
        "_calls",
        "_chunks",
        "_ended",
        "_events",
        "_finish",
        "_logprobs",
        "_place",
        "_reasoning",
        "_signed",
        "_size",
        "_stop_sequence",
        "_text",
        "timings",
        "total_events",
        "usage",
    )

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._place = _REASONING
        self._ended = False
        self._reasoning = ""
        self._signed: list[ReasoningBlock] = []
        self._text = ""
        self._calls: list[ToolCallDelta] = []
        self._logprobs: list[TokenLogprob] = []
        self._events = 0
        self._size = 0
        self._finish: FinishReason | None = None
        self._stop_sequence: str | None = None
        self.total_events = 0
        self.usage: Usage | None = None
        self.timings: UpstreamTimings | None = None

    def count_event(self) -> None:
        self._events += 1
        self.total_events += 1

    def add_reasoning(self, text: str) -> None:
        if self._place > _REASONING:
            self._flush()
        self._reasoning += text

    def add_signed(self, block: ReasoningBlock) -> None:
        """A reasoning block that has ended; its text was added before."""
        if self._place > _REASONING:
            self._flush()
        self._signed.append(block)

    def add_text(self, text: str) -> None:
        if self._place > _TEXT:
            self._flush()
        self._place = _TEXT
        self._text += text

    def add_calls(self, deltas: list[ToolCallDelta]) -> None:
        if not deltas:
            return
        if self._place > _CALLS:
            self._flush()
        self._place = _CALLS
        self._calls += deltas

    def add_logprobs(self, values: Iterable[TokenLogprob]) -> None:
        self._logprobs.extend(values)

    def end(self, reason: FinishReason, stop_sequence: str | None) -> None:
        self._place = _END
        self._ended = True
        self._finish = reason
        self._stop_sequence = stop_sequence

    def drain(self) -> list[Chunk]:
        """The chunks of this read, none if it brought nothing to pass on.

        Counts wait for the output that they are of: an answer that has only been counted can still be asked elsewhere.
        """
        has_counts = self.usage is not None or self.timings is not None
        has_begun = self._ended or self.total_events > 0
        if self._events or self._signed or self._finish is not None or (has_counts and has_begun):
            self._flush()
        chunks, self._chunks = self._chunks, []
        return chunks

    def hold(self, size: int) -> None:
        """Counts what the decoder keeps beside what it passes on.

        Raises:
            ProtocolViolation: the answer is larger than any.
        """
        self._size += size
        if self._size > MAX_ANSWER_CHARS:
            raise ProtocolViolation(f"an answer of more than {MAX_ANSWER_CHARS} characters")

    def _flush(self) -> None:
        size = len(self._text) + len(self._reasoning)
        if self._calls:
            size += sum(_CHARS_OF_A_CALL + len(call.arguments) for call in self._calls)
        self.hold(size)
        self._chunks.append(
            Chunk(
                text=self._text,
                reasoning=self._reasoning,
                tool_calls=tuple(self._calls),
                logprobs=tuple(self._logprobs),
                events=self._events,
                finish_reason=self._finish,
                stop_sequence=self._stop_sequence,
                usage=self.usage,
                timings=self.timings,
                signed=tuple(self._signed),
            )
        )
        self._place = _REASONING
        self._reasoning = self._text = ""
        self._signed.clear()
        self._calls.clear()
        self._logprobs.clear()
        self._events = 0
        self._finish = self._stop_sequence = self.usage = self.timings = None
