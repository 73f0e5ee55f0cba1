"""The fleet as people see it: who is busy, what a token costs, who is sick."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.fleet import Fleet
from router.dispatch.overview import BackendView, Look, Overview
from router.dispatch.price_board import REFERENCE_INPUT, REFERENCE_OUTPUT
from router.dispatch.traffic import IDLE, Traffic
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, LiveLoad, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.outcome import AttemptOutcome
from router.domain.policies import Policies
from router.domain.pricing import Price, Window, books
from router.domain.rows import Forecast, Row
from router.domain.snapshot import FleetSnapshot
from router.prediction import learning, predictor

CATALOGUE = Catalogue(
    hardware={
        "h100": Hardware(
            id="h100",
            name="NVIDIA H100",
            kind="gpu",
            memory_bytes=80e9,
            memory_bandwidth_bytes_per_s=3.35e12,
            flops_per_s=989e12,
            tdp_w=700.0,
        )
    },
    models={
        "small": Model(id="small", parameters=8e9, active_parameters=8e9, layers=32, kv_bytes_per_token=131_072.0),
        "large": Model(id="large", parameters=70e9, active_parameters=70e9, layers=80, kv_bytes_per_token=327_680.0),
    },
)


@dataclass
class Seen:
    """An overview over a fleet, and what it reads."""

    overview: Overview
    fleet: Fleet
    traffic: Traffic
    loads: dict[str, LiveLoad]
    clock: FakeClock

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def send(self, backend: str, count: int = 1, cost_usd: float = 0.0) -> None:
        outcome = AttemptOutcome(backend=backend, model="small", result="OK", cost_usd=cost_usd)
        for _ in range(count):
            self.traffic.record(Forecast(self.row(backend)), outcome, self.now)

    def row(self, backend: str) -> Row:
        return next(row for rows in self.fleet.served().values() for row in rows if row.id == backend)

    def look(self, limit: int = 10_000) -> Look:
        return asyncio.run(self.overview.look(limit, self.now))

    def view(self, backend: str = "a") -> BackendView:
        return next(view for view in self.look().backends if view.backend.id == backend)


See = Callable[..., Seen]


def see(*backends: Backend, prices: tuple[Price, ...] = (), health: dict[str, Health] | None = None) -> Seen:
    clock = FakeClock()
    fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=clock, policies=Policies())
    snapshot = FleetSnapshot(
        version=1,
        backends={backend.id: backend for backend in backends},
        prices={(book.backend, book.model): book for book in books(prices)},
        health=health or {},
    )
    fleet.apply(snapshot)
    traffic = Traffic(now=clock.monotonic())
    loads: dict[str, LiveLoad] = {}
    overview = Overview(
        fleet=fleet,
        traffic=traffic,
        load=lambda name: loads.get(name, LiveLoad()),
        agreed=lambda name: snapshot.health.get(name, Health()),
    )
    return Seen(overview, fleet, traffic, loads, clock)


def backend(name: str = "a", *models: str, **facts: object) -> Backend:
    served = tuple(ServedModel(model=model) for model in models or ("small",))
    base = Backend(id=name, wire="scripted", address=f"http://{name}", models=served, hardware="h100")
    return replace(base, **facts)  # type: ignore[arg-type]  # a test's own keywords


def test_the_busiest_are_listed_first_then_the_idle_by_name() -> None:
    """Most requests first; backends with as many, and those without any, in the order of their ids."""
    seen = see(*(backend(name) for name in "edcba"))
    seen.send("d", 5)
    seen.send("b", 2)
    seen.send("c", 2)

    order = [view.backend.id for view in seen.look(10).backends]

    assert order == ["d", "b", "c", "a", "e"]
    assert [view.backend.id for view in seen.look(2).backends] == ["d", "b"]
    assert seen.look(0).backends == ()
    assert seen.look(2).backend_count == 5


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_shares_add_up_to_one(counts: list[int]) -> None:
    """Shares are of all requests of the minute; without any request they are all zero."""
    seen = see(*(backend(f"b{n}") for n in range(len(counts))))
    for number, count in enumerate(counts):
        seen.send(f"b{number}", count)

    views = seen.look(100).backends

    assert sum(view.share for view in views) == pytest.approx(1.0 if any(counts) else 0.0)
    assert all(view.share == pytest.approx(counts[int(view.backend.id[1:])] / max(1, sum(counts))) for view in views)
    assert [view.share for view in views] == sorted((view.share for view in views), reverse=True)


def test_a_backend_that_left_has_no_part_in_shares_and_totals() -> None:
    """What a removed backend had is not shown, though its minute is still in memory."""
    seen = see(backend("a"), backend("b"))
    seen.send("a", 1, cost_usd=1.0)
    seen.send("b", 3, cost_usd=1.0)
    seen.fleet.apply(FleetSnapshot(version=2, backends={"a": seen.fleet.members["a"].backend}))

    (only,) = seen.look(10).backends

    assert (only.backend.id, only.share) == ("a", 1.0)
    assert (seen.look().requests_per_s, seen.look().usd_per_hour) == (1.0, 3600.0)


def test_an_hour_of_silence_shows_nothing_stale() -> None:
    """After an hour without requests there are no rates, shares or times, and the order is by id."""
    seen = see(backend("a"), backend("z"))
    seen.send("z", 9, cost_usd=1.0)
    seen.clock.advance(3600.0)

    first, second = seen.look(10).backends

    assert (first.backend.id, second.backend.id) == ("a", "z")
    assert (second.rates, second.share) == (IDLE, 0.0)
    assert (seen.look().requests_per_s, seen.look().usd_per_hour) == (0.0, 0.0)


def test_a_price_per_token_is_blended_three_to_one() -> None:
    """Three input tokens to one output token: $1 and $5 per million come to $2."""
    seen = see(
        backend("a"), prices=(Price(backend="a", input_usd_per_mtok=1.0, output_usd_per_mtok=5.0, batch_discount=0.5),)
    )

    assert REFERENCE_INPUT == 3 * REFERENCE_OUTPUT
    assert seen.view().usd_per_mtok == pytest.approx(2.0)


def test_a_price_per_hour_becomes_one_per_token_by_predicted_throughput() -> None:
    """Rent over the replica's predicted seconds for the reference request, which sharing a batch makes cheaper."""
    seen = see(backend("a"), prices=(Price(backend="a", usd_per_hour=3.6),))
    row = seen.row("a")
    prior_ttft_s, tpot_s = predictor.prior_times(
        row, input_tokens=REFERENCE_INPUT, output_tokens=REFERENCE_OUTPUT, batch=0.0
    )
    x1, x2 = learning.tpot_features(0.0, REFERENCE_INPUT + 0.5 * REFERENCE_OUTPUT)
    tpot_s *= math.exp(row.learned.tpot.mean(x1, x2) + 0.5 * row.learned.tpot.variance(x1, x2))
    busy_s = row.speed.prefill_token_s * REFERENCE_INPUT + REFERENCE_OUTPUT * tpot_s

    alone = seen.view().usd_per_mtok
    row.live.in_flight = 15
    together = seen.view().usd_per_mtok

    assert prior_ttft_s > 0.0
    assert alone == pytest.approx(1e-3 * busy_s * 1e6 / 800.0)
    assert together is not None
    assert together < alone / 5.0  # type: ignore[operator]  # pytest.approx has no type


