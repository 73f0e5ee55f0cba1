"""A feed that misbehaves in every way, over real HTTP, with a real Valkey behind: no nonsense is ever charged."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest
from prometheus_client import CollectorRegistry

from backends.scripted import ScriptedBackend
from router.clock import SystemClock
from router.dispatch.fleet import Fleet
from router.domain.audit import Author
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.policies import Policies
from router.domain.price_feed import FeedKind, FeedReport, FeedSettings, FeedState
from router.domain.pricing import Price, Source, book_of
from router.errors import NotFound
from router.feeds.build import build_feeds
from router.feeds.contract import NothingToAsk
from router.feeds.runner import FeedRunner
from router.state.embedded import EmbeddedValkey
from router.state.feed_board import FeedBoard
from router.state.keys import FEEDS_S, Keys
from router.state.runtime import State, end_task, open_state
from router.state.store import SeedDocuments
from router.state.view import FleetView
from router.telemetry.feed_metrics import FeedMetrics

BACKEND = Backend(id="h100", wire="scripted", address="http://h100:8000", models=(ServedModel(model="m"),))
CONFIGURED = Price(backend="h100", usd_per_hour=10.0, elastic_fraction=0.1)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
WAIT_S = 10.0


@dataclass
class Server:
    """An HTTP server that answers the next bytes of the test; None: it takes the question and never answers."""

    port: int = 0
    answer: bytes | None = b""
    asked: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/prices.json"

    def says(self, body: object) -> None:
        self.sends(json.dumps(body).encode())

    def sends(self, body: bytes) -> None:
        self.answer = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            answer = self.answer
            if answer is None:
                await reader.read()  # until the client gives up
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.asked += 1
            self.heard.set()
            writer.close()


@dataclass
class Site:
    """Two replicas, of which one reads the feed and the other sees what becomes of it."""

    server: Server
    owner: State
    other: State
    fleet: Fleet
    runner: FeedRunner

    @property
    def price(self) -> Price:
        """What the replica that does not read the feed charges and routes on."""
        row = self.fleet.row("h100", "m")
        assert row is not None
        assert row.price is not None
        return row.price

    @property
    def held(self) -> str:
        return next((p.held for p in self.other.view.snapshot.prices["h100", ""].prices if p.feed), "")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.01)

    async def readings(self, count: int = 2) -> None:
        """Waits for further readings that end."""
        wanted = self.server.asked + count
        await self.until(lambda: self.server.asked >= wanted)

    async def report(self) -> FeedReport:
        (report,) = await self.runner.reports()
        return report


@asynccontextmanager
async def http(server: Server) -> AsyncIterator[None]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", server.port)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listener.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    server = Server()
    server.says([{"backend": "h100", "usd_per_hour": 8.0, "spot": True, "at": time.time()}])
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(http(server))
        valkey = await stack.enter_async_context(EmbeddedValkey())
        seed = SeedDocuments(backends=(BACKEND,), prices=(book_of(CONFIGURED),))
        views = [FleetView(), FleetView()]
        fleet = Fleet(catalogue=Catalogue(), build_adapter=ScriptedBackend, clock=clock, policies=Policies())
        views[1].on_change(fleet.apply)
        states = []
        for number, view in enumerate(views):
            opening = open_state(valkey.url, view=view, clock=clock, replica_id=f"r{number}", seed=seed)
            states.append(await stack.enter_async_context(opening))
            async with asyncio.timeout(WAIT_S):
                await view.wait_loaded()
        settings = FeedSettings(
            name="spot", kind=FeedKind.HTTP_JSON, url=server.url, interval_s=0.05, max_age_s=1.0, timeout_s=0.5
        )
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        feeds = build_feeds([settings], client=client, secret=lambda _: None, backends=tuple)
        runners = [
            FeedRunner(
                feeds,
                store=state.store,
                view=state.view,
                board=FeedBoard(state.client),
                mine=lambda _, owns=number == 0: owns,  # type: ignore[misc]
                clock=clock,
                metrics=FeedMetrics(CollectorRegistry()),
                replica=f"r{number}",
            )
            for number, state in enumerate(states)
        ]
        for runner in runners:
            stack.push_async_callback(end_task, asyncio.create_task(runner.run()))
        yield Site(server, states[0], states[1], fleet, runners[1])


def quote(usd: object, **fields: object) -> list[dict[str, object]]:
    return [{"backend": "h100", "usd_per_hour": usd, "at": time.time()} | fields]


async def test_a_feed_that_lies_is_not_believed(site: Site) -> None:
    """NaN, negative, free, a hundredfold, stale, of another unit: the last good price stays and says why."""
    await site.until(lambda: site.price.usd_per_hour == 8.0)
    assert (site.price.source_kind, site.price.elastic_fraction, site.price.spot) == (Source.FEED, 0.1, True)
    lies: list[tuple[object, str]] = [
        (quote(float("nan")), "NOT_FINITE"),
        (quote(-8.0), "NEGATIVE"),
        (quote(0.0), "ZERO"),
        (quote(800.0), "JUMP"),
        (quote(7.0, at=time.time() - 3_600.0), "STALE"),
        (quote(7.0, at=time.time() * 1_000.0), "FUTURE"),
        (quote("7"), "MALFORMED"),
        # Without a time: it does not become too old while it is told again.
        (quote(None, input_usd_per_mtok=1.0, output_usd_per_mtok=1.0, at=None), "UNIT"),
    ]
    for lie, code in lies:
        site.server.says(lie)
        await site.until(lambda code=code: site.held.startswith(code))  # type: ignore[misc]
        assert site.price.usd_per_hour == 8.0
    # Of the replica that has seen the last lie: the other one's view may be about to.
    version = site.other.view.snapshot.config_version
    await site.readings(3)
    assert site.owner.view.snapshot.config_version == version  # the same lie again is not written again
    site.server.says(quote(9.0))
    await site.until(lambda: site.price.usd_per_hour == 9.0)
    assert site.price.held == ""
    report = await site.report()
    assert (report.state, report.status.owner, report.status.prices) == (FeedState.FRESH, "r0", 1)
    assert report.status.refused == len(lies)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HEAD + b"\r\n<html>", "not JSON"),
        (HEAD + b"\r\n" + b" " * 10_000_000, "longer than"),
        (HEAD + b"content-length: 100\r\n\r\n[", "cannot be read"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirects"),
        (b"garbage", "cannot be read"),
        (None, "no answer within"),
    ],
)
async def test_a_feed_that_is_no_feed_holds_its_price(site: Site, answer: bytes | None, reason: str) -> None:
    """Garbage, ten megabytes, a broken answer, a redirect, silence: the price is held, in its time stale."""
    await site.until(lambda: site.price.usd_per_hour == 8.0)
    site.server.answer = answer
    async with asyncio.timeout(WAIT_S):
        while (report := await site.report()).state is not FeedState.STALE:
            assert site.price.usd_per_hour == 8.0
            await asyncio.sleep(0.05)
    assert reason in report.status.last_error
    assert site.price.usd_per_hour == 8.0


async def test_a_feed_that_dies_and_comes_back(site: Site) -> None:
    """Without its server the price is held, also while an administrator changes it; with it the feed goes on."""
    await site.until(lambda: site.price.usd_per_hour == 8.0)
    site.server.answer = b""
    await site.readings()
    view = site.other.view
    book = view.snapshot.prices["h100", ""]
    by_hand = Price(backend="h100", usd_per_hour=5.0, source_kind=Source.ADMIN)
    book, _ = await site.other.store.put_price(
        book.with_price(by_hand, now=time.time()), expected_version=book.version, author=Author(actor="me")
    )
    await site.until(lambda: site.price.usd_per_hour == 5.0)
    site.server.says(quote(9.0))
    await site.until(lambda: any(p.usd_per_hour == 9.0 for p in view.snapshot.prices["h100", ""].prices))
    assert site.price.usd_per_hour == 5.0  # by hand still
    assert (await site.report()).state is FeedState.FRESH


async def test_a_feed_writes_for_no_backend_that_is_gone(site: Site) -> None:
    """A quote of a backend that was removed is refused, and does not bring its price back."""
    await site.until(lambda: site.price.usd_per_hour == 8.0)
    version = site.other.view.snapshot.backends["h100"].version
    await site.other.store.remove_backend("h100", expected_version=version, author=Author(actor="me"))
    await site.until(lambda: not site.owner.view.snapshot.backends)
    await site.readings()
    with pytest.raises(NotFound):
        await site.other.store.get_price("h100", "")
    assert "UNKNOWN_BACKEND" in (await site.report()).status.last_error


async def test_the_states_of_feeds_do_not_outlive_them(site: Site) -> None:
    """What is kept of a feed in the store goes a week after nobody reads any."""
    await site.until(lambda: site.price.usd_per_hour == 8.0)
    key = Keys("router").feeds
    await site.report()
    ttl = await site.other.client.call("TTL", key, what="look at the time to live")
    assert 0 < ttl <= FEEDS_S


PROVIDERS = [
    {
        "id": "groq",
        "name": "Groq",
        "api_pattern": "https://api\\.groq\\.com",
        "models": [
            {
                "id": "big",
                "match": {"equals": "big-70b"},
                "prices": {"input_mtok": 0.5, "cache_read_mtok": 0.25, "output_mtok": 1.5},
            }
        ],
    }
]


async def test_list_prices_come_from_the_catalogue() -> None:
    """The package's list, fetched anew, becomes quotes with cached input; without it the package's own data does."""
    served = (
        ServedModel(model="m", upstream_name="big-70b"),
        ServedModel(model="l", upstream_name="llama-3.1-8b-instant"),
    )
    backend = Backend(id="groq", wire="w", profile="groq", address="http://emulated", models=served)
    server = Server()
    server.says(PROVIDERS)
    async with http(server), httpx.AsyncClient() as client:
        settings = FeedSettings(name="list", kind=FeedKind.GENAI_PRICES, url=server.url, timeout_s=20.0)
        (feed,) = build_feeds([settings], client=client, secret=lambda _: None, backends=lambda: [backend])
        (quote_,) = await feed.fetch()
        assert (quote_.model, quote_.input_usd_per_mtok, quote_.cached_input_usd_per_mtok) == ("m", 0.5, 0.25)
        assert (quote_.output_usd_per_mtok, quote_.batch_discount, quote_.fallback) == (1.5, 0.0, False)
        server.says({"no": "list"})
        (bundled,) = await feed.fetch()
        assert (bundled.model, bundled.fallback, feed.source_kind) == ("l", True, Source.CATALOGUE)
        assert bundled.input_usd_per_mtok == pytest.approx(0.05)


async def test_wires_of_one_provider_have_its_list_prices_without_a_network() -> None:
    """Without refresh nobody is asked: hosted backends of Anthropic's, Google's and AWS's wires are priced at once."""
    hosted = [
        Backend(id=wire, wire=wire, address="http://nowhere", models=(ServedModel(model="m", upstream_name=name),))
        for wire, name in (
            ("anthropic", "claude-3-5-sonnet-20241022"),
            ("gemini", "gemini-1.5-pro"),
            ("bedrock", "meta.llama3-70b-instruct-v1:0"),
        )
    ]
    own = replace(hosted[0], id="own", hardware="h100-sxm-80")
    emulated = replace(hosted[0], id="emulated", emulated=True)
    settings = FeedSettings(name="list", kind=FeedKind.GENAI_PRICES, refresh=False, timeout_s=20.0)
    async with httpx.AsyncClient() as client:
        (feed,) = build_feeds(
            [settings], client=client, secret=lambda _: None, backends=lambda: [*hosted, own, emulated]
        )
        quotes = {quote.backend: quote for quote in await feed.fetch()}
        assert {name: (q.input_usd_per_mtok, q.output_usd_per_mtok, q.fallback) for name, q in quotes.items()} == {
            "anthropic": (3.0, 15.0, False),
            "gemini": (1.25, 5.0, False),
            "bedrock": (2.65, 3.5, False),
        }
        (feed,) = build_feeds([settings], client=client, secret=lambda _: None, backends=lambda: [emulated])
        with pytest.raises(NothingToAsk):
            await feed.fetch()
