"""What a backend is doing now, as this replica sees it. Typed attributes alone: it compiles to native code."""

from __future__ import annotations

from typing import Final

NEVER: Final = -1.0e18


class Live:
    """The load and health of one backend as this replica sees it. Times are on the router's monotonic clock.

    What other replicas have in flight there is `others` as they said it last, and since then each of the `peers` (live
    replicas but this one) is taken to have done as this one did: `in_flight` less `in_flight_heard`, which is what this
    one had when the others were heard. With `others` and `in_flight_heard` at 0 that comes to "each as much as I".

    `worth_usd_per_s` is what a second is worth to all of its own requests there together: those of a class that does
    not mind waiting add nothing.

    `prefill_tokens` are those of own prompts whose first token has not come, less what is cached; of others' it is
    known by `others_prefill` and `prefill_heard` in the same way.

    `requests_left` and `tokens_left` are what its vendor said is left of a limit, less what was sent since then; each
    counts until its `*_left_until`. They are apart from `limit_requests` and `limit_tokens`, which are the limits that
    its configuration sets: the tighter of the two decides. `tokens_left_of` says whose tokens they are: "all", or those
    of prompts ("input") or answers ("output") alone.

    `running` and `waiting` are what the engine said at `scraped_at`, negative when it does not say. `elsewhere` is how
    much that was beyond what all routers had in flight there at that moment; below zero when the engine had not seen
    everything yet.

    `joined_at` is when a backend that came to a fleet at work was first able to serve; it is new for a while after.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.in_flight_heard = 0
        self.others = 0.0
        self.peers = 0.0
        self.elsewhere = 0.0
        self.worth_usd_per_s = 0.0
        self.prefill_tokens = 0.0
        self.prefill_heard = 0.0
        self.others_prefill = 0.0
        self.running = -1.0
        self.waiting = -1.0
        self.kv_cache_usage = -1.0
        self.scraped_at = NEVER
        self.utilisation = 0.5
        self.open_until = NEVER
        self.half_open = False
        self.limited_until = NEVER
        self.limit_requests = -1.0
        self.limit_tokens = -1.0
        self.requests_left = 0.0
        self.requests_left_until = NEVER
        self.tokens_left = 0.0
        self.tokens_left_until = NEVER
        self.tokens_left_of = "all"
        self.failure_rate = 0.02
        self.warming = False
        self.ejected = False
        self.ejected_reason = ""
        self.unusable_reason = ""
        self.joined_at = NEVER

    def routed(self) -> float:
        """Sequences that all routers are believed to have in flight there now."""
        own = self.in_flight
        others = self.others + self.peers * (own - self.in_flight_heard)
        return own + others if others > 0.0 else float(own)

    def second_usd(self, usual: float) -> float:
        """Dollars that a second is worth to one of those in flight, on average; `usual` where this router has none.

        Of other replicas' requests it is not told: they are taken to be like its own.
        """
        return self.worth_usd_per_s / self.in_flight if self.in_flight > 0 else usual

    def prefilling(self) -> float:
        """Tokens of prompts that all routers are believed to wait for there, by the rule of `in_flight`."""
        own = self.prefill_tokens
        others = self.others_prefill + self.peers * (own - self.prefill_heard)
        return own + others if others > 0.0 else own

    def batch(self) -> float:
        """Sequences that the backend is believed to work on now, waiting ones and those of other callers included."""
        own = self.in_flight
        others = self.others + self.peers * (own - self.in_flight_heard)
        beyond = others + self.elsewhere if others > 0.0 else self.elsewhere
        return own + beyond if beyond > 0.0 else float(own)

    def scraped(self, *, running: float, waiting: float, kv_cache_usage: float, routed: float, at: float) -> None:
        """Takes what the engine said at a time at which all routers had `routed` sequences in flight there."""
        self.running = running
        self.waiting = waiting
        self.kv_cache_usage = kv_cache_usage
        self.scraped_at = at
        self.elsewhere = running + max(0.0, waiting) - routed if running >= 0.0 else 0.0

    def forget_scrape(self) -> None:
        """The engine no longer says."""
        self.scraped(running=-1.0, waiting=-1.0, kv_cache_usage=-1.0, routed=0.0, at=NEVER)
