"""Reading feeds: what is written, when to come back, and what an operator is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from router.clock import FakeClock
from router.domain.audit import Author
from router.domain.fleet import Backend, ServedModel
from router.domain.price_feed import FeedKind, FeedSettings, FeedState, FeedStatus
from router.domain.pricing import Price, PriceBook, Source, book_of
from router.domain.snapshot import FleetSnapshot
from router.errors import StaleVersion, StoreUnavailable
from router.feeds.contract import FeedFailed, Quote
from router.feeds.runner import LOOK_S, FeedRunner
from router.state.view import FleetView
from router.state.writes import ApplyResult, Write
from router.telemetry.feed_metrics import FeedMetrics

SETTINGS = FeedSettings(name="spot", kind=FeedKind.HTTP_JSON, interval_s=60.0, max_age_s=300.0)
BACKEND = Backend(id="a", wire="w", address="http://a", models=(ServedModel(model="m"),))
Answer = Sequence[Quote] | Exception


@dataclass
class Script:
    """A feed that answers what the test says."""

    settings: FeedSettings = SETTINGS
    source_kind: Source = Source.FEED
    answer: Answer = ()
    hangs: bool = False

    async def fetch(self) -> Sequence[Quote]:
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Books:
    """A store of prices alone, which the view follows at once; `rival` writes first, once."""

    view: FleetView
    writes: list[tuple[str, int]] = field(default_factory=list)
    rival: PriceBook | None = None
    away: bool = False

    async def apply(
        self, writes: Sequence[Write], *, expected_config_version: int | None, author: Author
    ) -> ApplyResult:
        if self.away:
            raise StoreUnavailable("the store is away")
        if self.rival is not None:
            book, self.rival = self.rival, None
            self.put([book])
        snapshot = self.view.snapshot
        if snapshot.config_version != expected_config_version:
            raise StaleVersion("somebody was first", current=snapshot.config_version)
        self.writes.append((author.actor, len(writes)))
        self.put([write.document for write in writes if isinstance(write.document, PriceBook)])
        return ApplyResult(config_version=self.view.snapshot.config_version, changed=len(writes))

    def put(self, books: Sequence[PriceBook]) -> None:
        snapshot = self.view.snapshot
        version = snapshot.version + len(books)
        prices = snapshot.prices | {(book.backend, book.model): book for book in books}
        self.view.publish(replace(snapshot, version=version, config_version=version, prices=prices))


@dataclass
class Notes:
    """A board in memory."""

    kept: dict[str, FeedStatus] = field(default_factory=dict)
    away: bool = False

    async def put(self, status: FeedStatus) -> None:
        if self.away:
            raise StoreUnavailable("the store is away")
        self.kept[status.name] = status

    async def read(self) -> dict[str, FeedStatus]:
        if self.away:
            raise StoreUnavailable("the store is away")
        return dict(self.kept)


class Rig:
    """A runner of one feed over one backend that is configured at 10 dollars per hour."""

    def __init__(self, *, replica: str = "r1", board: Notes | None = None) -> None:
        self.clock = FakeClock()
        self.view = FleetView()
        configured = book_of(Price(backend="a", usd_per_hour=10.0))
        self.view.publish(
            FleetSnapshot(version=1, config_version=1, backends={"a": BACKEND}, prices={("a", ""): configured})
        )
        self.view.contact(0.0)
        self.store = Books(self.view)
        self.board = board or Notes()
        self.registry = CollectorRegistry()
        self.feed = Script()
        self.mine = True
        self.runner = FeedRunner(
            [self.feed],
            store=self.store,
            view=self.view,
            board=self.board,
            mine=lambda _: self.mine,
            clock=self.clock,
            metrics=FeedMetrics(self.registry),
            replica=replica,
        )

    async def poll(self, *answer: Quote | Exception) -> float:
        failure = next((a for a in answer if isinstance(a, Exception)), None)
        self.feed.answer = failure or tuple(a for a in answer if isinstance(a, Quote))
        return await self.runner.poll(self.feed)

    @property
    def price(self) -> Price:
        price = self.view.snapshot.prices["a", ""].at(self.clock.time())
        assert price is not None
        return price

    async def state(self) -> FeedState:
        (report,) = await self.runner.reports()
        return report.state

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"feed": "spot", **labels})


def quote(usd: float) -> Quote:
    return Quote(backend="a", usd_per_hour=usd)


async def test_one_answer_is_one_change() -> None:
    """All prices of an answer are written together, in the feed's name; the same answer again writes nothing."""
    rig = Rig()
    assert await rig.poll(quote(8.0)) == 60.0
    assert rig.price.usd_per_hour == 8.0
    await rig.poll(quote(8.0))
    assert rig.store.writes == [("feed spot", 1)]
    assert rig.board.kept["spot"].owner == "r1"
    assert await rig.state() is FeedState.FRESH


