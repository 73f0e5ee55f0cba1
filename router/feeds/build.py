"""The feeds that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import httpx

from router.clock import Clock, SystemClock
from router.domain.fleet import Backend
from router.domain.price_feed import FeedKind, FeedSettings
from router.feeds.contract import PriceFeed
from router.feeds.genai_prices import GenaiPricesFeed
from router.feeds.http_json import HttpJsonFeed


def build_feeds(
    settings: Sequence[FeedSettings],
    *,
    client: httpx.AsyncClient,
    secret: Callable[[str | None], str | None],
    backends: Callable[[], Iterable[Backend]],
    clock: Clock | None = None,
) -> tuple[PriceFeed, ...]:
    """One for each; a new kind is one file and one line here.

    Args:
        settings: of `feeds` in prices.yaml.
        client: for reading URLs.
        secret: what is behind a credential's reference.
        backends: those of the fleet as it is.
        clock: says which of a list's prices is today's; None: the machine's.
    """

    def build(feed: FeedSettings) -> PriceFeed:
        match feed.kind:
            case FeedKind.HTTP_JSON:
                return HttpJsonFeed(feed, client=client, token=partial(secret, feed.credential))
            case FeedKind.GENAI_PRICES:
                return GenaiPricesFeed(feed, backends=backends, clock=clock or SystemClock())

    return tuple(build(feed) for feed in settings)
