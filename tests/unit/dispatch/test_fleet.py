"""What a snapshot means for this process."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import FakeClock
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, Health, HealthState, Parameter, ServedModel
from router.domain.hardware import Model
from router.domain.policies import Policies
from router.domain.pricing import Price, Window, book_of, books
from router.domain.rows import CAPABILITY_BIT, PARAMETER_BIT
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


def test_a_schedule_turns_the_price_at_its_minute() -> None:
    """The row has the price of the time of day; the fleet is to be looked at when the window opens and shuts."""
    evening = Window(start_minute=18 * 60, end_minute=19 * 60, factor=0.5)
    fleet, clock, _ = make()
    clock.advance(datetime(2027, 1, 15, 17, 30, tzinfo=UTC).timestamp() - clock.time())
    view = snapshot(BACKEND, Price(backend="a", usd_per_hour=3600.0, schedule=(evening,)))
    seen = []
    for _ in range(3):
        fleet.apply(view)
        row = fleet.row("a", "m")
        assert row is not None
        seen.append((datetime.fromtimestamp(clock.time(), UTC).strftime("%H:%M"), row.usd_per_s))
        clock.advance(fleet.prices_change_at - clock.time())
    assert seen == [("17:30", 1.0), ("18:00", 0.5), ("19:00", 1.0)]


def test_an_overtaken_price_does_not_keep_the_fleet_busy() -> None:
    """The time of a price that no row asks for any more comes and goes once; then there is nothing to look at."""
    fleet, clock, _ = make()
    now = clock.time()
    general = Price(backend="a", usd_per_hour=1.0, expires_at=now + 5.0)
    own = Price(backend="a", model="m", usd_per_hour=2.0, effective_at=now + 1.0)
    view = snapshot(BACKEND, general, own)
    for _ in range(3):
        fleet.apply(view)
        clock.advance(4.0)
    assert fleet.prices_change_at > 1e12


def test_a_clock_that_is_put_back_takes_a_price_back() -> None:
    """When the store's clock turns out to be behind, a price that began too early is not in force any more."""
    fleet, clock, _ = make()
    view = snapshot(BACKEND, Price(backend="a", usd_per_hour=1.0, effective_at=clock.time() + 3.0))
    clock.advance(5.0)
    fleet.apply(view)
    clock.advance(-5.0)
    fleet.apply(view)
    row = fleet.row("a", "m")
    assert row is not None
    assert not row.price_known
    assert fleet.prices_change_at == clock.time() + 3.0


def test_one_change_makes_one_row() -> None:
    """In a fleet of many, the change of one price leaves every other row the object that it was."""
    fleet, _, _ = make()
    backends = {f"b{n}": replace(BACKEND, id=f"b{n}") for n in range(50)}
    prices = {(b, ""): book_of(Price(backend=b, usd_per_hour=1.0)) for b in backends}
    fleet.apply(FleetSnapshot(version=1, backends=backends, prices=prices))
    before = {row.id: row for row in fleet.rows_for("m")}
    changed = prices | {("b7", ""): book_of(Price(backend="b7", usd_per_hour=2.0))}
    fleet.apply(FleetSnapshot(version=2, backends=backends, prices=changed))
    assert [row.id for row in fleet.rows_for("m") if before[row.id] is not row] == ["b7"]