async def test_a_change_in_between_is_not_written_over() -> None:
    """A price that an administrator sets while the feed is read is there afterwards, beside the feed's."""
    rig = Rig()
    by_hand = Price(backend="a", usd_per_hour=7.0, source_kind=Source.ADMIN)
    rig.store.rival = rig.view.snapshot.prices["a", ""].with_price(by_hand, now=rig.clock.time())
    await rig.poll(quote(8.0))
    assert rig.price == by_hand
    assert {p.source_kind for p in rig.view.snapshot.prices["a", ""].prices} == {
        Source.CONFIG,
        Source.FEED,
        Source.ADMIN,
    }


async def test_a_dead_feed_holds_its_price_and_grows_stale() -> None:
    """The last good price goes on deciding; after its time the feed is stale, and one line of the log says so."""
    rig = Rig()
    await rig.poll(quote(8.0))
    with capture_logs() as lines:
        waits = []
        for _ in range(7):
            waits.append(await rig.poll(FeedFailed("it answered 500")))
            rig.clock.advance(60.0)
    assert rig.price.usd_per_hour == 8.0
    assert await rig.state() is FeedState.STALE
    assert [line["event"] for line in lines] == ["feed_failed", "feed_stale"]
    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert rig.metric("router_feed_stale") == 1.0
    assert rig.metric("router_feed_failures_total") == 7.0
    assert rig.board.kept["spot"].last_error == "it answered 500"
    with capture_logs() as lines:
        await rig.poll(quote(8.0))
    assert [line["event"] for line in lines] == ["feed_recovered"]
    assert await rig.state() is FeedState.FRESH
    assert rig.metric("router_feed_stale") == 0.0


async def test_a_bad_quote_is_said_once() -> None:
    """A quote that stays as bad is one line, one refusal and one mark on the price, however often it comes."""
    rig = Rig()
    await rig.poll(quote(8.0))
    with capture_logs() as lines:
        for usd in (800.0, 801.0, 802.0):
            await rig.poll(quote(usd))
    assert [(line["event"], line["reason"][:4]) for line in lines] == [("quote_not_believed", "JUMP")]
    assert rig.price.held.startswith("JUMP: usd_per_hour 800")
    assert rig.board.kept["spot"].refused == 1
    assert rig.metric("router_feed_quotes_total", belief="held") == 3.0


async def test_another_replica_s_feed_is_left_alone() -> None:
    """Who does not hold the lease reads nothing; who loses it shows no figures of the feed any more."""
    rig = Rig()
    await rig.poll(quote(8.0))
    rig.mine = False
    assert await rig.poll(quote(9.0)) == LOOK_S
    assert rig.price.usd_per_hour == 8.0
    assert rig.metric("router_feed_stale") is None


async def test_who_takes_over_goes_on_counting() -> None:
    """The new owner of a feed begins with what the old one wrote down."""
    board = Notes()
    first = Rig(board=board)
    await first.poll(quote(800.0))
    second = Rig(replica="r2", board=board)
    await second.poll(quote(900.0))
    assert (board.kept["spot"].refused, board.kept["spot"].owner) == (2, "r2")


async def test_while_the_store_is_away_nothing_is_read() -> None:
    """Without the store there is nobody to tell; the states that were known last are shown."""
    rig = Rig()
    await rig.poll(quote(8.0))
    await rig.runner.reports()
    rig.view.disconnect()
    rig.board.away = True
    assert await rig.poll(quote(9.0)) == LOOK_S
    assert await rig.state() is FeedState.FRESH


async def test_a_store_that_fails_in_between_is_a_failure_of_the_reading() -> None:
    """A write that does not get through is tried again with the next reading."""
    rig = Rig()
    rig.store.away = rig.board.away = True
    assert await rig.poll(quote(8.0)) == 10.0
    rig.store.away = rig.board.away = False
    await rig.poll(quote(8.0))
    assert rig.price.usd_per_hour == 8.0


@pytest.mark.parametrize(
    ("answer", "words"),
    [(RuntimeError("boom"), "the feed's program failed: RuntimeError"), (None, "it says nothing")],
)
async def test_a_fault_of_a_feed_s_program_is_its_failure(answer: Exception | None, words: str) -> None:
    """An error that nobody foresaw, and an answer without quotes, are failures like others."""
    rig = Rig()
    await (rig.poll(answer) if answer is not None else rig.poll())
    assert rig.board.kept["spot"].last_error.startswith(words)


async def test_a_feed_that_hangs_is_given_up() -> None:
    """An answer that does not come is a failure when its time is over."""
    rig = Rig()
    rig.feed.settings = replace(SETTINGS, timeout_s=0.01)
    rig.feed.hangs = True
    await rig.poll()
    assert rig.board.kept["spot"].last_error == "no answer within 0.01 s"


async def test_without_feeds_it_waits_for_ever() -> None:
    """A router without feeds has a task that does nothing, and ends when it is told to."""
    rig = Rig()
    runner = FeedRunner(
        [], store=rig.store, view=rig.view, board=rig.board, mine=lambda _: True, clock=rig.clock,
        metrics=FeedMetrics(CollectorRegistry()), replica="r",
    )  # fmt: skip
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
