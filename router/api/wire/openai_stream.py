"""The server-sent events of a streamed answer.

The parts of an event that stay the same for a whole stream are encoded once; a plain piece of text, which is nearly
every event, costs one encoding of a string and two concatenations. The finish reason is held back until the outcome is
known, so that the last three events leave together, and so that a stream that breaks at its very end does not look
complete.
"""

from __future__ import annotations

import msgspec

from backends.contract import Chunk, FinishReason, ToolCallDelta
from router.api.wire.openai_reasoning import extra_content, reasoning_detail
from router.api.wire.openai_report import Json, decision_report, outcome_report
from router.api.wire.openai_request import Decoded
from router.api.wire.openai_response import (
    answer_id,
    chat_logprobs,
    completion_logprobs,
    finish_reason,
    usage_report,
)
from router.dispatch.events import Finished, Rerouted, Routed, ServeEvent
from router.domain.decision import Candidate, Decision
from router.domain.request import StreamBreakAction
from router.errors import StreamBroken

_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


class StreamEncoder:
    """One per stream: events of the director in, bytes of the wire out.

    Attributes:
        candidate: who answers, once that is known.
        finished: the stream is complete.
    """

    __slots__ = (
        "_base",
        "_decision",
        "_decoded",
        "_finish",
        "_head",
        "_offset",
        "_signed",
        "_started",
        "_tail",
        "_text_head",
        "_text_tail",
        "candidate",
        "finished",
    )

    def __init__(self, decoded: Decoded, *, created: int) -> None:
        self.candidate: Candidate | None = None
        self.finished = False
        self._decoded = decoded
        self._decision: Decision | None = None
        self._finish: FinishReason | None = None
        self._started = False
        self._offset = 0
        self._signed = 0
        kind = "chat.completion.chunk" if decoded.chat else "text_completion"
        self._base = _encode({"id": answer_id(decoded), "object": kind, "created": created})[:-1] + b',"model":'
        # OpenAI sends a null with every event of a stream whose usage was asked for.
        self._tail = b'],"usage":null}\n\n' if decoded.include_usage else b"]}\n\n"
        self._head = b""
        self._text_head = b""
        self._text_tail = b""

    def encode(self, event: ServeEvent) -> bytes:
        """What one event adds to the stream; empty where it adds nothing yet.

        Raises:
            StreamBroken: another backend starts over after text was sent.
        """
        if isinstance(event, Chunk):
            data = self._chunk(event)
        elif isinstance(event, Finished):
            self.finished = True
            data = self._end(event)
        elif isinstance(event, Routed):
            self._decision = event.decision
            self._route(event.candidate)
            return b""
        else:
            self._route(event.candidate)
            return self._rerouted(event) if self._started else b""
        if data and not self._started:
            self._started = True
            return self._start() + data
        return data

    def _route(self, candidate: Candidate) -> None:
        """Names the model of what follows: an alias, a class or a second backend can change it."""
        self.candidate = candidate
        self._head = b"".join((b"data: ", self._base, _encode(candidate.model), b',"choices":['))
        delta = b'{"index":0,"delta":{"content":' if self._decoded.chat else b'{"index":0,"text":'
        self._text_head = self._head + delta
        brackets = b"}," if self._decoded.chat else b","
        self._text_tail = brackets + b'"logprobs":null,"finish_reason":null}' + self._tail

    def _start(self) -> bytes:
        """What precedes the first piece: the role, and the decision if it is to be explained."""
        report: Json = {}
        if self._decoded.profile.explain and self._decision is not None:
            report["decision"] = decision_report(self._decision)
        if self._decoded.ignored:
            report["ignored"] = self._decoded.ignored
        if not self._decoded.chat:
            nothing: Json = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
            return self._choice(nothing, report) if report else b""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return self._choice({"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}, report)

    def _chunk(self, chunk: Chunk) -> bytes:
        if chunk.finish_reason is not None:
            self._finish = chunk.finish_reason
        if not chunk.reasoning and not chunk.tool_calls and not chunk.logprobs and not chunk.signed:
            return self._text_head + _encode(chunk.text) + self._text_tail if chunk.text else b""
        if self._decoded.chat:
            return self._chat_chunk(chunk)
        return self._completion_chunk(chunk)

    def _rerouted(self, event: Rerouted) -> bytes:
        """A comment: SDKs skip it, and whoever reads the bytes learns why there was a pause."""
        if event.resume is StreamBreakAction.RESTART:
            raise StreamBroken("another backend would start over, and what was sent cannot be taken back")
        why = " ".join(f"{event.reason} {event.detail}".split())
        comment = f": rerouted from {event.from_backend} to {event.candidate.backend}: {why}\n\n"
        return comment.encode("utf-8", "replace")

    def _end(self, finished: Finished) -> bytes:
        """The last events: the finish reason with the router's report, the usage if it was asked for, the marker."""
        outcome = finished.outcome
        reason = finish_reason(self._finish, outcome)
        report = outcome_report(outcome, finished.candidate, self._decision, explain=False)
        choice: Json = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        if not self._decoded.chat:
            choice = {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}
        last = self._choice(choice, report)
        if self._decoded.include_usage:
            # The same event without a choice, and with the usage in place of the null.
            usage = b'],"usage":' + _encode(usage_report(outcome.usage)) + b"}\n\n"
            return b"".join((last, self._head, usage, _DONE))
        return last + _DONE

    def _choice(self, choice: Json, report: Json) -> bytes:
        if not report:
            return b"".join((self._head, _encode(choice), self._tail))
        return b"".join((self._head, _encode(choice), self._tail[:-3], b',"router":', _encode(report), b"}\n\n"))

    def _chat_chunk(self, chunk: Chunk) -> bytes:
        delta: Json = {}
        if chunk.reasoning:
            delta["reasoning_content"] = chunk.reasoning
        if chunk.signed:
            delta["reasoning_details"] = [reasoning_detail(b, self._signed + n) for n, b in enumerate(chunk.signed)]
            self._signed += len(chunk.signed)
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.tool_calls:
            delta["tool_calls"] = [_tool_call(call) for call in chunk.tool_calls]
        logprobs = chat_logprobs(chunk.logprobs) if chunk.logprobs else None
        return self._choice({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}, {})

    def _completion_chunk(self, chunk: Chunk) -> bytes:
        if not chunk.text and not chunk.logprobs:
            return b""  # that wire has no place for anything else
        logprobs = None
        if chunk.logprobs:
            logprobs, self._offset = completion_logprobs(chunk.logprobs, self._offset)
        return self._choice({"index": 0, "text": chunk.text, "logprobs": logprobs, "finish_reason": None}, {})


def _tool_call(delta: ToolCallDelta) -> Json:
    """A piece of a call; what comes once is left out of the later pieces, for SDKs add strings up."""
    function: Json = {"arguments": delta.arguments}
    if delta.name is not None:
        function["name"] = delta.name
    piece: Json = {"index": delta.index, "function": function}
    if delta.id is not None:
        piece["id"] = delta.id
        piece["type"] = "function"
    if delta.signature is not None:
        piece["extra_content"] = extra_content(delta.signature)
    return piece


def error_event(body: dict[str, object]) -> bytes:
    """An error inside a stream: nested, or the official SDK takes it for an empty chunk."""
    return b"".join((b"data: ", _encode(body), b"\n\n"))
