"""What the head of an answer says of its sender's limits and load, for the decisions that come next.

A vendor's word on what is left of a limit holds until its reset; meanwhile this replica takes off what it sends. It
knows nothing of what others send on the same account: the next answer's head corrects that. It costs nothing where an
answer says nothing.
"""

from __future__ import annotations

from typing import Final

from backends.contract import LoadReport, Signals, Window
from router.domain.live import Live

# A vendor that does not say when a limit is full again is believed for this long.
WITHOUT_RESET_S: Final = 5.0
# Nobody is left alone for longer without being asked again: a reset may be that of a day.
MAX_BELIEVED_S: Final = 300.0


def hear(live: Live, signals: Signals, now: float) -> None:
    """Takes in what an answer, or a refusal, said."""
    headroom = signals.headroom
    if headroom is not None:
        if headroom.requests is not None:
            live.requests_left = max(0.0, headroom.requests.remaining)
            live.requests_left_until = now + _believed_s(headroom.requests)
        if headroom.tokens is not None:
            live.tokens_left = max(0.0, headroom.tokens.remaining)
            live.tokens_left_of = headroom.tokens.counts
            live.tokens_left_until = now + _believed_s(headroom.tokens)
    if signals.load is not None:
        _loaded(live, signals.load, now)


def _believed_s(window: Window) -> float:
    if window.reset_s is None:
        return WITHOUT_RESET_S
    return min(max(0.0, window.reset_s), MAX_BELIEVED_S)


def _loaded(live: Live, load: LoadReport, now: float) -> None:
    """The engine's own figures; what it leaves out stays as its last probe had it."""
    if load.waiting is None and load.running is None and load.kv_cache_usage is None:
        return
    waiting = live.waiting if load.waiting is None else float(load.waiting)
    kv_cache_usage = live.kv_cache_usage if load.kv_cache_usage is None else load.kv_cache_usage
    if load.running is None and live.running >= 0.0:
        # How many run is known from a moment at which other requests were in flight: that comparison stays.
        live.waiting, live.kv_cache_usage = waiting, kv_cache_usage
        return
    running = -1.0 if load.running is None else float(load.running)
    live.scraped(running=running, waiting=waiting, kv_cache_usage=kv_cache_usage, routed=live.routed(), at=now)