IDS = st.sampled_from(["a", "b", "c"])
EDITS = st.one_of(
    st.tuples(st.just("backend"), IDS, st.frozensets(st.sampled_from(["m", "n", "o"]), min_size=1), st.booleans()),
    st.tuples(st.just("address"), IDS),
    st.tuples(st.just("remove"), IDS),
    st.tuples(st.just("price"), IDS, st.sampled_from(["", "m"]), st.integers(1, 9), st.integers(0, 40)),
    st.tuples(st.just("unprice"), IDS, st.sampled_from(["", "m"])),
    st.tuples(st.just("health"), IDS, st.sampled_from(HealthState)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


def edited(snapshot: FleetSnapshot, edit: tuple[Any, ...], clock: FakeClock) -> FleetSnapshot:
    """The next snapshot, made as the store's changes make it: a new dictionary where something changed."""
    kind, *rest = edit
    version = snapshot.version + 1
    match kind:
        case "backend":
            backend_id, models, drained = rest
            served = tuple(ServedModel(model=model) for model in sorted(models))
            backend = replace(BACKEND, id=backend_id, models=served, drained=drained, version=version)
            return replace(snapshot, version=version, backends=snapshot.backends | {backend_id: backend})
        case "address" if rest[0] in snapshot.backends:
            backend = replace(snapshot.backends[rest[0]], address=f"http://{version}", version=version)
            return replace(snapshot, version=version, backends=snapshot.backends | {rest[0]: backend})
        case "remove":
            return replace(
                snapshot,
                version=version,
                backends={key: value for key, value in snapshot.backends.items() if key != rest[0]},
                # Health may come or go a change later than its backend.
                prices={key: value for key, value in snapshot.prices.items() if key[0] != rest[0]},
            )
        case "price":
            backend_id, model, usd, wait_s = rest
            price = Price(backend=backend_id, model=model, usd_per_hour=float(usd), effective_at=clock.time() + wait_s)
            book = snapshot.prices.get((backend_id, model)) or book_of(price)
            book = book.with_price(price, now=clock.time())
            return replace(snapshot, version=version, prices=snapshot.prices | {(backend_id, model): book})
        case "unprice":
            left = {key: value for key, value in snapshot.prices.items() if key != tuple(rest)}
            return replace(snapshot, version=version, prices=left)
        case "health":
            health = Health(state=rest[1], version=version)
            return replace(snapshot, version=version, health=snapshot.health | {rest[0]: health})
        case "wait":
            clock.advance(float(rest[0]))
    return snapshot


def shown(fleet: Fleet) -> tuple[object, ...]:
    """Everything that deciding may see of a fleet."""
    rows = {
        (row.id, row.model, row.backend, row.price, row.drained, row.ejected, row.suspect, row.warming, row.usable)
        for rows in fleet.served().values()
        for row in rows
    }
    by_name = {name: {row.id for row in fleet.rows_for(name)} for name in fleet.served()}
    members = {name: (member.backend, member.adapter is not None) for name, member in fleet.members.items()}
    learned = set(fleet._learned), set(fleet._sources), set(fleet._rows)
    return rows, by_name, members, learned, fleet.version


@given(st.lists(EDITS, max_size=25))
def test_following_changes_leads_to_what_a_fresh_start_has(edits: list[tuple[Any, ...]]) -> None:
    """After any history of changes and of time, the fleet is as one that sees the last snapshot first."""
    fleet, clock, _ = make()
    state = FleetSnapshot()
    for edit in edits:
        state = edited(state, edit, clock)
        if clock.time() >= fleet.prices_change_at or state.version != fleet.version:
            fleet.apply(state)
        for name in fleet.served():
            fleet.rows_for(name)  # what is kept for a name must not outlive the rows
        fresh = Fleet(catalogue=Catalogue(), build_adapter=ScriptedBackend, clock=clock, policies=Policies())
        fresh.apply(state)
        assert shown(fleet) == shown(fresh)
        assert fleet.prices_change_at > clock.time()


def test_a_model_that_reads_no_images_is_offered_none() -> None:
    """Vision counts where the backend declares it and the model of the catalogue reads images, or is not in it."""
    models = {
        "blind": Model(id="blind", modalities=("text",)),
        "eye": Model(id="eye", modalities=("text", "image")),
    }
    fleet = Fleet(
        catalogue=Catalogue(models=models), build_adapter=ScriptedBackend, clock=FakeClock(), policies=Policies()
    )
    served = tuple(ServedModel(model=name) for name in ("blind", "eye", "unknown"))
    fleet.apply(snapshot(replace(BACKEND, models=served, capabilities=frozenset({Capability.VISION}))))
    (blind,), (eye,), (unknown,) = (fleet.served()[name] for name in ("blind", "eye", "unknown"))
    bit = CAPABILITY_BIT[Capability.VISION]
    assert (blind.capabilities & bit, eye.capabilities & bit, unknown.capabilities & bit) == (0, bit, bit)


def test_what_one_server_refuses_is_not_asked_of_it() -> None:
    """The option `without` takes capabilities and parameters away that its family has."""
    fleet, _, _ = make()
    backend = replace(BACKEND, capabilities=frozenset({Capability.TOOLS, Capability.SEED}))
    fleet.apply(snapshot(replace(backend, options=(("without", "top_k,tools"),))))
    row = fleet.row("a", "m")
    assert row is not None
    assert not row.capabilities & (CAPABILITY_BIT[Capability.TOOLS] | PARAMETER_BIT[Parameter.TOP_K])
    assert row.capabilities & CAPABILITY_BIT[Capability.SEED]
    assert row.capabilities & PARAMETER_BIT[Parameter.TOP_P]
