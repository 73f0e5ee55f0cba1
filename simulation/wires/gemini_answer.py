"""What an emulated model of Google's says, as the events of a stream or in one response."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from simulation.answer import CHARS_PER_TOKEN, Answer, count_tokens
from simulation.wire import encode
from simulation.wires.gemini_request import SIGNATURE, Request
from simulation.wires.serving import Piece

THOUGHT = "Emulated thinking: no model has run."
TOKENS_PER_EVENT = 4
LOGPROB = -0.125
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


class AnswerWriter:
    """Formats one answer. Every event is a whole response, with counts of all that has come so far.

    Args:
        finish: the finish reason to give in place of the answer's own.
        blocks: the prompt is refused, and there is no candidate.
    """

    def __init__(
        self, request: Request, answer: Answer, *, serial: int, finish: str = "", blocks: bool = False
    ) -> None:
        self._request = request
        self._answer = answer
        self._id = f"emulated{serial:08x}"
        self._finish = finish or _FINISH[answer.finish_reason]
        self._blocks = blocks
        self._thoughts = count_tokens(len(THOUGHT)) if request.thinks else 0

    def pieces(self) -> list[Piece]:
        """The whole stream."""
        return [
            Piece(b"data: " + encode(response) + b"\r\n\r\n", is_output=bool(response.get("candidates")))
            for response in self.responses()
        ]

    def responses(self) -> Iterator[dict[str, Any]]:
        """The responses of a stream."""
        if self._blocks:
            yield {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **self._tail(None)}
            return
        if self._request.thinks and self._request.shows_thinking:
            yield self._response([{"text": THOUGHT, "thought": True}], 0)
        if self._answer.tools:
            # A call that was cut is none, and the last word comes alone.
            calls = self._calls() if self._answer.finish_reason == "tool_calls" else []
            if calls:
                yield self._response(calls, self._answer.tokens)
            yield self._response([{"text": ""}], self._answer.tokens, finish=self._finish)
            return
        for start in range(0, self._answer.tokens, TOKENS_PER_EVENT):
            end = min(start + TOKENS_PER_EVENT, self._answer.tokens)
            is_last = end == self._answer.tokens
            finish = self._finish if is_last and self._request.older else ""
            yield self._response([{"text": self._text(start, end)}], end, finish, start=start)
        if not self._request.older:
            signed = [{"text": "", "thoughtSignature": SIGNATURE}]
            yield self._response(signed, self._answer.tokens, finish=self._finish)

    def body(self) -> dict[str, Any]:
        """The answer in one response."""
        if self._blocks:
            return next(self.responses())
        parts: list[dict[str, Any]] = []
        if self._request.thinks and self._request.shows_thinking:
            parts.append({"text": THOUGHT, "thought": True})
        if self._answer.tools:
            parts += self._calls() if self._answer.finish_reason == "tool_calls" else []
        else:
            text: dict[str, Any] = {"text": self._answer.text}
            parts.append(text if self._request.older else {**text, "thoughtSignature": SIGNATURE})
        return self._response(parts, self._answer.tokens, finish=self._finish, start=0)

    def _text(self, start: int, end: int) -> str:
        return self._answer.text[start * CHARS_PER_TOKEN : end * CHARS_PER_TOKEN]

    def _calls(self) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for number, tool in enumerate(self._answer.tools):
            call: dict[str, Any] = {"name": tool.name, "args": json.loads(tool.arguments)}
            if self._request.older:
                parts.append({"functionCall": call})
                continue
            part: dict[str, Any] = {"functionCall": {**call, "id": f"{self._id[-6:]}{number:02x}"}}
            parts.append({**part, "thoughtSignature": SIGNATURE} if number == 0 else part)
        return parts

    def _response(
        self, parts: list[dict[str, Any]], tokens: int, finish: str = "", *, start: int | None = None
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        if self._request.logprobs and start is not None:
            chosen = [self._logprob(n) for n in range(start, tokens)]
            candidate["logprobsResult"] = {
                "chosenCandidates": chosen,
                "topCandidates": [{"candidates": [one]} for one in chosen],
            }
        return {"candidates": [candidate], **self._tail(tokens)}

    def _logprob(self, token: int) -> dict[str, Any]:
        return {"token": self._text(token, token + 1), "tokenId": token, "logProbability": LOGPROB}

    def _tail(self, tokens: int | None) -> dict[str, Any]:
        """Counts that are zero are left out, as its JSON leaves out whatever is."""
        prompt = self._request.prompt_tokens
        thoughts = self._thoughts if tokens is not None else 0
        counts = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": tokens or 0,
            "totalTokenCount": prompt + (tokens or 0) + thoughts,
            "thoughtsTokenCount": thoughts,
        }
        usage: dict[str, Any] = {name: count for name, count in counts.items() if count}
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
        return {"usageMetadata": usage, "modelVersion": self._request.model, "responseId": self._id}
