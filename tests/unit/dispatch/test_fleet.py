"""What a snapshot means for this process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import FakeClock
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, ServedModel
from router.domain.policies import Policies
from router.domain.pricing import Price, Window, book_of, books
from router.domain.snapshot import FleetSnapshot

BACKEND = Backend(id="a", wire="scripted", address="http://a", models=(ServedModel(model="m"),))


def make() -> tuple[Fleet, FakeClock, list[BackendSpec]]:
    built: list[BackendSpec] = []
    clock = FakeClock()

    def build(spec: BackendSpec) -> ScriptedBackend:
        built.append(spec)
        return ScriptedBackend(spec)

    return Fleet(catalogue=Catalogue(), build_adapter=build, clock=clock, policies=Policies()), clock, built


def snapshot(backend: Backend = BACKEND, *prices: Price, **health: Health) -> FleetSnapshot:
    return FleetSnapshot(
        version=1,
        backends={backend.id: backend},
        prices={(book.backend, book.model): book for book in books(prices)},
        health=health,
    )


def test_what_did_not_change_stays_the_same_object() -> None:
    """Applying an equal snapshot keeps rows and adapters; a price change replaces the row and nothing else."""
    fleet, _, built = make()
    first = snapshot()
    fleet.apply(first)
    row = fleet.row("a", "m")
    fleet.apply(replace(first, version=2))
    assert fleet.row("a", "m") is row
    fleet.apply(replace(first, prices={("a", ""): book_of(Price(backend="a", output_usd_per_mtok=1.0))}))
    changed = fleet.row("a", "m")
    assert row is not None
    assert changed is not None
    assert changed is not row
    assert changed.live is row.live
    assert changed.learned is row.learned
    assert len(built) == 1


def test_a_new_address_means_a_new_adapter_and_keeps_what_was_learnt() -> None:
    """Moving a backend closes the old adapter once nobody needs it, and the load counters go on."""
    fleet, _, built = make()
    fleet.apply(snapshot())
    live = fleet.members["a"].live
    fleet.apply(snapshot(replace(BACKEND, address="http://b", version=2)))
    assert [spec.base_url for spec in built] == ["http://a", "http://b"]
    assert fleet.members["a"].live is live
    assert len(fleet.removed) == 1


def test_a_removed_backend_is_gone_everywhere() -> None:
    """Rows, member and learning leave with the backend."""
    fleet, _, _ = make()
    fleet.apply(snapshot())
    fleet.apply(FleetSnapshot(version=2))
    assert not fleet.members
    assert fleet.row("a", "m") is None
    assert not fleet._learned


def test_health_and_drain_reach_the_row() -> None:
    """What the fleet agrees on is what deciding reads."""
    fleet, _, _ = make()
    fleet.apply(snapshot(replace(BACKEND, drained=True), a=Health(state=HealthState.EJECTED)))
    row = fleet.row("a", "m")
    assert row is not None
    assert row.drained
    assert row.ejected


@pytest.mark.parametrize("bad", [ValueError("no such dialect")])
def test_a_backend_whose_adapter_cannot_be_built_is_unusable_not_fatal(bad: Exception) -> None:
    """One bad backend never stops the others."""

    def build(_spec: BackendSpec) -> ScriptedBackend:
        raise bad

    fleet = Fleet(catalogue=Catalogue(), build_adapter=build, clock=FakeClock(), policies=Policies())
    fleet.apply(snapshot())
    row = fleet.row("a", "m")
    assert row is not None
    assert not row.usable


def test_a_price_holds_within_its_window_only() -> None:
    """Before and after its time a price is unknown, and the fleet says when to look again."""
    fleet, clock, _ = make()
    now = clock.time()
    view = snapshot(
        BACKEND, Price(backend="a", output_usd_per_mtok=1.0, effective_at=now + 60.0, expires_at=now + 120.0)
    )
    known = []
    for _ in range(3):
        fleet.apply(view)
        row = fleet.row("a", "m")
        assert row is not None
        known.append(row.price_known)
        if fleet.prices_change_at < 1e12:
            clock.advance(fleet.prices_change_at - clock.time())
    assert known == [False, True, False]
