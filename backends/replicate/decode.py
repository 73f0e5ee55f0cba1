"""The stream of a prediction, decoded without I/O: plain text in events, over one connection or several.

The end is proven by the event `done`. What counts tokens and names the error of a prediction that failed is not in the
stream but in the prediction, so the end is put together from both.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from backends.chunk_builder import ChunkBuilder
from backends.contract import Chunk, FinishReason, UpstreamTimings, Usage
from backends.counts import last
from backends.errors import BackendError, ProtocolViolation, UpstreamFault
from backends.http.exchange import FailureReader
from backends.http.sse import Event, EventTooLarge, SseDecoder
from backends.replicate.wire import Prediction, decode_done

_CHARS_PER_TOKEN = 4
_FAILED = frozenset({"failed", "canceled", "aborted"})


class PredictionDecoder:
    """One prediction's stream.

    Attributes:
        done: its last event has come.
        last_id: of the event to go on after, b"" for the beginning.
    """

    def __init__(self, *, read_failure: FailureReader) -> None:
        self._read_failure = read_failure
        self._sse = SseDecoder()
        self._began_with = b""  # the first id of an earlier connection
        self._out = ChunkBuilder()
        self._characters = 0
        self._reason: str | None = None
        self.done = False
        self.last_id = b""

    @property
    def can_resume(self) -> bool:
        """Whether another connection can go on without saying anything twice."""
        return bool(self.last_id) or not self._out.total_events

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that one read makes, none for half an event.

        Raises:
            BackendError: a failure inside the stream, or a stream that does not go on where it stopped.
        """
        try:
            events = self._sse.feed(data)
        except EventTooLarge as error:
            raise ProtocolViolation(str(error)) from error
        self._take_ids()
        self._take(events)
        return self._out.drain()

    def interrupted(self) -> None:
        """The connection has ended. Half an event is forgotten: it comes again, whole, unless it was the last."""
        self._began_with = self._began_with or self._sse.first_id  # half an event may have half an id
        with suppress(ProtocolViolation):
            self._take([event for event in self._sse.close() if event[0] == b"done"])
        self._sse = SseDecoder()

    def finish(self, prediction: Prediction | None, *, max_tokens: int | None) -> list[Chunk]:
        """The end of the answer, with what the prediction says of itself, if that is known.

        Raises:
            BackendError: the prediction did not succeed.
        """
        status = prediction.status if prediction is not None else ""
        if self._reason or status in _FAILED:
            raise self._failure(self._reason or status, prediction)
        metrics = prediction.metrics if prediction is not None else None
        output = last(None, metrics.output_token_count) if metrics is not None else None
        tokens = None if metrics is None else last(None, metrics.input_token_count)
        self._out.usage = Usage(
            input=tokens or 0,
            output=output or max(self._out.total_events, self._characters // _CHARS_PER_TOKEN),
            estimated=tokens is None or not output,
        )
        is_cut = max_tokens is not None and output is not None and output >= max_tokens
        self._out.end(FinishReason.LENGTH if is_cut else FinishReason.STOP, None)
        self._out.timings = _timings(prediction)
        return self._out.drain()

    def _take_ids(self) -> None:
        if self._began_with and self._sse.first_id == self._began_with:
            raise ProtocolViolation("the stream began anew in place of going on")
        self.last_id = self._sse.last_id or self.last_id

    def _take(self, events: list[Event]) -> None:
        for name, data in events:
            if name == b"output":
                self._add_text(data)
            elif name == b"error":
                raise self._read_failure(data)
            elif name == b"done":
                self._reason = _reason(data)
                self.done = True
                return

    def _add_text(self, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise ProtocolViolation("an event that is not text") from error
        if text:
            self._out.add_text(text)
            self._out.count_event()
            self._characters += len(text)

    def _failure(self, status: str, prediction: Prediction | None) -> BackendError:
        error = prediction.error if prediction is not None else None
        if error:
            return self._read_failure(str(error).encode())
        return UpstreamFault(f"the prediction ended as {status[:40]!r}")


def _reason(data: bytes) -> str | None:
    try:
        return decode_done(data).reason
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation("an end of the stream that is not of this wire") from error


def _timings(prediction: Prediction | None) -> UpstreamTimings | None:
    """What passed before the model ran, a cold start included, is time in the queue."""
    metrics = prediction.metrics if prediction is not None else None
    if metrics is None or metrics.predict_time is None:
        return None
    first = metrics.time_to_first_token
    return UpstreamTimings(
        queue_s=None if metrics.total_time is None else max(0.0, metrics.total_time - metrics.predict_time),
        prefill_s=first,
        decode_s=None if first is None else max(0.0, metrics.predict_time - first),
    )
