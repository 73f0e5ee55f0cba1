"""Stop sequences that are found on our side, for a server whose own way of stopping spoils the text.

What mlx-lm calls stopping takes the sequence out of the text and goes on, unless the model happened to write it in the
very tokens that spell it alone. So nothing is asked of such a server: the answer ends here, and the connection with it,
which frees the engine. The counts that the server would have sent at its own end are then missing, and are estimated.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.contract import Chunk, FinishReason, Usage
from backends.http.exchange import Decoder
from backends.text_guard import StopGuard


class StoppingDecoder:
    """A decoder around another, which ends where a stop sequence begins."""

    def __init__(self, inner: Decoder, stops: Sequence[str]) -> None:
        self._inner = inner
        self._guard = StopGuard(stops)
        self._events = 0

    @property
    def done(self) -> bool:
        return self._guard.found is not None or self._inner.done

    @property
    def ended(self) -> bool:
        return self._guard.found is not None or self._inner.ended

    def feed(self, data: bytes) -> list[Chunk]:
        """See `backends.http.exchange.Decoder`."""
        return self._cut(self._inner.feed(data))

    def close(self) -> list[Chunk]:
        """See `backends.http.exchange.Decoder`."""
        return [] if self._guard.found is not None else self._cut(self._inner.close())

    def whole(self, body: bytes) -> list[Chunk]:
        """See `backends.http.exchange.Decoder`."""
        return self._cut(self._inner.whole(body))

    def _cut(self, chunks: list[Chunk]) -> list[Chunk]:
        passed: list[Chunk] = []
        for chunk in chunks:
            self._events += chunk.events
            text = self._guard.feed(chunk.text)
            if self._guard.found is not None:
                passed.append(self._last(chunk, text, chunks))
                break
            if chunk.tool_calls or chunk.finish_reason is not None:
                text += self._guard.close()  # no more text can make a stop sequence of what was held back
            passed.append(chunk if text == chunk.text else msgspec.structs.replace(chunk, text=text))
        return passed

    def _last(self, chunk: Chunk, text: str, chunks: list[Chunk]) -> Chunk:
        counted = next((each.usage for each in reversed(chunks) if each.usage is not None), None)
        return msgspec.structs.replace(
            chunk,
            text=text,
            tool_calls=(),
            finish_reason=FinishReason.STOP,
            stop_sequence=self._guard.found,
            usage=counted or Usage(output=self._events, estimated=True),
        )
