"""Text of servers that say more than the answer: the prompt before it, and the stop sequence at its end."""

from __future__ import annotations

from collections.abc import Sequence

# A short prompt may well be how an answer begins.
_SHORTEST_ECHO = 24


class StopGuard:
    """Ends a text where a stop sequence begins, whatever pieces it comes in.

    Attributes:
        found: the sequence that ended it.
    """

    __slots__ = ("_held", "_stops", "found")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """What can be passed on: all but an end that may be the beginning of a stop sequence."""
        if not self._stops or self.found is not None:
            return "" if self.found is not None else text
        text = self._held + text
        hits = [(at, -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            at, _, self.found = min(hits)
            self._held = ""
            return text[:at]
        kept = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def close(self) -> str:
        """What was held back, since nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How long an end of the text is a beginning of the sequence."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


class EchoGuard:
    """Takes away the prompt where a text begins with all of it, as it was sent or without its special tokens."""

    __slots__ = ("_echoes", "_held")

    def __init__(self, echoes: Sequence[str]) -> None:
        self._echoes = tuple(echo for echo in echoes if len(echo) >= _SHORTEST_ECHO)
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._echoes:
            return text
        text = self._held + text
        for echo in sorted(self._echoes, key=len, reverse=True):
            if text.startswith(echo):
                self._echoes = ()
                self._held = ""
                return text[len(echo) :]
        if any(echo.startswith(text) for echo in self._echoes):
            self._held = text
            return ""
        self._echoes = ()
        self._held = ""
        return text

    def close(self) -> str:
        held, self._held = self._held, ""
        return held
