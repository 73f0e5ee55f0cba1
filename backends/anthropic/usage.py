"""Token counts of a Messages answer: cumulative, so the last value of each field wins."""

from __future__ import annotations

from backends.anthropic.wire import WireUsage
from backends.contract import Usage
from backends.counts import last


class UsageMeter:
    """The counts of one answer so far. Input comes with its start, output with its end, and either may be repeated."""

    __slots__ = ("_cached", "_fresh", "_output", "_reasoning", "_written")

    def __init__(self) -> None:
        self._fresh: int | None = None
        self._cached: int | None = None
        self._written: int | None = None
        self._output: int | None = None
        self._reasoning: int | None = None

    def take(self, wire: WireUsage) -> None:
        self._fresh = last(self._fresh, wire.input_tokens)
        self._cached = last(self._cached, wire.cache_read_input_tokens)
        self._written = last(self._written, wire.cache_creation_input_tokens)
        self._output = last(self._output, wire.output_tokens)
        if wire.output_tokens_details is not None:
            self._reasoning = last(self._reasoning, wire.output_tokens_details.thinking_tokens)

    @property
    def is_begun(self) -> bool:
        """Whether anything was counted."""
        return self._fresh is not None or self._output is not None

    def is_credible(self, events: int) -> bool:
        """False if no output was counted, or none although some was seen."""
        return self._output is not None and (self._output > 0 or events == 0)

    def usage(self, *, estimate: int | None = None) -> Usage:
        """The counts; `estimate` stands in for an output that nobody counted."""
        cached, written = self._cached or 0, self._written or 0
        return Usage(
            input=(self._fresh or 0) + cached + written,
            cached_input=cached,
            cache_write_input=written,
            output=(self._output or 0) if estimate is None else estimate,
            reasoning=self._reasoning or 0,
            estimated=estimate is not None,
        )
