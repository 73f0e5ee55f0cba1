"""Why not that one: each change that is named makes it the choice, and a little less of it does not."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.dispatch.why_not import why_not
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Capability, PrivacyLevel, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies, WorkloadClass
from router.domain.pricing import Price, book_of
from router.domain.request import Placement, RequestProfile, Slo
from router.domain.snapshot import FleetSnapshot
from router.domain.why import ChangeKind, Counterfactual, WhyNot
from router.errors import NotFound
from router.prediction.output_length import OutputLength

CATALOGUE = Catalogue(
    hardware={
        "fast": Hardware(id="fast", name="Fast", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002),
        "hungry": Hardware(id="hungry", name="Hungry", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002, tdp_w=1e5),
        "slow": Hardware(id="slow", name="Slow", kind="hosted", fixed_ttft_s=0.5, fixed_tpot_s=0.03),
    },
    models={"m": Model(id="m", context_tokens=8192), "n": Model(id="n", context_tokens=8192)},
    aliases={},
    classes={},
)
WORTH = WorkloadClass(name="interactive", usd_per_s=1e-4, usd_per_slo_miss=2e-3, explore_share=0.0)
DEAR: dict[str, Any] = {"input_usd_per_mtok": 40.0, "output_usd_per_mtok": 40.0}
CHEAP: dict[str, Any] = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}


class Place:
    """A fleet of backends with prices, asked why one of them is not the choice."""

    def __init__(self, backends: dict[str, tuple[Backend, dict[str, Any]]]) -> None:
        self.clock = FakeClock()
        self.lengths = OutputLength()
        self.fleet = Fleet(
            catalogue=CATALOGUE,
            build_adapter=ScriptedBackend,
            clock=self.clock,
            policies=Policies(classes={"interactive": WORTH}),
        )
        self.snapshot = FleetSnapshot(
            backends={name: backend for name, (backend, _) in backends.items()},
            prices={
                (name, ""): book_of(Price(backend=name, **price)) for name, (_, price) in backends.items() if price
            },
        )
        self.fleet.apply(self.snapshot)

    def decider(self) -> Decider:
        return Decider(
            fleet=self.fleet,
            lengths=self.lengths,
            clock=self.clock,
            uniform=random.Random(3).random,
            age=lambda: 0.0,
        )

    async def ask(self, target: str, **fields: object) -> WhyNot:
        asked = profile(**fields)
        return await why_not(self.fleet, self.lengths, self.clock, asked, self.decider().plan(asked), target)

    def chosen(self, **fields: object) -> str:
        return self.decider().plan(profile(**fields)).ranking.ordered[0].row.id


def profile(**fields: object) -> RequestProfile:
    base: dict[str, object] = {"request_id": "r", "model": "m", "input_tokens": 200.0, "max_output_tokens": 200}
    return RequestProfile(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords


def backend(name: str, **fields: object) -> Backend:
    base: dict[str, object] = {
        "id": name, "wire": "scripted", "address": f"http://{name}", "models": (ServedModel(model="m"),),
        "hardware": "fast",
    }  # fmt: skip
    return Backend(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords


def of_kind(found: WhyNot, kind: ChangeKind) -> Counterfactual:
    return next(change for change in (*found.changes, *found.first) if change.kind is kind)


async def test_the_named_price_is_the_price_that_it_takes() -> None:
    """At the named share of its price it is chosen; at one that is ten per cent higher the other one is."""
    place = Place({"a": (backend("a"), CHEAP), "b": (backend("b"), DEAR)})

    change = of_kind(await place.ask("b"), ChangeKind.PRICE)

    assert change.possible
    assert change.share is not None
    for times, expected in ((0.9, "b"), (1.1, "a")):
        share = change.share * times
        prices = {**place.snapshot.prices, ("b", ""): book_of(Price(backend="b", **DEAR).scaled(share))}
        cheaper = Place({"a": (backend("a"), CHEAP), "b": (backend("b"), {})})
        cheaper.fleet.apply(replace(cheaper.snapshot, prices=prices))
        assert cheaper.chosen() == expected


async def test_the_same_answer_each_time() -> None:
    """No draw and no moment has a part in it."""
    place = Place({"a": (backend("a"), CHEAP), "b": (backend("b", hardware="slow"), DEAR)})

    assert await place.ask("b") == await place.ask("b")


async def test_electricity_is_no_price_and_is_told_apart() -> None:
    """Who loses by what it burns is not told that it would lose for nothing at all."""
    owned = {"usd_per_hour": 1.0, "elastic_fraction": 0.0, "electricity_usd_per_kwh": 5.0}
    place = Place({"a": (backend("a"), CHEAP), "b": (backend("b", hardware="hungry"), owned)})

    change = of_kind(await place.ask("b"), ChangeKind.PRICE)

    assert not change.possible
    assert "of electricity left to pay for" in change.what


async def test_no_price_would_do_where_speed_decides() -> None:
    """A backend that loses by seconds is told so, and how much faster it would have to be."""
    place = Place({"a": (backend("a"), CHEAP), "b": (backend("b", hardware="slow"), CHEAP)})
    slo = Slo(ttft_s=0.3, tpot_s=0.01, probability=0.9)
    found = await place.ask("b", slo=slo)

    assert "too unlikely to meet the SLO" in found.why
    assert not of_kind(found, ChangeKind.PRICE).possible
    speed = of_kind(found, ChangeKind.SPEED)
    assert speed.possible
    assert speed.share is not None
    assert speed.share < 0.5
    assert not of_kind(found, ChangeKind.TTFT).possible


async def test_load_that_keeps_a_backend_out() -> None:
    """A busy backend says at which load it would be chosen, and it is at that one."""
    place = Place(
        {"a": (backend("a"), {**CHEAP}), "b": (backend("b", max_concurrency=8), {"output_usd_per_mtok": 0.9})}
    )
    live = place.fleet.members["b"].live
    live.in_flight = 60
    live.prefill_tokens = 100.0
    assert place.chosen() == "a"

    change = of_kind(await place.ask("b"), ChangeKind.LOAD)

    assert change.possible
    assert change.value is not None
    assert change.value < 60.0
    assert (live.in_flight, live.prefill_tokens) == (60, 100.0)
    live.in_flight = int(change.value)
    live.prefill_tokens = 0.0
    assert place.chosen() == "b"


async def test_every_constraint_that_keeps_it_out_is_named() -> None:
    """Privacy, region, capability, context, cap and drain together: loosened one by one, all of them told."""
    far = backend(
        "far",
        privacy=PrivacyLevel.ANY,
        region="us-1",
        drained=True,
        models=(ServedModel(model="m", context_tokens=250),),
    )
    near = backend("near", privacy=PrivacyLevel.ON_DEVICE, region="eu-1", capabilities=frozenset({Capability.TOOLS}))
    place = Place({"near": (near, CHEAP), "far": (far, {"output_usd_per_mtok": 0.1})})

    found = await place.ask(
        "far",
        placement=Placement(privacy=PrivacyLevel.OWN_HARDWARE, regions=("eu-*",), excluded_backends=("far",)),
        needs=frozenset({Capability.TOOLS}),
    )

    said = " ".join(change.what for change in found.first)
    for expected in ("privacy any", "us-1", "allow far", "without tools", "50 output tokens", "undrained"):
        assert expected in said
    assert found.why.endswith("without that it is the choice")
    room = next(change for change in found.first if change.unit == "tokens")
    assert (room.now, room.value) == (200.0, 50.0)


async def test_a_cost_cap_says_to_what_it_would_have_to_rise() -> None:
    """The named cap lets it in, and one below does not."""
    place = Place({"a": (backend("a"), DEAR)})
    found = await place.ask("a", max_cost_usd=1e-6)
    cap = found.first[0]

    assert cap.value is not None
    assert place.chosen(max_cost_usd=cap.value) == "a"
    assert not place.decider().plan(profile(max_cost_usd=0.99 * cap.value)).ranking.ordered


async def test_a_looser_objective_is_named_with_its_value() -> None:
    """What misses the SLO is chosen when the SLO is as loose as is said."""
    place = Place({"a": (backend("a"), DEAR), "b": (backend("b", hardware="slow"), CHEAP)})
    found = await place.ask("b", slo=Slo(tpot_s=0.01, probability=0.9))
    change = of_kind(found, ChangeKind.SLO)

    assert change.possible
    assert change.value is not None
    assert place.chosen(slo=Slo(tpot_s=1.001 * change.value, probability=0.9)) == "b"
    assert place.chosen(slo=Slo(tpot_s=0.9 * change.value, probability=0.9)) == "a"


async def test_what_cannot_be_is_said() -> None:
    """Another model, an unknown name, a prompt that is too long, and the choice itself."""
    other = backend("other", models=(ServedModel(model="n"),))
    small = backend("small", models=(ServedModel(model="m", context_tokens=100),))
    place = Place({"a": (backend("a"), CHEAP), "other": (other, CHEAP), "small": (small, CHEAP)})

    assert "does not serve m" in (await place.ask("other")).why
    assert "nothing that the request asks for" in (await place.ask("small")).why
    assert (await place.ask("a")).why == "a is the choice"
    with pytest.raises(NotFound):
        await place.ask("nobody")
