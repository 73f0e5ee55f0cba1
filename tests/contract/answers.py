"""Chunks of one answer, put together as a caller would."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.contract import Chunk, Message, ToolCall, Usage


class Answer:
    """One whole answer."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.text = "".join(chunk.text for chunk in chunks)
        self.reasoning = "".join(chunk.reasoning for chunk in chunks)
        self.signed = tuple(block for chunk in chunks for block in chunk.signed)
        self.finish = [chunk.finish_reason for chunk in chunks if chunk.finish_reason is not None]
        self.stop_sequence = next((chunk.stop_sequence for chunk in chunks if chunk.stop_sequence), None)
        self.events = sum(chunk.events for chunk in chunks)
        self.usage: Usage = [chunk.usage for chunk in chunks if chunk.usage is not None][-1]
        calls: dict[int, ToolCall] = {}
        for delta in (delta for chunk in chunks for delta in chunk.tool_calls):
            call = calls.setdefault(delta.index, ToolCall(id=delta.id or "", name=delta.name or "", arguments=""))
            calls[delta.index] = msgspec.structs.replace(call, arguments=call.arguments + delta.arguments)
        self.calls = tuple(calls.values())

    def as_message(self) -> Message:
        """As it goes back with the next turn."""
        return Message(role="assistant", content=self.text, tool_calls=self.calls, reasoning=self.signed)
