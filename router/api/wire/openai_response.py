"""The JSON of an answer that is not streamed, and the pieces that streamed answers share with it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.contract import Chunk, FinishReason, ReasoningBlock, TokenLogprob, ToolCallDelta
from router.api.wire.openai_reasoning import extra_content, reasoning_detail
from router.api.wire.openai_report import Json, outcome_report
from router.api.wire.openai_request import Decoded
from router.dispatch.events import Finished, Routed, ServeEvent
from router.domain.decision import Candidate, Decision
from router.domain.outcome import Outcome, TokenUsage
from router.domain.request import StreamBreakAction
from router.errors import RouterError

_encode = msgspec.json.Encoder().encode


class _Call:
    """One tool call on its way to being complete."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.signature = ""
        self.arguments: list[str] = []

    def add(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.name or self.name
        self.signature = delta.signature or self.signature
        if delta.arguments:
            self.arguments.append(delta.arguments)

    def json(self) -> Json:
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        call: Json = {"id": self.id, "type": "function", "function": function}
        if self.signature:
            call["extra_content"] = extra_content(self.signature)
        return call


class WholeAnswer:
    """Gathers the events of a request that is not streamed.

    Attributes:
        candidate: who answers, once that is known.
    """

    __slots__ = (
        "_calls",
        "_decision",
        "_decoded",
        "_finish",
        "_finished",
        "_logprobs",
        "_reasoning",
        "_signed",
        "_text",
        "candidate",
    )

    def __init__(self, decoded: Decoded) -> None:
        self._decoded = decoded
        self.candidate: Candidate | None = None
        self._decision: Decision | None = None
        self._finished: Finished | None = None
        self._forget()

    def _forget(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._signed: list[ReasoningBlock] = []
        self._calls: dict[int, _Call] = {}
        self._logprobs: list[TokenLogprob] = []
        self._finish: FinishReason | None = None

    def take(self, event: ServeEvent) -> None:
        if isinstance(event, Chunk):
            self._add(event)
            return
        self.candidate = event.candidate
        if isinstance(event, Finished):
            self._finished = event
        elif isinstance(event, Routed):
            self._decision = event.decision
        elif event.resume is StreamBreakAction.RESTART:
            self._forget()

    def body(self, *, created: int) -> bytes:
        """The body of a 200 answer; `model` is the model that answered, which an alias or class leaves open."""
        finished, decoded = self._finished, self._decoded
        if finished is None:
            raise RouterError("the answer ended without an outcome")
        candidate, outcome = finished.candidate, finished.outcome
        reason = finish_reason(self._finish, outcome)
        report = outcome_report(outcome, candidate, self._decision, explain=decoded.profile.explain)
        if decoded.ignored:
            report["ignored"] = decoded.ignored
        return _encode(
            {
                "id": answer_id(decoded),
                "object": "chat.completion" if decoded.chat else "text_completion",
                "created": created,
                "model": candidate.model,
                "choices": [self._chat_choice(reason) if decoded.chat else self._completion_choice(reason)],
                "usage": usage_report(outcome.usage),
                "router": report,
            }
        )

    def _add(self, chunk: Chunk) -> None:
        if chunk.text:
            self._text.append(chunk.text)
        if chunk.reasoning:
            self._reasoning.append(chunk.reasoning)
        if chunk.signed:
            self._signed.extend(chunk.signed)
        for delta in chunk.tool_calls:
            call = self._calls.get(delta.index)
            if call is None:
                call = self._calls[delta.index] = _Call()
            call.add(delta)
        if chunk.logprobs:
            self._logprobs.extend(chunk.logprobs)
        if chunk.finish_reason is not None:
            self._finish = chunk.finish_reason

    def _chat_choice(self, finish_reason: str) -> Json:
        text = "".join(self._text)
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._signed:
            message["reasoning_details"] = [reasoning_detail(block, n) for n, block in enumerate(self._signed)]
        if self._calls:
            message["content"] = text or None
            message["tool_calls"] = [call.json() for _, call in sorted(self._calls.items())]
        logprobs = chat_logprobs(self._logprobs) if self._logprobs else None
        return {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}

    def _completion_choice(self, finish_reason: str) -> Json:
        logprobs = completion_logprobs(self._logprobs, 0)[0] if self._logprobs else None
        return {"index": 0, "text": "".join(self._text), "logprobs": logprobs, "finish_reason": finish_reason}


def answer_id(decoded: Decoded) -> str:
    return f"{'chatcmpl' if decoded.chat else 'cmpl'}-{decoded.profile.request_id}"


def finish_reason(seen: FinishReason | None, outcome: Outcome) -> str:
    """What the backend's last chunk said; the outcome's word where it said nothing."""
    return seen.value if seen is not None else outcome.finish_reason or FinishReason.STOP.value


def usage_report(usage: TokenUsage) -> Json:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write_input,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> Json:
    return {
        "content": [
            {
                "token": token.token,
                "logprob": token.logprob,
                "bytes": token.bytes,
                "top_logprobs": [{"token": t.token, "logprob": t.logprob, "bytes": t.bytes} for t in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> tuple[Json, int]:
    """The form of /v1/completions, and the offset in the text at which the next token starts."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    report: Json = {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{t.token: t.logprob for t in token.top} for token in tokens],
        "text_offset": offsets,
    }
    return report, offset
