"""Decisions over large fleets: the few that are looked at are those that matter, and each is held to every limit."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.dispatch.decider import Decider
from router.dispatch.large import MOST_NAMES, Crowds
from router.domain.fleet import Capability, Health, HealthState
from router.domain.live import NEVER
from router.domain.request import Placement
from router.prediction.coefficients import COUNT, coefficients
from router.scheduling import filters, picker
from router.scheduling.shortlist import Lots
from tests.unit.dispatch import large_fleets
from tests.unit.dispatch.deciding import Site
from tests.unit.dispatch.large_fleets import decider, disturb, plain, request, whole

ROWS = 600


@cache
def fleet(seed: int, busy: int = 90) -> Site:
    return large_fleets.site(seed, ROWS, busy=busy)


@pytest.mark.parametrize("busy", [90, 600], ids=["busy", "overloaded"])
def test_the_choice_is_that_of_looking_at_all(busy: int) -> None:
    """Of 300 requests, at least 99 % get the same backend and fallbacks as when all are looked at, and none a worse."""
    same = looked_at_few = 0
    for seed in range(2):
        made = fleet(seed, busy)
        rng = random.Random(seed)
        for n in range(150):
            draw = rng.random()
            plan = decider(made, draw).plan(request(1000 * seed + n))
            full = whole(made, plan, draw)
            looked_at_few += len(plan.ranking.ordered) < len(full.ordered)
            same += [f.row for f in plan.ranking.ordered[:5]] == [f.row for f in full.ordered[:5]]
            if full.ordered:
                best = min(f.rank_usd for f in full.ordered)
                assert min(f.rank_usd for f in plan.ranking.ordered) <= best + 1e-3 * abs(best)
    assert looked_at_few > 200
    assert same >= 297


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 3), number=st.integers(0, 10**6), later=st.floats(0.0, 30.0), draw=st.floats(0.0, 0.999))
def test_nothing_barred_gets_through(seed: int, number: int, later: float, draw: float) -> None:
    """Whatever has changed without a word, everything that is ranked passes every hard constraint at that moment."""
    made = fleet(seed)
    rng = random.Random(number)
    lives = [member.live for member in made.fleet.members.values()]
    decider_ = decider(made, draw)
    profile = request(number)
    decider_.plan(profile)
    for live in rng.sample(lives, 100):
        disturb(live, rng, busy=90, now=made.clock.monotonic())
        live.ejected = rng.random() < 0.5
    made.clock.advance(later)
    plan = decider_.plan(profile, avoid=frozenset(f"b{rng.randrange(ROWS):05d}" for _ in range(20)))
    ranking = plan.ranking
    for forecast in ranking.ordered:
        code = filters.check(forecast.row, ranking.constraints, ranking.now, ignore_health=ranking.panic)
        assert code == filters.KEEP
        assert not filters.over_cap(forecast, ranking.constraints)


def test_what_was_told_counts_at_once() -> None:
    """A backend that gets work, or opens its circuit, is seen as it is by the next request."""
    made = large_fleets.site(5, ROWS, busy=2)
    one = decider(made, 0.5)
    for n in range(100):
        plan = one.plan(request(n, session_key=""))
        if not plan.ranking.ordered:
            continue
        chosen = plan.ranking.ordered[0]
        if n % 3:
            attempt = made.feedback.begin(chosen, force=True)
            assert attempt is not None
        else:
            chosen.row.live.open_until = made.clock.monotonic() + 5.0
            made.fleet.touched(chosen.row.id)
        again = one.plan(request(n, session_key=""))
        full = whole(made, again, 0.5)
        assert again.ranking.ordered[0].row is full.ordered[0].row


def test_what_nobody_tells_is_read_in_turn() -> None:
    """A backend whose limit has filled up again without a word is found within some seconds of requests."""
    made = large_fleets.site(6, ROWS, alike=True)
    one = decider(made, 0.5)
    best = made.fleet.members["b00300"].live
    for member in made.fleet.members.values():
        member.live.in_flight, member.live.worth_usd_per_s = 20, 20e-4
    best.in_flight, best.worth_usd_per_s, best.open_until = 0, 0.0, made.clock.monotonic() + 1e9
    profile = plain()
    assert one.plan(profile).ranking.ordered[0].row.id != "b00300"
    best.open_until = NEVER
    for _ in range(50):
        made.clock.advance(0.1)
        plan = one.plan(profile)
    assert plan.ranking.ordered[0].row.id == "b00300"


@pytest.mark.parametrize("change", ["price", "gone", "joined", "sick"])
def test_a_changed_fleet_is_followed(change: str) -> None:
    """After a price, a removal, an arrival or a verdict on health, the choice is that of looking at all."""
    made = large_fleets.site(7, ROWS, busy=3)
    one = decider(made, 0.5)
    profile = plain()
    chosen = one.plan(profile).ranking.ordered[0].row
    if change == "price":
        key = (chosen.id, "")
        made.prices[key] = large_fleets.dearer(made.prices[key])
    elif change == "gone":
        del made.backends[chosen.id]
    elif change == "joined":
        made.backends |= {"b99999": large_fleets.renamed(made.backends[chosen.id], "b99999")}
    else:
        made.health = {**made.health, chosen.id: Health(state=HealthState.EJECTED)}
    made.apply()

    plan = one.plan(profile)

    assert plan.ranking.ordered[0].row is whole(made, plan, 0.5).ordered[0].row
    assert plan.ranking.partial
    for n in range(30):
        plan = one.plan(request(n))
        assert [f.row for f in plan.ranking.ordered[:3]] == [f.row for f in whole(made, plan, 0.5).ordered[:3]]


def test_where_all_are_sick_all_are_looked_at() -> None:
    """The last backends that could serve are not shut out, and an empty plan says of every row why."""
    made = large_fleets.site(8, ROWS, alike=True)
    for member in made.fleet.members.values():
        member.live.ejected = True
    sick = decider(made, 0.5).plan(plain())
    barred = decider(made, 0.5).plan(plain(needs=frozenset({Capability.VISION})))

    assert sick.ranking.panic
    assert len(sick.ranking.ordered) == ROWS
    assert not barred.ranking.ordered
    assert len(barred.ranking.dropped) == ROWS


def test_sessions_keep_to_one_of_hundreds_of_equals() -> None:
    """Where more are as good as the best than are looked at, a session gets the one that all routers would give it."""
    made = large_fleets.site(9, ROWS, alike=True)
    for n in range(30):
        plan = decider(made, 0.5).plan(plain(session_key=f"s{n}"))
        assert plan.ranking.partial
        assert plan.ranking.ordered[0].row is whole(made, plan, 0.5).ordered[0].row


def test_equals_get_their_turn() -> None:
    """Requests without a session are spread over more of hundreds of equals than are looked at for any one of them."""
    made = large_fleets.site(9, ROWS, alike=True)
    draws = random.Random(4)
    one = Decider(fleet=made.fleet, lengths=made.lengths, clock=made.clock, uniform=draws.random, age=lambda: 0.0)
    profile = plain()
    found = {one.plan(profile).ranking.ordered[0].row.id for _ in range(600)}

    assert len(found) > 100


def test_only_the_named_are_looked_at() -> None:
    """A request that names its backends is decided among those."""
    made = fleet(1)
    able = whole(made, decider(made, 0.5).plan(request(1)), 0.5).ordered
    names = (able[0].row.id, able[-1].row.id)
    plan = decider(made, 0.5).plan(request(1, placement=Placement(only_backends=names)))

    assert {f.row.id for f in plan.ranking.ordered} <= set(names)
    assert plan.ranking.ordered


def test_a_decision_that_is_read_whole_is_whole() -> None:
    """Asked for the full decision afterwards, every row is in it, and the choice stays."""
    made = fleet(2)
    one = decider(made, 0.5)
    plan = one.plan(request(2))
    chosen = plan.ranking.ordered[0].row.id
    decision = one.full(plan)

    assert decision.chosen is not None
    assert decision.chosen.backend == chosen
    rows = made.fleet.rows_for(plan.profile.model)
    assert {c.backend for c in decision.ranked} | {d.backend for d in decision.drops} >= {row.id for row in rows}


@given(seed=st.text(max_size=20), names=st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=20))
def test_lots_of_many_are_the_lots_of_each(seed: str, names: list[bytes]) -> None:
    """Drawing for many names at once gives each what the picker would give it."""
    texts = [name.hex() for name in names]

    assert Lots([text.encode() for text in texts]).of(seed).tolist() == [picker.lot(seed + text) for text in texts]


def test_coefficients_are_as_many_as_are_named() -> None:
    """Every row has a value for each coefficient."""
    assert len(coefficients(fleet(0).fleet.rows_for(large_fleets.MODELS[0])[0])) == COUNT


def test_names_that_nobody_asks_for_are_forgotten() -> None:
    """Vectors are kept for the names that were asked for last, and only those hear of changes."""
    made = large_fleets.site(3, 300, alike=True)
    crowds = Crowds(made.fleet)
    rows = made.fleet.rows_for(large_fleets.MODELS[0])
    for n in range(MOST_NAMES + 5):
        crowds.of(f"name-{n}", rows, 0.0)
    last = crowds.of(f"name-{MOST_NAMES + 4}", rows, 0.0)
    made.fleet.touched("b00001")

    assert len(made.fleet.watched_by) == MOST_NAMES
    assert last.changed == {"b00001"}
    assert any(changed is last.changed for changed in made.fleet.watched_by)


def test_small_fleets_are_spared_numpy() -> None:
    """A router imports numpy when it decides over its first large fleet, and not before."""
    code = "import sys, router.app.run, router.cli.main; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
