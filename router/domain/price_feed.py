"""Feeds of prices: how one is configured, and what is known of how it is doing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FeedKind(StrEnum):
    HTTP_JSON = "http_json"
    GENAI_PRICES = "genai_prices"


class FeedState(StrEnum):
    """`NEVER`: it has not said anything good yet. `STALE`: not for longer than `max_age_s`; its prices are held."""

    FRESH = "fresh"
    STALE = "stale"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """One entry of `feeds` in prices.yaml.

    Attributes:
        name: unique; the prices that it writes carry it.
        kind: which program reads it.
        url: where it is read; empty: where the kind reads by itself.
        interval_s: between two readings.
        max_age_s: a quote older than this is refused, a price not confirmed for so long is stale.
        max_jump: a quote so many times as much, or as little, as the last good price is held.
        timeout_s: for one reading.
        backends: the only ones that it may price; empty: all.
        refresh: of genai_prices: fetch the newest list, rather than go by the one that the package came with.
        credential: a reference, "env:NAME" or "file:PATH", of a bearer token.
    """

    name: str
    kind: FeedKind
    url: str = ""
    interval_s: float = 300.0
    max_age_s: float = 3_600.0
    max_jump: float = 10.0
    timeout_s: float = 10.0
    backends: tuple[str, ...] = ()
    refresh: bool = True
    credential: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """What the replica that reads a feed last knew of it; times are Unix seconds of the store's clock.

    Attributes:
        name: of the feed.
        last_good_at: when it last said something that was believed.
        prices: how many prices its last good answer confirmed.
        refused: quotes that were refused or held, ever; a quote that stays as bad counts once.
        failures: readings in a row that failed.
        last_error: of the last reading; empty when all of it was good.
        owner: the replica that reads it.
    """

    name: str
    last_good_at: float | None = None
    prices: int = 0
    refused: int = 0
    failures: int = 0
    last_error: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """A feed as it is shown: how it is configured, and how it is doing."""

    settings: FeedSettings
    status: FeedStatus
    state: FeedState


def report(settings: FeedSettings, status: FeedStatus | None, now: float) -> FeedReport:
    """None: nobody has read the feed yet."""
    if status is None or status.last_good_at is None:
        state = FeedState.NEVER
    else:
        state = FeedState.STALE if now - status.last_good_at > settings.max_age_s else FeedState.FRESH
    return FeedReport(settings=settings, status=status or FeedStatus(name=settings.name), state=state)
