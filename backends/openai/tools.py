"""Puts tool calls together out of pieces that servers cut, number and name in their own ways.

By the book a piece belongs to the call at its `index`, and only the first piece has id and name. In the wild the index
restarts at 0 for every call, or is missing; the id is missing, or repeated in every piece; arguments are an object, or
null. What comes out is always by the book: indexes from 0 up, one id and one name per call, in its first piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from backends.call_ids import new_call_id
from backends.contract import ToolCallDelta
from backends.errors import ProtocolViolation
from backends.openai.wire import FunctionPart, ToolCallPart

MAX_CALLS = 1024
MAX_UNNAMED_CHARS = 1024 * 1024


@dataclass(slots=True)
class _Call:
    index: int
    upstream_id: str | None = None
    name: str = ""
    signature: str | None = None
    arguments: list[str] = field(default_factory=list)


class ToolCallAssembler:
    """State of one answer's calls. `count` is how many there are."""

    __slots__ = ("_by_index", "_calls", "_unnamed")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._unnamed = 0  # characters of arguments whose call has no name yet

    @property
    def count(self) -> int:
        return len(self._calls)

    def take(self, parts: list[ToolCallPart]) -> list[ToolCallDelta]:
        """The pieces to pass on for the pieces of one event. Raises ProtocolViolation for more than any answer has."""
        deltas: list[ToolCallDelta] = []
        for part in parts:
            function = part.function or FunctionPart()
            call = self._call_of(part, function)
            piece = _as_text(function.arguments)
            if piece:
                call.arguments.append(piece)
                if not call.name:
                    self._unnamed += len(piece)
                    if self._unnamed > MAX_UNNAMED_CHARS:
                        raise ProtocolViolation("arguments of a tool call without a name")
            proof = _signature(part) if call.signature is None else None
            call.signature = call.signature or proof
            if not call.name and function.name:
                # Now it can be announced, with whatever came before its name.
                call.name = function.name
                call_id = call.upstream_id or new_call_id()
                arguments = "".join(call.arguments)
                deltas.append(
                    ToolCallDelta(
                        index=call.index, id=call_id, name=call.name, arguments=arguments, signature=call.signature
                    )
                )
            elif call.name and (piece or proof):
                deltas.append(ToolCallDelta(index=call.index, arguments=piece, signature=proof))
        return deltas

    def finish(self, *, was_cut: bool) -> list[ToolCallDelta]:
        """The pieces that complete the calls: no arguments at all are the empty object.

        Unless the answer was cut at its token limit, for then nobody knows what the arguments would have been.

        Raises:
            ProtocolViolation: a call that was never named.
        """
        if was_cut:
            return []
        deltas: list[ToolCallDelta] = []
        for call in self._calls:
            if not call.name:
                raise ProtocolViolation("a tool call without a name")
            if not call.arguments:
                call.arguments.append("{}")
                deltas.append(ToolCallDelta(index=call.index, arguments="{}"))
        return deltas

    def _call_of(self, part: ToolCallPart, function: FunctionPart) -> _Call:
        known = self._known(part, function)
        if known is not None and not _begins_another(known, part, function):
            known.upstream_id = known.upstream_id or part.id or None
            return known
        if len(self._calls) >= MAX_CALLS:
            raise ProtocolViolation(f"more than {MAX_CALLS} tool calls")
        call = _Call(index=len(self._calls), upstream_id=part.id or None)
        self._calls.append(call)
        if part.index is not None:
            self._by_index[part.index] = call
        return call

    def _known(self, part: ToolCallPart, function: FunctionPart) -> _Call | None:
        if part.index is not None:
            return self._by_index.get(part.index)
        if part.id:
            return next((call for call in self._calls if call.upstream_id == part.id), None)
        return self._calls[-1] if self._calls and not function.name else None


def _signature(part: ToolCallPart) -> str | None:
    google = part.extra_content.google if part.extra_content is not None else None
    return google.thought_signature if google is not None else None


def _begins_another(known: _Call, part: ToolCallPart, function: FunctionPart) -> bool:
    """Whether a piece at a known index belongs to a new call, on a server that restarts its indexes."""
    if part.id and known.upstream_id:
        return part.id != known.upstream_id
    if not function.name or not known.name:
        return False
    return function.name != known.name or _is_whole("".join(known.arguments))


def _is_whole(arguments: str) -> bool:
    try:
        msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return False
    return True


def _as_text(arguments: str | dict[str, object] | list[object] | None) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None or arguments == [] else msgspec.json.encode(arguments).decode()