def test_what_was_learnt_of_speed_moves_the_price_of_a_token() -> None:
    """A rented backend that is found to be twice as slow costs twice as much a token of decoding."""
    seen = see(backend("a"), prices=(Price(backend="a", usd_per_hour=3.6),))
    before = seen.view().usd_per_mtok
    learned = seen.row("a").learned
    learned.tpot.w0 += 0.6931

    after = seen.view().usd_per_mtok

    assert before is not None
    assert after is not None
    assert 1.8 < after / before <= 2.0


def test_the_cheapest_model_of_a_backend_is_what_is_shown() -> None:
    """Of several models the least dollars a token; one without a known price does not count."""
    prices = (
        Price(backend="a", model="small", input_usd_per_mtok=1.0, output_usd_per_mtok=1.0),
        Price(backend="a", model="large", input_usd_per_mtok=9.0, output_usd_per_mtok=9.0),
    )

    both = see(backend("a", "large", "small"), prices=prices).view().usd_per_mtok
    one = see(backend("a", "large", "small"), prices=prices[1:]).view().usd_per_mtok

    assert both == pytest.approx(1.0)
    assert one == pytest.approx(9.0)


def test_a_price_that_nobody_knows_is_not_nothing() -> None:
    """Without a price, or with one that charges nothing known, a token costs None, not zero."""
    assert see(backend("a")).view().usd_per_mtok is None
    assert see(backend("a"), prices=(Price(backend="a", batch_discount=0.5),)).view().usd_per_mtok is None
    assert see(backend("a")).view().price is None


