"""What an emulated server sends: the events of a stream, or one body, in the form of vLLM and OpenAI."""

from __future__ import annotations

from typing import Any

from simulation.answer import CHARS_PER_TOKEN, Answer
from simulation.wire import Request, encode

FINGERPRINT = "emulated"
DONE = b"data: [DONE]\n\n"
LOGPROB = -0.125


class Writer:
    """Formats one answer. Text goes out one event per token, as engines do; tokens are numbered from 0."""

    def __init__(self, request: Request, answer: Answer, *, answer_id: str, created: int) -> None:
        self._request = request
        self._answer = answer
        self._id = answer_id
        self._created = created
        self._head = b"data: " + encode(self._envelope(streamed=True))[:-1] + b',"choices":[{"index":0,'
        usage = b',"usage":null' if request.include_usage else b""
        self._tail = b',"finish_reason":null}]' + usage + b"}\n\n"
        if not request.logprobs and not answer.tools:
            key = b'"delta":{"content":' if request.chat else b'"text":'
            self._text_head = self._head + key
            self._text_tail = (b'},"logprobs":null' if request.chat else b',"logprobs":null') + self._tail
        self._arguments_sent = 0

    def tokens(self, start: int, end: int) -> bytes:
        """The events of tokens `start` to `end`, which is not included."""
        if self._answer.tools:
            return self._tool_events(start, end)
        parts = [self._role()] if start == 0 and self._request.chat else []
        piece = self._answer.piece
        if self._request.logprobs:
            parts += [self._event(self._delta(piece(n)), self._logprobs(piece(n))) for n in range(start, end)]
        else:
            head, tail = self._text_head, self._text_tail
            parts += [head + encode(piece(n)) + tail for n in range(start, end)]
        return b"".join(parts)

    def ending(self) -> bytes:
        """The finish reason, the usage where it was asked for, and the terminal marker."""
        choice: dict[str, Any] = {"index": 0, **self._delta(None), "logprobs": None}
        choice |= {"finish_reason": self._answer.finish_reason, "stop_reason": self._answer.stop}
        last: dict[str, Any] = {**self._envelope(streamed=True), "choices": [choice]}
        if not self._request.include_usage:
            return b"data: " + encode(last) + b"\n\n" + DONE
        last["usage"] = None
        usage = {**self._envelope(streamed=True), "choices": [], "usage": self.usage()}
        return b"data: " + encode(last) + b"\n\ndata: " + encode(usage) + b"\n\n" + DONE

    def body(self) -> bytes:
        """The whole answer as one JSON object."""
        answer = self._answer
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": answer.finish_reason}
        choice["stop_reason"] = answer.stop
        if self._request.chat:
            message: dict[str, Any] = {"role": "assistant", "content": None if answer.tools else answer.text}
            if answer.tools:
                message["tool_calls"] = [
                    {"id": self._call_id(n), "type": "function", "function": {"name": t.name, "arguments": t.arguments}}
                    for n, t in enumerate(answer.tools)
                ]
            choice["message"] = message
        else:
            choice["text"] = answer.text
        if self._request.logprobs and not answer.tools:
            pieces = [answer.piece(n) for n in range(answer.tokens)]
            choice["logprobs"] = {"content": [self._logprob(piece) for piece in pieces]}
        return encode({**self._envelope(streamed=False), "choices": [choice], "usage": self.usage()})

    def usage(self) -> dict[str, int]:
        prompt, output = self._request.prompt_tokens, self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    def _tool_events(self, start: int, end: int) -> bytes:
        """One event for all that is due: name first, then the arguments as far as the tokens reach."""
        tool = self._answer.tools[0]
        parts = []
        if start == 0:
            parts.append(self._role())
            function = {"name": tool.name, "arguments": ""}
            opening = {"index": 0, "id": self._call_id(0), "type": "function", "function": function}
            parts.append(self._event(self._tool_delta(opening)))
        reach = max(0, end * CHARS_PER_TOKEN - len(tool.name))
        piece = (
            tool.arguments[self._arguments_sent :]
            if end >= self._answer.tokens
            else (tool.arguments[self._arguments_sent : reach])
        )
        if piece:
            self._arguments_sent += len(piece)
            parts.append(self._event(self._tool_delta({"index": 0, "function": {"arguments": piece}})))
        return b"".join(parts)

    def _role(self) -> bytes:
        return self._event({"delta": {"role": "assistant", "content": "" if not self._answer.tools else None}})

    def _event(self, content: dict[str, Any], logprobs: dict[str, Any] | None = None) -> bytes:
        return self._head + encode({**content, "logprobs": logprobs})[1:-1] + self._tail

    def _delta(self, text: str | None) -> dict[str, Any]:
        if not self._request.chat:
            return {"text": text or ""}
        return {"delta": {} if text is None else {"content": text}}

    def _tool_delta(self, call: dict[str, Any]) -> dict[str, Any]:
        return {"delta": {"tool_calls": [call]}}

    def _logprobs(self, piece: str) -> dict[str, Any]:
        return {"content": [self._logprob(piece)]}

    def _logprob(self, piece: str) -> dict[str, Any]:
        return {"token": piece, "logprob": LOGPROB, "bytes": list(piece.encode()), "top_logprobs": []}

    def _call_id(self, index: int) -> str:
        return f"call_{self._id[-16:]}{index}"

    def _envelope(self, *, streamed: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if streamed else "chat.completion") if self._request.chat else "text_completion"
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._request.model,
            "system_fingerprint": FINGERPRINT,
        }
