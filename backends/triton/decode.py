"""The answers of a stream, decoded without I/O.

The end is proven by the parameter `triton_final_response`; a stream that ends without it is broken. The vllm backend
says why it ended and counts tokens, piece by piece, so counts are added up here and nowhere else. The tensorrtllm
backend says neither: pieces are counted as tokens, and as many of them as were allowed is taken for "length".
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, TokenLogprob, Usage
from backends.errors import BackendError, ProtocolViolation, UpstreamFault
from backends.failures.rules import FailureRules
from backends.rpc.failures import from_message
from backends.text_guard import EchoGuard, StopGuard
from backends.triton.dialects import TritonDialect
from backends.triton.shape import ModelShape
from backends.triton.tensors import first_values
from backends.triton.v2 import inference_pb2 as pb

_FINAL = "triton_final_response"
_FINISH = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_NOT_YET = frozenset({"", "None", "null", "not_finished"})
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of an answer before it comes.

    Attributes:
        request_id: answers to another are not ours.
        max_tokens: the limit that was sent.
        stops: sequences the caller asked for; `end_of_turn` is the template's own.
        echoes: what may stand before the answer; empty where the server was told to leave it out.
        is_cumulative: each piece repeats the text so far.
        top_logprobs: how many of the likeliest tokens were asked for.
        secret: masked in what the server says.
    """

    request_id: str
    max_tokens: int
    stops: tuple[str, ...] = ()
    end_of_turn: str = ""
    echoes: tuple[str, ...] = ()
    is_cumulative: bool = False
    top_logprobs: int = 0
    secret: str | None = None


class _Logprob(msgspec.Struct):
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


_decode_logprobs = msgspec.json.Decoder(list[dict[str, _Logprob] | None] | None).decode


class TritonDecoder:
    """One answer. After `done` nothing more is read; `is_cut` where the server is still speaking."""

    def __init__(self, shape: ModelShape, dialect: TritonDialect, expected: Expected) -> None:
        self._rules: FailureRules = dialect.failures
        self._expected = expected
        self._names = {role: name for role in dialect.outputs if (name := shape.output(dialect.outputs, role))}
        self._wanted = frozenset(self._names.values())
        stops = () if dialect.trims_stop else (*expected.stops, expected.end_of_turn)
        self._stop = StopGuard(stops)
        self._echo = EchoGuard(expected.echoes)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._so_far = ""
        self._pieces = 0
        self._empty_pieces = 0  # at the end
        self._input: int | None = None
        self._output: int | None = None
        self._finish: FinishReason | None = None
        self._out = ChunkBuilder()
        self.done = False
        self.is_cut = False

    def feed(self, message: pb.ModelStreamInferResponse) -> list[Chunk]:
        """The chunks of one answer.

        Raises:
            BackendError: a failure inside the stream, or what is not of this wire.
        """
        if message.error_message:
            raise self._failure(message.error_message)
        answer = message.infer_response
        if answer.id and answer.id != self._expected.request_id:
            return []
        if answer.outputs:
            self._take(first_values(answer, self._wanted))
        if _FINAL in answer.parameters and answer.parameters[_FINAL].bool_param:
            self.is_cut = False
            if not self.done:
                self._complete()
        return self._out.drain()

    def close(self) -> list[Chunk]:
        """The call is over. Raises ProtocolViolation: nothing said that the answer is."""
        raise ProtocolViolation("the stream ended before the answer did")

    def _failure(self, message: str) -> BackendError:
        return from_message(message, rules=self._rules, secret=self._expected.secret)

    def _take(self, values: dict[str, Any]) -> None:
        found = {role: values[name] for role, name in self._names.items() if name in values}
        self._count(found)
        text = found.get("text")
        if isinstance(text, bytes):
            self._take_text(self._new_text(text))
        self._take_logprobs(found.get("logprobs"))
        reason = found.get("finish_reason")
        if isinstance(reason, bytes) and (word := reason.decode("utf-8", "replace")) not in _NOT_YET:
            if word not in _FINISH:
                raise UpstreamFault(f"the engine ended the answer with {word!r}")
            self._finish = _FINISH[word]

    def _count(self, found: dict[str, Any]) -> None:
        before, given = found.get("input_tokens"), found.get("output_tokens")
        if isinstance(before, int) and before:
            self._input = before
        if isinstance(given, int):
            self._output = given if self._expected.is_cumulative else (self._output or 0) + given

    def _new_text(self, raw: bytes) -> str:
        if not self._expected.is_cumulative:
            return self._utf8.decode(raw)
        # The end of a character that is not complete yet shows as a replacement, until it is.
        text = raw.decode("utf-8", "replace").rstrip(_REPLACEMENT)
        new = text[len(self._so_far) :]
        self._so_far = text if new else self._so_far
        return new

    def _take_text(self, text: str) -> None:
        self._pieces += 1
        self._empty_pieces = 0 if text else self._empty_pieces + 1
        shown = self._stop.feed(self._echo.feed(text))
        if shown:
            self._out.add_text(shown)
        if text:
            self._out.count_event()
        if self._stop.found is not None:
            self._end(FinishReason.STOP)
            self.is_cut = True

    def _take_logprobs(self, raw: object) -> None:
        if not isinstance(raw, bytes):
            return
        try:
            positions = _decode_logprobs(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"log-probabilities that cannot be read: {error}") from error
        wanted = self._expected.top_logprobs
        self._out.add_logprobs(_logprob(list(position.values()), wanted) for position in positions or () if position)

    def _complete(self) -> None:
        if not self._pieces:
            raise ProtocolViolation("a stream without an answer")
        tail = self._echo.feed(self._utf8.decode(b"", final=True)) + self._echo.close()
        if rest := self._stop.feed(tail) + self._stop.close():
            self._out.add_text(rest)
        counted = self._pieces - self._empty_pieces if self._output is None else self._output
        was_cut = counted >= self._expected.max_tokens
        self._end(self._finish or (FinishReason.LENGTH if was_cut else FinishReason.STOP))

    def _end(self, reason: FinishReason) -> None:
        self.done = True
        found = self._stop.found
        self._out.usage = Usage(
            input=self._input or 0,
            output=self._output or self._out.total_events,
            estimated=self._input is None or self._output is None,
        )
        self._out.end(reason, found if found in self._expected.stops else None)


def _logprob(found: Sequence[_Logprob], wanted: int) -> TokenLogprob:
    """The token that was chosen comes first; then the likeliest, of which it may be one."""
    ranked = sorted((entry for entry in found if entry.rank is not None), key=lambda entry: entry.rank or 0)
    return TokenLogprob(
        token=found[0].decoded_token or "", logprob=found[0].logprob, top=tuple(map(_top, ranked[:wanted]))
    )


def _top(entry: _Logprob) -> TokenLogprob:
    return TokenLogprob(token=entry.decoded_token or "", logprob=entry.logprob)
