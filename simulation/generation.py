"""One answer on its way: from the engine's progress to bytes on the connection."""

from __future__ import annotations

from collections.abc import Callable

from simulation.answer import Answer
from simulation.engine import Sequence
from simulation.events import Writer
from simulation.http import Exchange

ABORTED = "abort"  # the client left
BROKEN = "error"  # cut on purpose, a fault that was asked for


class Generation:
    """Sends tokens as they fall due, or the whole answer at its end when the client does not stream.

    A client that reads slowly is sent nothing until it has read what it has; the tokens due meanwhile follow together,
    so it holds no memory here.

    Attributes:
        sequence: its place in the engine.
        request_id: the caller's, echoed.
    """

    def __init__(
        self,
        exchange: Exchange,
        writer: Writer,
        *,
        model: str,
        prompt_tokens: int,
        stream: bool,
        answer: Answer,
        break_after: Callable[[], int | None],
        ended: Callable[[Generation, str], None],
    ) -> None:
        self.request_id = exchange.headers.get("x-request-id", "")
        self.sequence = Sequence(
            model=model, prompt_tokens=prompt_tokens, output_tokens=answer.tokens, deliver=self._deliver
        )
        self._exchange = exchange
        self._writer = writer
        self._stream = stream
        self._reason = answer.finish_reason
        self._break_after = break_after
        self._ended = ended
        self._sent = 0
        self._headers = {"x_request_id": self.request_id} if self.request_id else {}
        exchange.on_gone = self._gone
        exchange.on_writable = self._writable

    def _deliver(self, sequence: Sequence) -> None:
        if self._exchange.done:
            return
        if self._stream:
            self._send(sequence)
        elif sequence.finished:
            self._exchange.respond(200, self._writer.body(), **self._headers)
            self._ended(self, self._reason)

    def _send(self, sequence: Sequence) -> None:
        if not self._exchange.writable:
            return
        if self._sent == 0:
            self._exchange.start_stream(**self._headers)
        limit = self._break_after()
        if limit is not None and sequence.generated >= limit:
            self._exchange.send(self._writer.tokens(self._sent, max(self._sent, limit)))
            self._exchange.break_off()
            self._ended(self, BROKEN)
            return
        data = self._writer.tokens(self._sent, sequence.generated)
        self._sent = sequence.generated
        if sequence.finished:
            self._exchange.end_stream(data + self._writer.ending())
            self._ended(self, self._reason)
        else:
            self._exchange.send(data)

    def _writable(self) -> None:
        if self.sequence.generated > self._sent:
            self._deliver(self.sequence)

    def _gone(self) -> None:
        self._ended(self, ABORTED)
