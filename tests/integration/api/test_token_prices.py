"""`ListTokenPrices` and `inference-router prices`: what a million tokens cost, over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backends.scripted import ScriptedBackend
from router.api.fleet_service import FleetService
from router.cli.prices import prices
from router.clock import FakeClock
from router.dispatch.fleet import Fleet
from router.dispatch.overview import Overview
from router.dispatch.recent import Recent
from router.dispatch.traffic import Traffic
from router.domain.fleet import Health, LiveLoad
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.policies import Policies
from router.domain.price_feed import FeedReport
from router.domain.pricing import Price, book_of
from router.domain.replica import Replica
from router.domain.rows import Forecast
from router.domain.snapshot import FleetSnapshot
from router.state.view import FleetView
from router.v1 import fleet_pb2 as pb
from tests.integration.api.fleet_site import CATALOGUE, answering, backend

HOSTED = Price(backend="api", input_usd_per_mtok=1.0, output_usd_per_mtok=5.0)


@dataclass
class Site:
    """A fleet of a hosted backend and one without a price, its clock and its traffic."""

    clock: FakeClock
    fleet: Fleet
    traffic: Traffic
    port: int = 0
    stub: Any = None
    replicas: tuple[Replica, ...] = ()

    def serve(self, name: str, usd: float, *, fed: int, made: int) -> None:
        """One answer of a backend, billed at `usd`."""
        row = self.fleet.row(name, "m")
        assert row is not None
        outcome = AttemptOutcome(
            backend=name,
            model="m",
            result="OK",
            usage=TokenUsage(input=fed, output=made),
            cost_usd=usd,
            cost_amortised_usd=2.0 * usd,
        )
        self.traffic.record(Forecast(row), outcome, self.clock.monotonic())

    async def run(self, *args: str) -> Result:
        """The command, in a thread of its own as it blocks."""
        line = [*args, "--address", f"127.0.0.1:{self.port}"]
        return await asyncio.to_thread(CliRunner().invoke, prices, line)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock = FakeClock()
    view = FleetView(clock)
    fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=clock, policies=Policies())
    view.on_change(fleet.apply)
    site = Site(clock, fleet, Traffic(now=clock.monotonic()))

    async def no_feeds() -> tuple[FeedReport, ...]:
        return ()

    service = FleetService(
        replica="r1",
        overview=Overview(fleet=fleet, traffic=site.traffic, load=lambda _: LiveLoad(), agreed=lambda _: Health()),
        recent=Recent(),
        replicas=site,
        view=view,
        feeds=no_feeds,
        in_flight=lambda: 0,
        notices=lambda: (),
        clock=clock,
    )
    backends = {name: backend(name) for name in ("api", "unpriced")}
    view.publish(FleetSnapshot(version=1, backends=backends, prices={("api", ""): book_of(HOSTED)}))
    async with answering(service) as (site.port, site.stub):
        yield site


async def test_a_token_has_its_list_price_and_what_was_paid(site: Site) -> None:
    """$1 in and $5 out blend 3:1 to $2; a thousand in and a thousand out were billed at $3 a million."""
    site.serve("api", 0.006, fed=1000, made=1000)

    answer = await site.stub.ListTokenPrices(pb.ListTokenPricesRequest())

    api, unpriced = answer.backends
    assert (api.backend, unpriced.backend, answer.backend_count) == ("api", "unpriced", 2)
    assert api.usd_per_mtok_blended == pytest.approx(2.0)
    assert api.usd_per_mtok_full == pytest.approx(2.0)
    assert api.usd_per_mtok_paid == pytest.approx(3.0)
    assert api.usd_per_mtok_amortised == pytest.approx(6.0)
    assert (api.input_tokens, api.output_tokens, api.grid_known) == (1000, 1000, False)
    assert not any(unpriced.HasField(name) for name in ("usd_per_mtok_blended", "usd_per_mtok_paid", "trend"))


async def test_history_is_sent_when_asked_for_with_wall_times(site: Site) -> None:
    """A point for each minute with tokens, at its Unix time."""
    site.serve("api", 0.001, fed=300, made=100)
    site.clock.advance(600.0)
    site.serve("api", 0.002, fed=300, made=100)

    answer = await site.stub.ListTokenPrices(pb.ListTokenPricesRequest(backend="api", history=True))

    (api,) = answer.backends
    assert [round(point.usd, 6) for point in api.history] == [0.001, 0.002]
    assert abs(api.history[-1].at.seconds - site.clock.time()) <= 60.0
    assert not (await site.stub.ListTokenPrices(pb.ListTokenPricesRequest())).backends[0].history


async def test_the_command_shows_a_line_for_each_backend(site: Site) -> None:
    """Price in words, blended and paid dollars, the mix of tokens, and a mark where the grid is not known."""
    site.serve("api", 0.006, fed=3000, made=1000)

    shown = (await site.run()).stdout

    line = next(line for line in shown.splitlines() if "api" in line and "unpriced" not in line)
    for cell in ("$1.00 / $5.00 per Mtok", "$2.00", "$1.50", "$3.00", "3.0:1", "4,000", "~480"):
        assert cell in line
    assert "unknown" in next(line for line in shown.splitlines() if "unpriced" in line)


async def test_the_command_speaks_json(site: Site) -> None:
    """With --json the message itself; an unknown backend is an error, and history is for JSON alone."""
    answer = json.loads((await site.run("api", "--json", "--history")).stdout)

    assert answer["backends"][0]["backend"] == "api"
    assert (await site.run("nobody")).exit_code == 1
    assert (await site.run("--history")).exit_code == 2