def test_the_price_is_the_one_of_this_time_of_day() -> None:
    """A schedule that doubles the price at all hours is in the price and in the dollars per token."""
    night = Window(start_minute=0, end_minute=24 * 60, factor=2.0)
    price = Price(backend="a", input_usd_per_mtok=1.0, output_usd_per_mtok=1.0, schedule=(night,))

    view = see(backend("a"), prices=(price,)).view()

    assert view.price is not None
    assert view.price.output_usd_per_mtok == 2.0
    assert view.usd_per_mtok == pytest.approx(2.0)


@pytest.mark.parametrize("state", [HealthState.HEALTHY, HealthState.EJECTED, HealthState.UNKNOWN])
def test_a_drained_backend_is_shown_as_draining(state: HealthState) -> None:
    """Drained by an operator outranks whatever probes say, keeps the time, and is no alarm."""
    seen = see(backend("a", drained=True), health={"a": Health(state=state, reason="probes", since=5.0)})

    assert seen.view().health == Health(state=HealthState.DRAINING, reason="drained by an operator", since=5.0)
    assert seen.look().ejected == ()


def test_what_this_replica_sees_outranks_what_was_agreed() -> None:
    """Health and load as this replica has them now; the fleet's word where it has none of its own."""
    seen = see(backend("a"), backend("b"), health={"b": Health(state=HealthState.SUSPECT, reason="slow")})
    warming = Health(state=HealthState.WARMING)
    seen.loads["a"] = LiveLoad(running=3, waiting=1, kv_cache_usage=0.5, health=warming)
    seen.row("a").live.in_flight = 2

    view = seen.view("a")

    assert (view.health, view.in_flight, view.load.running) == (warming, 2.0, 3)
    assert seen.view("b").health.reason == "slow"


def test_every_ejected_backend_is_told_of_however_idle_it_is() -> None:
    """Sick ones by id, of the whole fleet: by the fleet's word, or by this replica's before the others know."""
    sick = Health(state=HealthState.EJECTED, reason="3 probes failed")
    seen = see(*(backend(f"b{n:03}") for n in range(200)), health={"b150": sick, "b007": sick})
    seen.fleet.members["b199"].live.ejected = True
    seen.loads["b199"] = LiveLoad(health=Health(state=HealthState.EJECTED, reason="refused"))
    seen.send("b001", 5)

    assert [(name, health.reason) for name, health in seen.look(1).ejected] == [
        ("b007", "3 probes failed"),
        ("b150", "3 probes failed"),
        ("b199", "refused"),
    ]


def test_emulated_hardware_is_labelled() -> None:
    """The label of hardware says how many there are and that a simulator answers in its place."""
    assert str(see(backend("a", emulated=True, hardware_count=4)).view().hardware) == "4x NVIDIA H100 (emulated)"


def test_others_have_their_turn_while_a_large_fleet_is_looked_at() -> None:
    """However many backends are asked for, the event loop is given back again and again."""
    seen = see(*(backend(f"b{n:04}") for n in range(1_000)))
    for number in range(1_000):
        seen.send(f"b{number:04}")

    async def turns_meanwhile() -> int:
        turns, looking = 0, asyncio.create_task(seen.overview.look(1_000, seen.now))
        while not looking.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(turns_meanwhile()) >= 8
