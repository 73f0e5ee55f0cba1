"""`FleetService` on a real gRPC server, over parts that a test sets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from backends.scripted import ScriptedBackend
from router.api.fleet_service import BEHIND_S, MOST_ALARMS, FleetService
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.dispatch.overview import Overview
from router.dispatch.recent import Recent
from router.dispatch.traffic import Traffic
from router.domain.fleet import Health, HealthState, LiveLoad
from router.domain.outcome import AttemptOutcome
from router.domain.policies import Policies
from router.domain.price_feed import FeedKind, FeedReport, FeedSettings, FeedStatus, report
from router.domain.replica import Beat, Replica
from router.domain.request import RequestProfile
from router.domain.rows import Forecast
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.state.view import FleetView
from router.v1 import fleet_pb2 as pb
from tests.integration.api.fleet_site import CATALOGUE, answering, backend

SICK = Health(state=HealthState.EJECTED, reason="3 probes failed")


@dataclass
class Parts:
    """What the service reads, to be set, and a client of it. `replicas` is also what it asks who lives."""

    clock: FakeClock
    view: FleetView
    fleet: Fleet
    traffic: Traffic
    recent: Recent
    replicas: tuple[Replica, ...] = ()
    feeds: list[FeedReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    asked_feeds: int = 0
    stub: Any = None

    def publish(self, *names: str, version: int = 1, health: dict[str, Health] | None = None) -> None:
        backends = {name: backend(name) for name in names}
        self.view.publish(FleetSnapshot(version=version, backends=backends, health=health or {}))
        self.view.contact(self.clock.monotonic())

    def beats(self, **versions: int) -> None:
        self.replicas = tuple(
            Replica(beat=Beat(replica=name, fleet_version=version), age_s=0.05) for name, version in versions.items()
        )

    def send(self, name: str, count: int) -> None:
        row = self.fleet.row(name, "m")
        assert row is not None
        for _ in range(count):
            outcome = AttemptOutcome(backend=name, model="m", result="OK", ttft_s=0.1)
            self.traffic.record(Forecast(row), outcome, self.clock.monotonic())

    def decide(self, count: int, result: str = "OK") -> None:
        decider = Decider(
            fleet=self.fleet, lengths=OutputLength(), clock=self.clock, uniform=random.Random(1).random, age=lambda: 0.0
        )
        for number in range(count):
            profile = RequestProfile(request_id=f"r{number}", model="m", input_tokens=100.0, tenant="team-a")
            self.recent.record(profile, decider.plan(profile), None, result)

    async def overview(self, **fields: int) -> pb.GetOverviewResponse:
        return await self.stub.GetOverview(pb.GetOverviewRequest(**fields))  # type: ignore[no-any-return]  # untyped


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    clock = FakeClock()
    view = FleetView(clock)
    fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=clock, policies=Policies())
    view.on_change(fleet.apply)
    parts = Parts(clock, view, fleet, Traffic(now=clock.monotonic()), Recent())

    async def feeds() -> tuple[FeedReport, ...]:
        parts.asked_feeds += 1
        return tuple(parts.feeds)

    service = FleetService(
        replica="r1",
        overview=Overview(
            fleet=fleet,
            traffic=parts.traffic,
            load=lambda _: LiveLoad(),
            agreed=lambda name: view.snapshot.health.get(name, Health()),
        ),
        recent=parts.recent,
        replicas=parts,
        view=view,
        feeds=feeds,
        in_flight=lambda: 4,
        notices=lambda: parts.notices,
        clock=clock,
    )
    async with answering(service) as (_, parts.stub):
        yield parts


async def test_an_overview_of_an_empty_fleet(parts: Parts) -> None:
    """A router that has nothing yet says so and is no error; its snapshot has no age."""
    answer = await parts.overview()

    assert (answer.replica, answer.store, answer.in_flight, answer.backend_count) == ("r1", "empty", 4, 0)
    assert answer.snapshot_age_s == float("inf")
    assert not answer.backends
    assert not answer.decisions


async def test_the_busiest_are_shown_and_all_are_counted(parts: Parts) -> None:
    """Of many backends those asked for, the busiest first with their shares; without a number, a hundred."""
    parts.publish(*(f"b{n:03}" for n in range(150)))
    parts.send("b149", 3)
    parts.send("b100", 1)

    some, all_ = await parts.overview(backends=3), await parts.overview()

    assert [(shown.id, shown.share) for shown in some.backends] == [("b149", 0.75), ("b100", 0.25), ("b000", 0.0)]
    assert (some.backend_count, len(all_.backends)) == (150, 100)
    assert all(shown.hardware.emulated for shown in all_.backends)
    assert some.requests_per_s == 4.0


async def test_decisions_come_newest_first(parts: Parts) -> None:
    """As many as asked for, ten without a number, a thousand at most."""
    parts.publish("a")
    parts.decide(1_100)

    lengths = [len((await parts.overview(decisions=asked)).decisions) for asked in (3, 0, 4_000_000_000)]
    newest = (await parts.overview(decisions=1)).decisions[0]

    assert lengths == [3, 10, 1_000]
    assert (newest.request_id, newest.tenant, newest.backend, newest.result) == ("r1099", "team-a", "a", "OK")


async def test_every_ejected_backend_is_an_alarm_however_few_are_shown(parts: Parts) -> None:
    """A sick backend has no traffic, so it is the last that is shown, and the first that is told of."""
    parts.publish("a", "z", health={"z": SICK})
    parts.send("a", 5)

    answer = await parts.overview(backends=1)

    assert [shown.id for shown in answer.backends] == ["a"]
    assert list(answer.alarms) == ["z is ejected: 3 probes failed"]


async def test_a_sick_fleet_does_not_drown_the_other_alarms(parts: Parts) -> None:
    """A thousand ejected backends are ten lines and a count; what else is wrong is still there."""
    names = [f"b{n:04}" for n in range(1_000)]
    parts.publish(*names, health=dict.fromkeys(names, SICK))
    parts.notices = ["the disk is full"]

    alarms = list((await parts.overview()).alarms)

    assert len(alarms) == MOST_ALARMS + 2
    assert alarms[-2:] == ["... and 990 more like the last", "the disk is full"]


async def test_a_replica_that_beats_but_does_not_follow_is_behind(parts: Parts) -> None:
    """It is told once it has had time to follow, with both versions, and no more when it has caught up."""
    parts.publish("a", version=7)
    parts.beats(r1=7, r2=7)
    parts.clock.advance(60.0)
    parts.publish("a", version=9)
    parts.beats(r1=9, r2=7)
    assert not (await parts.overview()).alarms

    parts.clock.advance(BEHIND_S)
    late = list((await parts.overview()).alarms)
    parts.beats(r1=9, r2=9)

    assert late == ["replica r2 runs version 7, 2 behind"]
    assert not (await parts.overview()).alarms


async def test_a_replica_behind_is_told_while_changes_go_on(parts: Parts) -> None:
    """Under a steady stream of changes whoever follows closely is not behind, and whoever stands still is."""
    for version in range(1, 101):
        parts.publish("a", version=version)
        parts.clock.advance(0.1)
    parts.beats(r1=100, r2=97, r3=40)

    assert list((await parts.overview()).alarms) == ["replica r3 runs version 40, 60 behind"]


@pytest.mark.parametrize(
    ("age_s", "alarms"), [(10.0, []), (700.0, ["price feed spot is stale (503): prices are held"])]
)
async def test_a_stale_feed_is_an_alarm(parts: Parts, age_s: float, alarms: list[str]) -> None:
    """A feed that has said nothing good for too long, and why; one that is fresh is no news."""
    parts.publish("a")
    settings = FeedSettings(name="spot", kind=FeedKind.HTTP_JSON, max_age_s=600.0)
    now = parts.clock.time()
    parts.feeds = [report(settings, FeedStatus(name="spot", last_good_at=now - age_s, last_error="503"), now)]

    listed = await parts.stub.ListFeeds(pb.ListFeedsRequest())

    assert list((await parts.overview()).alarms) == alarms
    assert [feed.name for feed in listed.feeds] == ["spot"]


async def test_an_overview_does_not_wait_for_a_store_that_is_away(parts: Parts) -> None:
    """The state of feeds is in the store: while it is away nobody asks it, and the store's state is told."""
    parts.publish("a")
    parts.view.disconnect("refused")
    parts.clock.advance(3.0)

    answer = await parts.overview()

    assert (answer.store, answer.store_for_s, answer.snapshot_age_s) == ("away", 3.0, 3.0)
    assert parts.asked_feeds == 0


async def test_replicas_are_listed_with_this_one_marked(parts: Parts) -> None:
    """Who lives, at which version, and which of them answers."""
    parts.publish("a", version=5)
    parts.beats(r1=5, r2=4)

    answer = await parts.stub.ListReplicas(pb.ListReplicasRequest())

    assert [(replica.id, replica.fleet_version, replica.self) for replica in answer.replicas] == [
        ("r1", 5, True),
        ("r2", 4, False),
    ]
    assert answer.fleet_version == 5
