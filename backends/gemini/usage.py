"""Token counts of an answer of Google's, which come with every event and are cumulative: the last of each holds.

Thoughts are counted beside the answer's tokens and not in them, what tools read beside the prompt, what was cached in
the prompt. A count that is zero is left out, and so is one that is not known yet: the total tells the two apart.
"""

from __future__ import annotations

from backends.contract import Usage
from backends.counts import last
from backends.gemini.wire import UsageMetadata


class UsageMeter:
    """The counts of one answer so far."""

    __slots__ = ("_cached", "_candidates", "_prompt", "_thoughts", "_tool_prompt", "_total")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._tool_prompt: int | None = None
        self._cached: int | None = None
        self._candidates: int | None = None
        self._thoughts: int | None = None
        self._total: int | None = None

    def take(self, wire: UsageMetadata) -> None:
        self._prompt = last(self._prompt, wire.prompt_token_count)
        self._tool_prompt = last(self._tool_prompt, wire.tool_use_prompt_token_count)
        self._cached = last(self._cached, wire.cached_content_token_count)
        self._candidates = last(self._candidates, wire.candidates_token_count)
        self._thoughts = last(self._thoughts, wire.thoughts_token_count)
        self._total = last(self._total, wire.total_token_count)

    @property
    def counts_output(self) -> bool:
        return self._candidates is not None

    def usage(self, *, events: int) -> Usage:
        """The counts, or what can be said without them: output is then what the total leaves, or the events."""
        given = (self._prompt or 0) + (self._tool_prompt or 0)
        output = (self._candidates or 0) + (self._thoughts or 0)
        if self._candidates is None:
            output = max(output, (self._total or 0) - given)
        is_unknown = events > 0 and output == 0
        return Usage(
            input=given,
            cached_input=self._cached or 0,
            output=events if is_unknown else output,
            reasoning=self._thoughts or 0,
            estimated=self._prompt is None or is_unknown,
        )
