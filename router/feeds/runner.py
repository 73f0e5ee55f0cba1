"""Reads the feeds of prices and writes what is believed of them to the store, for every replica.

Each feed is read by one replica: the one that holds its lease. One reading becomes at most one change of the
configuration (for a thousand prices too, within `TOGETHER`), made only when no other change came in between: prices
that an administrator sets at the same moment are never written over. What is not believed leaves the last good price in
force; an operator sees why in the price, in the state of the feed, in a metric and in one line of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.clock import Clock
from router.domain.audit import Author
from router.domain.price_feed import FeedReport, FeedSettings, FeedState, FeedStatus, report
from router.domain.pricing import PriceBook
from router.domain.snapshot import FleetSnapshot
from router.errors import RouterError, StaleVersion, StoreUnavailable
from router.feeds.contract import FeedFailed, NothingToAsk, PriceFeed, Quote
from router.feeds.ledger import Entries, Key, enter
from router.state.writes import ApplyResult, Write
from router.telemetry.feed_metrics import FeedMetrics

log = structlog.get_logger(__name__)
# How often a replica looks whether a feed has become its own.
LOOK_S = 1.0
# After a failure a feed is read again sooner than after its interval, ever later while it fails.
RETRY_S = 5.0
TOGETHER = 500
TRIES = 4
SEEN_LIMIT_S = 1.0
MAX_WORDS = 300


class PriceStore(Protocol):
    """The part of the fleet store that feeds need."""

    async def apply(
        self, writes: Sequence[Write], *, expected_config_version: int | None, author: Author
    ) -> ApplyResult: ...


class PriceView(Protocol):
    """The part of the fleet view that feeds need."""

    @property
    def snapshot(self) -> FleetSnapshot: ...

    @property
    def connected(self) -> bool: ...

    async def wait_for(self, condition: Callable[[FleetSnapshot], bool], *, timeout_s: float | None = None) -> bool: ...


class Board(Protocol):
    """Where the states of feeds are kept for all replicas; both raise StoreUnavailable."""

    async def put(self, status: FeedStatus) -> None: ...

    async def read(self) -> dict[str, FeedStatus]: ...


@dataclass(slots=True)
class _Followed:
    """A feed that this replica reads. `doubts`: what was wrong last time, so that it is said once."""

    feed: PriceFeed
    status: FeedStatus
    doubts: dict[Key, str] = field(default_factory=dict)
    stale: bool = False


class FeedRunner:
    """`mine` says whether this replica is to read the feed of that name; the clock is the store's."""

    def __init__(
        self,
        feeds: Sequence[PriceFeed],
        *,
        store: PriceStore,
        view: PriceView,
        board: Board,
        mine: Callable[[str], bool],
        clock: Clock,
        metrics: FeedMetrics,
        replica: str,
    ) -> None:
        self._feeds = tuple(feeds)
        self._store = store
        self._view = view
        self._board = board
        self._mine = mine
        self._clock = clock
        self._metrics = metrics
        self._replica = replica
        self._followed: dict[str, _Followed] = {}
        self._known: dict[str, FeedStatus] = {}

    async def run(self) -> None:
        """Follows every feed for ever, or none; ends by cancellation."""
        if not self._feeds:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as tasks:
            for feed in self._feeds:
                tasks.create_task(self._follow(feed), name=f"feed {feed.settings.name}")

    async def reports(self) -> tuple[FeedReport, ...]:
        """Every configured feed, as whoever reads it last wrote; from memory while the store is away."""
        try:
            self._known = await self._board.read()
        except StoreUnavailable as error:
            log.debug("feed_states_not_read", reason=error.reason)
        now = self._clock.time()
        own = {name: followed.status for name, followed in self._followed.items()}
        statuses = self._known | own
        return tuple(report(feed.settings, statuses.get(feed.settings.name), now) for feed in self._feeds)

    async def poll(self, feed: PriceFeed) -> float:
        """Reads a feed once, if it is this replica's; answers in how many seconds to come back."""
        settings = feed.settings
        if not self._mine(settings.name):
            if self._followed.pop(settings.name, None) is not None:
                self._metrics.forget(settings.name)
            return LOOK_S
        if not self._view.connected:
            return LOOK_S
        followed = await self._follower(feed)
        try:
            quotes = await self._read(feed)
            entries = await self._enter(feed, quotes)
        except (FeedFailed, RouterError) as error:
            self._failed(followed, str(error))
        else:
            self._entered(followed, entries)
        self._watch_age(followed)
        try:
            await self._board.put(followed.status)
        except StoreUnavailable as error:
            log.debug("feed_state_not_written", feed=settings.name, reason=error.reason)
        failures = followed.status.failures
        return min(settings.interval_s, RETRY_S * 2.0 ** min(failures, 16)) if failures else settings.interval_s

    async def _follow(self, feed: PriceFeed) -> None:
        while True:
            try:
                wait_s = await self.poll(feed)
            except Exception:
                # One feed's fault ends neither the others nor itself: its prices grow old and say so.
                log.exception("feed_fault", feed=feed.settings.name)
                wait_s = feed.settings.interval_s
            await asyncio.sleep(wait_s)

    async def _follower(self, feed: PriceFeed) -> _Followed:
        """What is known of the feed, from the replica that read it before where this one begins to."""
        name = feed.settings.name
        followed = self._followed.get(name)
        if followed is None:
            before = FeedStatus(name=name)
            try:
                before = (await self._board.read()).get(name, before)
            except StoreUnavailable as error:
                log.debug("feed_states_not_read", reason=error.reason)
            followed = self._followed[name] = _Followed(feed, replace(before, owner=self._replica))
        return followed

    async def _read(self, feed: PriceFeed) -> Sequence[Quote]:
        settings = feed.settings
        try:
            async with asyncio.timeout(settings.timeout_s):
                quotes = await feed.fetch()
        except TimeoutError:
            raise FeedFailed(f"no answer within {settings.timeout_s:g} s") from None
        except FeedFailed:
            raise
        except NothingToAsk:
            return ()
        except Exception as error:
            log.exception("feed_fault", feed=settings.name)
            raise FeedFailed(f"the feed's program failed: {type(error).__name__}") from error
        if not quotes:
            raise FeedFailed("it says nothing: no quote in its answer")
        return quotes

    async def _enter(self, feed: PriceFeed, quotes: Sequence[Quote]) -> Entries:
        """Writes what the quotes change. Somebody else's change in between: looked at again, with it."""
        for _ in range(TRIES):
            snapshot = self._view.snapshot
            entries = enter(
                quotes,
                snapshot.prices,
                snapshot.backends,
                feed.settings,
                source_kind=feed.source_kind,
                now=self._clock.time(),
            )
            try:
                await self._write(feed.settings, entries.books, snapshot.config_version)
            except StaleVersion as stale:
                await self._seen(stale.current)
            else:
                return entries
        raise FeedFailed("others change the configuration all the time: its prices could not be written")

    async def _write(self, settings: FeedSettings, books: Sequence[PriceBook], config_version: int) -> None:
        author = Author(actor=f"feed {settings.name}", origin=self._replica, action="Feed")
        for start in range(0, len(books), TOGETHER):
            writes = [Write.of(book) for book in books[start : start + TOGETHER]]
            result = await self._store.apply(writes, expected_config_version=config_version, author=author)
            config_version = result.config_version
        if books:
            # What this replica writes next is compared with what it has written.
            await self._seen(config_version)

    async def _seen(self, config_version: int) -> None:
        await self._view.wait_for(lambda snapshot: snapshot.config_version >= config_version, timeout_s=SEEN_LIMIT_S)

    def _entered(self, followed: _Followed, entries: Entries) -> None:
        name = followed.status.name
        for belief, count in entries.counts.items():
            self._metrics.quotes.labels(name, belief.value).inc(count)
        news = {key: why for key, why in entries.doubts.items() if _code(followed.doubts.get(key, "")) != _code(why)}
        for key, why in news.items():
            log.warning("quote_not_believed", feed=name, backend=key[0][:64], model=key[1][:64], reason=why[:MAX_WORDS])
        followed.doubts = dict(entries.doubts)
        problem = ""
        if entries.doubts:
            (backend, model), why = next(iter(entries.doubts.items()))
            where = f"{backend} {model}".strip()[:128]
            problem = f"{len(entries.doubts)} quotes not believed, of {where}: {why}"[:MAX_WORDS]
        if followed.status.failures:
            log.info("feed_recovered", feed=name, failures=followed.status.failures)
        status = replace(
            followed.status,
            failures=0,
            last_error=problem,
            refused=followed.status.refused + len(news),
        )
        if entries.confirmed:
            status = replace(status, last_good_at=self._clock.time(), prices=entries.confirmed)
        followed.status = status

    def _failed(self, followed: _Followed, why: str) -> None:
        name = followed.status.name
        self._metrics.failures.labels(name).inc()
        if not followed.status.failures:
            log.warning("feed_failed", feed=name, reason=why[:MAX_WORDS], effect="its last good prices are held")
        followed.status = replace(followed.status, failures=followed.status.failures + 1, last_error=why[:MAX_WORDS])

    def _watch_age(self, followed: _Followed) -> None:
        settings, now = followed.feed.settings, self._clock.time()
        state = report(settings, followed.status, now).state
        if followed.status.last_good_at is not None:
            self._metrics.age.labels(settings.name).set(max(0.0, now - followed.status.last_good_at))
        stale = state is FeedState.STALE
        self._metrics.stale.labels(settings.name).set(1.0 if stale else 0.0)
        if stale and not followed.stale:
            log.warning("feed_stale", feed=settings.name, max_age_s=settings.max_age_s, effect="its prices are held")
        followed.stale = stale


def _code(reason: str) -> str:
    return reason.partition(":")[0]
