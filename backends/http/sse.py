"""Server-sent events, decoded without I/O: bytes in, events out, the same however the bytes were cut.

Follows the WHATWG event-stream format with two differences that model servers need: an event that the end of the stream
leaves without its blank line still counts (some servers close right after the last line), and `retry` is ignored
because nobody waits for long. Line ends are normalised to LF on the way in, so CRLF costs one replace per read, and
the usual event of one `data:` line costs its share of one split.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"

Event = tuple[bytes, bytes]
"""Name (empty for most) and data."""


class EventTooLarge(ValueError):
    """One event outgrew the cap: not a stream of tokens, or an attack."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event of more than {limit} bytes")


class SseDecoder:
    """Feed it reads as they come, then close it.

    `first_id` and `last_id` are the ids of the first and the last event that had one, for who resumes a stream.
    """

    __slots__ = ("_after_cr", "_at_start", "_held", "_held_bytes", "_limit", "first_id", "last_id")

    def __init__(self, *, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self._at_start = True
        self.first_id = b""
        self.last_id = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that this read completed.

        Raises:
            EventTooLarge: the event being collected is over the cap.
        """
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        if self._at_start:
            data = self._without_bom(data)
        if not data:
            return []
        if self._held:
            # Pieces are joined only when an event ends, or a large event in small reads would cost its square.
            if b"\n\n" not in data and not (data[0] == 10 and self._held[-1][-1] == 10):
                self._hold(data)
                return []
            self._held.append(data)
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._hold(rest)
        events: list[Event] = []
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block:
                events.append((b"", block[6:]))
            else:
                self._parse(block, events)
        return events

    def close(self) -> list[Event]:
        """The event that the end of the stream left open, if any."""
        self._at_start = False
        rest = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        events: list[Event] = []
        if rest:
            self._parse(rest, events)
        return events

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > self._limit:
            raise EventTooLarge(self._limit)

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data[-1] == 13
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, data: bytes) -> bytes:
        data = b"".join((*self._held, data))
        self._held.clear()
        self._held_bytes = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            if data:
                self._hold(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _parse(self, block: bytes, events: list[Event]) -> None:
        """Reads the lines of one event; comments, other fields and an event without data add nothing."""
        name = b""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            if not line:
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"id" and b"\0" not in value:
                self.last_id = value
                self.first_id = self.first_id or value
        if data:
            events.append((name, b"\n".join(data)))
