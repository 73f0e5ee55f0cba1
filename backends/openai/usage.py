"""Token counts and engine times of an OpenAI-like answer, by each vendor's own bookkeeping.

Usage comes never, once or in every event, and one event may hold it twice. The last value wins, field by field; nothing
is ever added up, except where a vendor counts reasoning apart from the completion.
"""

from __future__ import annotations

from backends.contract import UpstreamTimings, Usage
from backends.counts import Number, last
from backends.openai.profile import Profile
from backends.openai.wire import Event, LlamaTimings, WireUsage


class UsageMeter:
    """The counts of one answer so far."""

    __slots__ = ("_cache_write", "_cached", "_input", "_output", "_profile", "_reasoning", "_total")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._input: int | None = None
        self._output: int | None = None
        self._total: int | None = None
        self._cached: int | None = None
        self._cache_write: int | None = None
        self._reasoning: int | None = None

    def take(self, wire: WireUsage) -> Usage:
        self._input = last(self._input, wire.prompt_tokens)
        self._output = last(self._output, wire.completion_tokens)
        self._total = last(self._total, wire.total_tokens)
        self._cached = last(last(self._cached, wire.cached_tokens), wire.prompt_cache_hit_tokens)
        self._reasoning = last(self._reasoning, wire.reasoning_tokens)
        if wire.prompt_tokens_details is not None:
            self._cached = last(self._cached, wire.prompt_tokens_details.cached_tokens)
            self._cache_write = last(self._cache_write, wire.prompt_tokens_details.created_cache_tokens)
            self._cache_write = last(self._cache_write, wire.prompt_tokens_details.cache_write_tokens)
        if wire.completion_tokens_details is not None:
            self._reasoning = last(self._reasoning, wire.completion_tokens_details.reasoning_tokens)
        return self.usage(estimated=False, output=self._output or 0)

    def take_timings(self, told: LlamaTimings) -> Usage | None:
        """What llama.cpp counts beside its times; builds that know no usage say it only here."""
        fresh, output = last(None, told.prompt_n), last(None, told.predicted_n)
        if fresh is None or output is None:
            return None
        self._cached = last(self._cached, told.cache_n)
        self._input, self._output = fresh + (self._cached or 0), output
        return self.usage(estimated=False, output=output)

    def is_credible(self, events: int) -> bool:
        """False if no count came, or one that denies the output that was seen."""
        return self._output is not None and (self._output > 0 or events == 0)

    def usage(self, *, estimated: bool, output: int) -> Usage:
        reasoning = self._reasoning or 0
        if self._profile.reasoning_outside_output and self._total is not None:
            # What the total holds beyond the two is the reasoning; nothing, where this answer was counted as usual.
            beyond = max(0, self._total - (self._input or 0) - (self._output or 0))
            reasoning = reasoning or beyond
            output += reasoning if beyond else 0
        elif self._profile.reasoning_outside_output:
            output += reasoning
        return Usage(
            input=self._input or 0,
            cached_input=self._cached or 0,
            cache_write_input=self._cache_write or 0,
            output=output,
            reasoning=reasoning,
            estimated=estimated,
        )


def timings(event: Event) -> UpstreamTimings | None:
    """What the engine says of its own time, if it says anything."""
    if event.timings is not None:
        return UpstreamTimings(
            prefill_s=_seconds(event.timings.prompt_ms, 1000), decode_s=_seconds(event.timings.predicted_ms, 1000)
        )
    groq = event.x_groq.usage if event.x_groq is not None else None
    for source in (event.time_info, groq, event.usage):
        if source is not None and source.completion_time is not None:
            return UpstreamTimings(
                queue_s=_seconds(source.queue_time, 1),
                prefill_s=_seconds(source.prompt_time, 1),
                decode_s=_seconds(source.completion_time, 1),
            )
    return None


def _seconds(value: Number | None, per_second: int) -> float | None:
    return None if value is None or value < 0 else value / per_second
