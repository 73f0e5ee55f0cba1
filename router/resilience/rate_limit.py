"""Keeps within a backend's own limits of requests and tokens per minute: token buckets that refill with time.

The fields that deciding reads lie in `Live`; a negative bucket means that there is no such limit.
"""

from __future__ import annotations

from router.domain.live import Live


class RateLimit:
    """The buckets of one backend, full at the start."""

    def __init__(
        self, live: Live, *, requests_per_minute: int | None, tokens_per_minute: int | None, now: float
    ) -> None:
        self._live = live
        self._at = now
        self.requests_per_minute = float(requests_per_minute or 0)
        self.tokens_per_minute = float(tokens_per_minute or 0)
        live.limit_requests = self.requests_per_minute if requests_per_minute else -1.0
        live.limit_tokens = self.tokens_per_minute if tokens_per_minute else -1.0

    def refill(self, now: float) -> None:
        """Adds what the time since the last call is worth."""
        minutes = max(0.0, now - self._at) / 60.0
        self._at = now
        live = self._live
        if self.requests_per_minute > 0.0:
            live.limit_requests = min(
                self.requests_per_minute, live.limit_requests + minutes * self.requests_per_minute
            )
        if self.tokens_per_minute > 0.0:
            live.limit_tokens = min(self.tokens_per_minute, live.limit_tokens + minutes * self.tokens_per_minute)

    def spend(self, input_tokens: float, output_tokens: float) -> None:
        """One request with so many tokens starts; a bucket never goes below zero, which would read as "no limit".

        It is taken off what the vendor said as well: until its next word nobody knows better.
        """
        live = self._live
        live.requests_left = max(0.0, live.requests_left - 1.0)
        tokens = input_tokens + output_tokens
        counted = {"input": input_tokens, "output": output_tokens}.get(live.tokens_left_of, tokens)
        live.tokens_left = max(0.0, live.tokens_left - counted)
        if self.requests_per_minute > 0.0:
            live.limit_requests = max(0.0, live.limit_requests - 1.0)
        if self.tokens_per_minute > 0.0:
            live.limit_tokens = max(0.0, live.limit_tokens - tokens)
