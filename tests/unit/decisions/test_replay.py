"""Equal inputs give equal decisions: what is written is enough to decide everything again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router.decisions.bootstrap import figures
from router.decisions.change import ReplayChange
from router.decisions.reading import Logged, Reading
from router.decisions.replay import Played, Replay
from router.decisions.report import report
from router.domain.fleet import Health, HealthState
from router.domain.pricing import Price, book_of
from router.domain.request import Objective, Priority, RequestProfile, Slo
from router.prediction import learning
from router.state.keys import Kind
from router.state.writes import Write
from tests.unit.decisions.conftest import CATALOGUE, Site, profile

NAMES = tuple(f"b{n:02}" for n in range(24))


def records(text: bytes) -> list[Logged]:
    reading = Reading(Path("none"))
    found = list(reading.segment("text", text))
    assert not reading.notes
    return found


def play(site: Site, change: ReplayChange | None = None) -> Played:
    player = Replay(catalogue=CATALOGUE, wires=None, policies=site.policies, change=change or ReplayChange())
    return player.play(records(site.text))


def asked(draw: Any, number: int) -> RequestProfile:
    seconds = st.one_of(st.none(), st.floats(1e-4, 10.0))
    return RequestProfile(
        request_id=f"r{number}",
        model=draw(st.sampled_from(["m", "n", "alias", "any"])),
        input_tokens=draw(st.floats(1.0, 5000.0)),
        max_output_tokens=draw(st.one_of(st.none(), st.integers(1, 2000))),
        slo=Slo(ttft_s=draw(seconds), e2e_s=draw(seconds)),
        objective=draw(st.one_of(st.none(), st.sampled_from(Objective))),
        session_key=draw(st.sampled_from(["", "", "s1", "s2"])),
        priority=draw(st.sampled_from(Priority)),
        max_cost_usd=draw(st.one_of(st.none(), st.floats(1e-6, 1.0))),
        deadline_s=draw(st.one_of(st.none(), st.floats(1_000.0, 1_030.0))),
    )


@settings(max_examples=60)
@given(st.data())
def test_every_decision_comes_out_again(data: st.DataObject) -> None:
    """Whatever load, history, health and requests: the recorded choice is the choice, with the same draws."""
    draw = data.draw
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=18, unique=True))
    prices = {name: draw(st.sampled_from([0.5, 0.51, 0.505, 4.0, 90.0])) for name in names}
    site = Site(prices, seed=draw(st.integers(0, 99)), hardware=lambda name: "slow" if name > "b11" else "fast")
    chosen = []
    for number in range(draw(st.integers(1, 12))):
        for name in draw(st.lists(st.sampled_from(names), max_size=3)):
            live = site.fleet.members[name].live
            live.in_flight = draw(st.integers(0, 40))
            live.prefill_tokens = draw(st.floats(0.0, 20_000.0))
            live.failure_rate = draw(st.floats(0.0, 1.0))
            live.open_until = draw(st.sampled_from([-1.0, 5_000.0]))
            row = site.fleet.row(name, "m")
            assert row is not None
            for _ in range(draw(st.sampled_from([0, 1, 70]))):
                learning.observe(
                    row.learned,
                    prior_ttft_s=0.1,
                    prior_tpot_s=0.01,
                    ttft_s=0.13,
                    tpot_s=0.02,
                    now=site.clock.monotonic(),
                )
        site.clock.advance(draw(st.floats(0.0, 2.0)))
        chosen.append(site.decide(asked(draw, number)))

    played = play(site)

    assert played.unreadable == 0
    assert [one.line.chosen for one in records(site.text)] == chosen
    # A record holds 16 candidates and 16 drops: beyond them a draw among more near-ties cannot be made again.
    whole = [one.line.more == 0 and sum(one.line.drop_counts.values()) <= 16 for one in records(site.text)]
    assert all(one.same for one, complete in zip(played.requests, whole, strict=True) if complete), played.mismatches


def test_health_and_drains_are_as_they_were() -> None:
    """A backend that was ejected when a request came stays out of it, and takes part before and after."""
    site = Site({"a": 1.0, "b": 2.0})
    whole = site.fleet.snapshot
    sick = {"a": Health(state=HealthState.EJECTED, version=1)}
    picks = [site.decide(profile(0))]
    site.fleet.apply(_with(whole, health=sick))
    picks.append(site.decide(profile(1)))
    site.fleet.apply(whole)
    picks.append(site.decide(profile(2)))

    played = play(site)

    assert picks == ["a", "b", "a"]
    assert all(one.same for one in played.requests), played.mismatches


def test_a_price_moves_what_it_should() -> None:
    """When the dearer backend becomes the cheaper, all requests move there; weights count in every figure."""
    site = Site({"a": 1.0, "b": 2.0})
    for number in range(30):
        site.decide(profile(number), weight=4.0)
    book = book_of(Price(backend="b", input_usd_per_mtok=0.5, output_usd_per_mtok=0.5))
    change = ReplayChange((Write(Kind.PRICE, "b/", book),), frozenset({"b"}))

    found = report(play(site, change), replicates=40)

    assert (found.records, found.requests, found.reproduced) == (30, 120.0, 30)
    assert found.moved.value == 1.0
    assert [(m.source, m.target, m.requests) for m in found.movers] == [("a", "b", 120.0)]
    cost = found.figures["cost_usd"]
    assert cost.difference.low <= cost.difference.value <= cost.difference.high < 0.0
    assert abs(cost.after.value - 0.5 * cost.before.value) < 1e-9
    assert found.shares["b"].after.value == 1.0
    assert any("load" in warning for warning in found.warnings)


def test_intervals_cover_what_they_say() -> None:
    """Of 90 % intervals of a mean about nine in ten hold the true one."""
    import random  # noqa: PLC0415 - of this test alone

    rng = random.Random(1)
    covered = 0
    for trial in range(100):
        values = [rng.gauss(3.0, 1.0) for _ in range(60)]

        def mean(weights: Any, held: list[float] = values) -> dict[str, float]:
            return {"mean": sum(w * v for w, v in zip(weights, held, strict=True)) / (sum(weights) or 1.0)}

        figure = figures([1.0] * 60, mean, seed=trial)["mean"]
        covered += figure.low <= 3.0 <= figure.high
    assert 80 <= covered <= 97


def _with(snapshot: Any, **fields: Any) -> Any:
    from dataclasses import replace  # noqa: PLC0415 - likewise

    return replace(snapshot, **fields)
