"""What a process says of itself: readiness, metrics, and what an operator should read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.app.core import Core
from router.app.shared import Shared
from router.app.watching import STORE_NOTICES, Watching
from router.clock import FakeClock
from router.domain.fleet import Backend, ServedModel
from router.domain.pricing import Price, PriceBook, book_of
from router.domain.snapshot import FleetSnapshot
from router.state.view import FleetView, StoreMode
from router.telemetry.metrics import Metrics

BACKEND = Backend(id="a", wire="scripted", address="http://a", models=(ServedModel(model="m"),))


@dataclass
class Process:
    """A process of which a test sets the parts: those that `Watching` reads, and no others."""

    watching: Watching
    view: FleetView
    clock: FakeClock
    own: FakeClock
    director: Any
    shared: Any

    @property
    def notices(self) -> list[str]:
        return list(self.watching.notices())

    def metric(self, line: str) -> str:
        """The value of one line of the exposition."""
        text, _ = self.watching.metrics()
        return next(found for found in text.decode().splitlines() if found.startswith(f"{line} ")).rpartition(" ")[2]


@pytest.fixture
def process() -> Process:
    clock, own = FakeClock(), FakeClock()
    view = FleetView(clock)
    director = SimpleNamespace(ready=True, draining=False, in_flight=3)
    fleet = SimpleNamespace(version=12, members={"a": BACKEND})
    shared = SimpleNamespace(
        peers=SimpleNamespace(count=2),
        leases=SimpleNamespace(count=64),
        meter=SimpleNamespace(durable=True),
        usage=SimpleNamespace(pending=5),
    )
    overview = SimpleNamespace(prices=SimpleNamespace(busy=()))
    core = SimpleNamespace(director=director, fleet=fleet, metrics=Metrics(), overview=overview)
    watching = Watching(cast(Core, core), cast(Shared, shared), view, clock, own)
    return Process(watching, view, clock, own, director, shared)


def loaded(process: Process, *held: PriceBook) -> None:
    prices = {(book.backend, book.model): book for book in held}
    process.view.publish(FleetSnapshot(version=12, backends={"a": BACKEND}, prices=prices))
    process.view.contact(process.clock.monotonic())


def away(process: Process) -> None:
    loaded(process)
    process.view.disconnect("refused")


def rebuilding(process: Process) -> None:
    loaded(process)
    process.view.rebuilding("it was wiped")


def from_disk(process: Process) -> None:
    process.view.publish_from_disk(FleetSnapshot(version=12, backends={"a": BACKEND}), "no answer")


def test_a_process_is_ready_when_it_takes_requests_and_has_a_fleet(process: Process) -> None:
    """Not before the first snapshot, nor while it drains; the store need not be there."""
    assert process.watching.readiness()[0] is False
    away(process)
    assert process.watching.readiness()[0] is True
    process.director.ready = False
    assert process.watching.readiness()[0] is False


def test_readiness_tells_what_an_operator_asks(process: Process) -> None:
    """Version and age of the snapshot, the store's state, and how much there is, as JSON can say it."""
    loaded(process)
    process.clock.advance(2.0)
    process.view.disconnect("refused")
    process.clock.advance(1.25)

    _, told = process.watching.readiness()

    assert told == {
        "snapshot_version": 12,
        "snapshot_age_s": 3.25,
        "store": "away",
        "store_for_s": 1.25,
        "backends": 1,
        "replicas": 2,
        "draining": False,
        "in_flight": 3,
    }


def test_a_store_that_never_answered_has_no_age_in_json(process: Process) -> None:
    """An infinite age would be no JSON: it is null."""
    from_disk(process)

    _, told = process.watching.readiness()

    assert told["snapshot_age_s"] is None
    assert json.loads(json.dumps(told, allow_nan=False))["store"] == "from disk"


def test_a_process_with_nothing_wrong_has_no_notices(process: Process) -> None:
    """No news is good news."""
    loaded(process, book_of(Price(backend="a", usd_per_hour=1.0)))

    assert process.notices == []


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda _: None, "there is no fleet to serve with"),
        (away, "is away: nothing can be changed, requests go on"),
        (rebuilding, "has lost data, which is being put back: requests go on"),
        (from_disk, "requests go on with the fleet on disk"),
    ],
)
def test_every_state_of_the_store_but_connected_is_told(
    process: Process, happens: Callable[[Process], None], said: str
) -> None:
    """An operator reads what the store's state means for requests and for changes."""
    happens(process)

    (notice,) = process.notices
    assert notice.startswith("the state store ")
    assert said in notice


