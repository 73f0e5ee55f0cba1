"""Newline-delimited JSON, split into lines without I/O: bytes in, lines out, the same however the bytes were cut.

A line ends with LF or CRLF; blank lines mean nothing, and a last line may lack its end. Lines stay bytes, so that a
character cut between two reads is whole again before anything decodes it.
"""

from __future__ import annotations

MAX_LINE_BYTES = 8 * 1024 * 1024


class LineTooLong(ValueError):
    """One line outgrew the cap: not a stream of tokens, or an attack."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a line of more than {limit} bytes")


class NdjsonDecoder:
    """Feed it reads as they come, then close it."""

    __slots__ = ("_held", "_held_bytes", "_limit")

    def __init__(self, *, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._held_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that this read completed.

        Raises:
            LineTooLong: a line is over the cap, complete or not.
        """
        first, *others = data.split(b"\n")
        self._hold(first)
        if not others:
            return []
        rest = others.pop()
        # Pieces are joined only when a line ends, or a long line in small reads would cost its square.
        lines = [b"".join(self._held), *others]
        self._held.clear()
        self._held_bytes = 0
        for line in others:
            if len(line) > self._limit:
                raise LineTooLong(self._limit)
        self._hold(rest)
        return [stripped for line in lines if (stripped := line.strip())]

    def close(self) -> list[bytes]:
        """The line that the end of the stream left open, if any."""
        rest = b"".join(self._held).strip()
        self._held.clear()
        self._held_bytes = 0
        return [rest] if rest else []

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > self._limit:
            raise LineTooLong(self._limit)
