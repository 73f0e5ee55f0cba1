"""What this replica sees of a backend now, for people."""

from __future__ import annotations

from router.clock import Clock
from router.domain.fleet import Health, HealthState, Left, LiveLoad
from router.domain.live import NEVER, Live


def load_of(live: Live, clock: Clock) -> LiveLoad:
    """Load, what is left of limits, and health, beside what the fleet agrees on."""
    known = live.scraped_at > NEVER
    health = None
    if live.ejected:
        health = Health(state=HealthState.EJECTED, reason=live.ejected_reason)
    elif live.warming:
        health = Health(state=HealthState.WARMING)
    now, unix = clock.monotonic(), clock.time()
    return LiveLoad(
        in_flight=live.in_flight,
        running=int(live.running) if known and live.running >= 0.0 else None,
        waiting=int(live.waiting) if known and live.waiting >= 0.0 else None,
        kv_cache_usage=live.kv_cache_usage if known and live.kv_cache_usage >= 0.0 else None,
        load_at_unix=unix - (now - live.scraped_at) if known else None,
        requests_left=_left(live.requests_left, live.requests_left_until - now, unix),
        tokens_left=_left(live.tokens_left, live.tokens_left_until - now, unix),
        health=health,
    )


def _left(remaining: float, holds_s: float, unix: float) -> Left | None:
    return Left(remaining=remaining, until_unix=unix + holds_s) if holds_s > 0.0 else None