def test_no_state_of_the_store_is_forgotten() -> None:
    """A mode that is added needs its words."""
    assert set(STORE_NOTICES) == set(StoreMode) - {StoreMode.CONNECTED}


def test_usage_that_would_be_lost_is_told(process: Process) -> None:
    """Counting in memory only is something to repair."""
    loaded(process)
    process.shared.meter.durable = False

    assert process.notices == ["usage is counted in memory only: the journal cannot be written"]
    assert process.metric("router_usage_durable") == "0.0"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.9, []), (90.0, ["this machine's clock is 90.0 s ahead of the store's"])],
)
def test_a_clock_that_is_wrong_is_told(process: Process, seconds: float, said: list[str]) -> None:
    """More than a second off the clock that all replicas share is something to set right."""
    loaded(process)
    process.own.advance(seconds)

    assert process.notices == said


def test_a_clock_that_is_behind_is_told(process: Process) -> None:
    """The other way round as well."""
    loaded(process)
    process.clock.advance(3.5)

    assert process.notices == ["this machine's clock is 3.5 s behind the store's"]


def test_held_prices_are_told_while_they_hold(process: Process) -> None:
    """By backend and model, with the reason; one whose time is over is nobody's concern."""
    now = process.clock.time()
    loaded(
        process,
        book_of(Price(backend="a", usd_per_hour=1.0, held="40x the last price")),
        book_of(Price(backend="a", model="m", usd_per_hour=1.0, held="zero")),
        book_of(Price(backend="b", usd_per_hour=1.0, held="old", expires_at=now)),
    )

    assert process.notices == [
        "price of a is held, a newer quote was not believed: 40x the last price",
        "price of a/m is held, a newer quote was not believed: zero",
    ]


def test_many_held_prices_do_not_hide_everything_else(process: Process) -> None:
    """A feed that talks nonsense about a thousand backends is a few lines and a count."""
    loaded(process, *(book_of(Price(backend=f"b{n}", usd_per_hour=1.0, held="zero")) for n in range(1_000)))

    assert len(process.notices) == 11
    assert process.notices[-1] == "... and 990 more like the last"


def test_metrics_are_of_now(process: Process) -> None:
    """Each reading of the metrics sets the gauges first, the one mode of the store among them."""
    loaded(process)
    process.clock.advance(4.0)
    assert [process.metric(f"router_{name}") for name in ("in_flight_requests", "snapshot_version", "replicas")] == [
        *("3.0", "12.0", "2.0")
    ]
    assert [process.metric(f"router_{name}") for name in ("leases", "usage_pending", "snapshot_age_seconds")] == [
        *("64.0", "5.0", "4.0")
    ]
    assert process.metric("router_store_connected") == "1.0"

    process.director.in_flight = 0
    process.view.disconnect("refused")

    assert process.metric("router_in_flight_requests") == "0.0"
    assert process.metric("router_store_connected") == "0.0"
    modes = {mode: process.metric(f'router_store_mode{{mode="{mode.value}"}}') for mode in StoreMode}
    assert modes == {mode: "1.0" if mode is StoreMode.AWAY else "0.0" for mode in StoreMode}


def test_prices_of_a_token_are_metrics_until_a_backend_leaves(process: Process) -> None:
    """A basis of which nothing is known has no series, and what was removed has none at all."""
    prices = process.watching._core.metrics.prices
    known: dict[str, float | None] = {"blended": 2.0, "full": 1.0, "paid": 3.0, "amortised": None}
    prices.set("a", known, utilisation=0.5, g_per_kwh=480.0)
    assert process.metric('router_usd_per_mtok{backend="a",basis="paid"}') == "3.0"
    assert process.metric('router_grid_g_per_kwh{backend="a"}') == "480.0"

    prices.set("a", known | {"paid": None}, utilisation=0.5, g_per_kwh=480.0)
    text = process.watching.metrics()[0].decode()
    assert 'basis="blended"' in text
    assert 'basis="paid"' not in text

    prices.forget("a")
    assert 'backend="a"' not in process.watching.metrics()[0].decode()
