"""Recent requests, and what another configuration would have done to them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from backends.auth import MissingCredential
from backends.scripted import ScriptedBackend
from backends.spec import BackendSpec
from router.clock import FakeClock, SystemClock
from router.dispatch.decider import Decider
from router.dispatch.effect import Effects
from router.dispatch.fleet import Fleet
from router.dispatch.recent import Recent
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.outcome import AttemptOutcome, Outcome, TokenUsage
from router.domain.policies import Policies, WorkloadClass
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile, Slo
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength

CATALOGUE = Catalogue(
    hardware={"chip": Hardware(id="chip", name="Chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.002)},
    models={"m": Model(id="m", context_tokens=8192)},
    aliases={},
    classes={},
)


class Router:
    """A fleet of backends at prices, the requests that it decided, and their effect."""

    def __init__(self, clock: FakeClock | SystemClock | None = None, **usd_per_mtok: float) -> None:
        self.clock = clock or FakeClock()
        self.snapshot = snapshot(**usd_per_mtok)
        self.fleet = Fleet(catalogue=CATALOGUE, build_adapter=self._adapter, clock=self.clock, policies=Policies())
        self.fleet.apply(self.snapshot)
        self.lengths = OutputLength()
        self.recent = Recent()
        self.adapters: list[ScriptedBackend] = []
        self.decider = Decider(
            fleet=self.fleet,
            lengths=self.lengths,
            clock=self.clock,
            uniform=random.Random(1).random,
            age=lambda: 0.0,
        )
        self.effects = Effects(recent=self.recent, fleet=self.fleet, lengths=self.lengths, clock=self.clock)

    def _adapter(self, spec: BackendSpec) -> ScriptedBackend:
        if spec.credential == "env:ABSENT":
            raise MissingCredential("ABSENT")
        return ScriptedBackend(spec)

    def decide(self, count: int, **fields: object) -> None:
        for number in range(count):
            base: dict[str, object] = {"request_id": f"r{number}", "model": "m", "input_tokens": 100.0 + number}
            profile = RequestProfile(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords
            self.recent.record(profile, self.decider.plan(profile), None, "OK")


def snapshot(**usd_per_mtok: float) -> FleetSnapshot:
    backends = {
        name: Backend(
            id=name, wire="scripted", address=f"http://{name}", models=(ServedModel(model="m"),), hardware="chip"
        )
        for name in usd_per_mtok
    }
    books = {
        (name, ""): book_of(Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd))
        for name, usd in usd_per_mtok.items()
    }
    return FleetSnapshot(version=1, backends=backends, prices=books)


async def test_traffic_moves_to_a_price_that_halves_and_costs_fall() -> None:
    """When the dearer of two equal backends becomes the cheaper, all requests move there and the cost falls."""
    router = Router(a=10.0, b=15.0)
    router.decide(40)

    effect = await router.effects.of(router.snapshot, snapshot(a=10.0, b=7.5))

    assert (effect.requests, effect.moved) == (40, 40)
    assert effect.cost_usd_after == pytest.approx(0.75 * effect.cost_usd_before)
    assert {(s.backend, s.requests_before, s.requests_after) for s in effect.backends} == {("a", 40, 0), ("b", 0, 40)}
    assert effect.mean_ttft_s_after == pytest.approx(effect.mean_ttft_s_before)
    assert effect.slo_attainment_before == pytest.approx(effect.slo_attainment_after)


async def test_the_same_configuration_has_no_effect() -> None:
    """With the same draws on both sides near-ties fall alike: nothing moves, to the last cent."""
    router = Router(a=10.0, b=10.0, c=10.1)
    router.decide(60)

    effect = await router.effects.of(router.snapshot, replace(router.snapshot, version=2))

    assert effect.moved == 0
    assert effect.cost_usd_before == effect.cost_usd_after
    assert sum(share.requests_before for share in effect.backends) == 60
    assert len(effect.backends) == 3


async def test_requests_that_nobody_could_serve_are_counted() -> None:
    """Without its only backend, a request is unserved, meets no objective and moves nowhere."""
    router = Router(a=10.0)
    router.decide(5)

    effect = await router.effects.of(router.snapshot, snapshot())

    assert (effect.unserved_before, effect.unserved_after, effect.moved) == (0, 5, 0)
    assert effect.slo_attainment_after == 0.0
    assert effect.cost_usd_after == 0.0


async def test_other_policies_move_traffic_too() -> None:
    """Policies of the change are those that its side decides under."""
    router = Router(a=10.0, b=30.0)
    busy = router.fleet.members["a"].live
    busy.in_flight = busy.running = 48
    router.decide(10)
    impatient = Policies(classes={"interactive": WorkloadClass(name="interactive", usd_per_s=1.0)})

    effect = await router.effects.of(router.snapshot, router.snapshot, policies=impatient)

    assert effect.moved == 10
    assert effect.mean_ttft_s_after < effect.mean_ttft_s_before


async def test_what_is_known_of_a_backend_counts_on_both_sides() -> None:
    """Live and learned state of known backends is used on both sides, and left as it is."""
    router = Router(a=10.0, b=10.0)
    slow = router.fleet.row("a", "m")
    assert slow is not None
    slow.learned.ttft.w0 = 2.0
    router.fleet.members["a"].live.failure_rate = 0.5
    router.decide(10)

    effect = await router.effects.of(router.snapshot, snapshot(a=9.0, b=10.0, c=50.0))

    assert effect.moved == 0
    assert [share.backend for share in effect.backends] == ["b"]
    live = router.fleet.members["a"].live
    assert (live.failure_rate, live.limit_requests, live.in_flight) == (0.5, -1.0, 0)
    assert set(router.fleet.members) == {"a", "b"}
    assert router.fleet.removed == []


async def test_a_new_backend_needs_its_credential() -> None:
    """A backend that this router could not use takes no requests in the effect; health counts as it is."""
    router = Router(a=10.0)
    router.decide(4)
    proposed = snapshot(a=10.0, b=1.0)

    usable = await router.effects.of(router.snapshot, proposed)
    unusable = await router.effects.of(router.snapshot, proposed, usable=lambda backend: backend.id != "b")
    sick = replace(proposed, health={"b": Health(state=HealthState.EJECTED)})
    ejected = await router.effects.of(router.snapshot, sick)

    assert (usable.moved, unusable.moved, ejected.moved) == (4, 0, 0)


async def test_deadlines_and_refusals_are_as_they_were_asked() -> None:
    """A deadline counts from the moment of deciding however long ago that was; SLOs that must be met are required."""
    router = Router(a=10.0)
    router.decide(3, deadline_s=router.clock.monotonic() + 20.0, slo=Slo(reject_infeasible=True))
    router.decide(2, slo=Slo(ttft_s=1e-6, reject_infeasible=True))
    assert isinstance(router.clock, FakeClock)
    router.clock.advance(500.0)

    effect = await router.effects.of(router.snapshot, router.snapshot)

    assert [recorded.profile.deadline_s for recorded in router.recent.latest(5)][-3:] == [20.0] * 3
    assert (effect.requests, effect.unserved_before, effect.unserved_after) == (5, 2, 2)


async def test_the_work_is_bounded_and_spread_over_the_ring() -> None:
    """Of many requests so many are looked at as are allowed, from the oldest to the newest."""
    router = Router(a=10.0, b=20.0)
    router.decide(500)
    old = replace(router.snapshot, backends=router.snapshot.backends)

    effect = await router.effects.of(old, old, limit=50)
    nothing = await Router(a=1.0).effects.of(old, old)

    assert effect.requests == 50
    assert nothing.requests == 0
    sampled = sorted(profile.input_tokens for profile in router.effects._sample(50))
    assert sampled == [110.0 + 10.0 * n - 1.0 for n in range(50)]


async def test_serving_goes_on_meanwhile() -> None:
    """On a fleet of hundreds of backends the loop is never kept for long: others run again and again."""
    router = Router(clock=SystemClock(), **{f"b{n}": 1.0 + n for n in range(300)})
    router.decide(60)
    turns = 0

    async def serve() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    serving = asyncio.create_task(serve())
    effect = await router.effects.of(router.snapshot, router.snapshot)
    serving.cancel()

    assert 0 < effect.requests <= 60
    assert turns > effect.requests / 2


def test_a_recorded_request_keeps_facts_and_no_plan() -> None:
    """What an overview needs is there while the request runs and when it has ended; candidates are a number."""
    router = Router(a=10.0, b=20.0)
    profile = RequestProfile(request_id="r", model="m", tenant="acme", input_tokens=10.0, explain=True)
    plan = router.decider.plan(profile)

    running = router.recent.record(profile, plan)

    assert (running.backend, running.result, running.attempts, running.candidates) == ("a", "", 0, 2)
    assert running.ttft_predicted_s == plan.ranking.ordered[0].ttft_s
    assert running.ttft_actual_s is None
    assert running.cost_usd == plan.ranking.ordered[0].cost_usd
    assert len(running.decision.ranked) == 1
    assert running.profile.tenant == "acme"

    running.result = "OK"
    running.outcome = Outcome(
        request_id="r",
        finish_reason="stop",
        stop_sequence="",
        usage=TokenUsage(),
        cost_usd=0.25,
        energy_j=0.0,
        started_at=1.0,
        ttft_s=0.5,
        tpot_s=0.01,
        e2e_s=1.0,
        routing_s=0.0,
        attempts=(
            AttemptOutcome(backend="a", model="m", result="TIMED_OUT"),
            AttemptOutcome(backend="b", model="m", result="OK"),
        ),
    )
    ended = router.recent.latest(1)[0]
    assert (ended.backend, ended.ttft_actual_s, ended.cost_usd, ended.attempts) == ("b", 0.5, 0.25, 2)
    assert ended.at == plan.decision.decided_at


def test_the_ring_is_bounded() -> None:
    """It keeps the last so many, and answers them newest first."""
    router = Router(a=1.0)
    router.recent = Recent(3)
    router.decide(5)

    assert [recorded.profile.request_id for recorded in router.recent.latest()] == ["r4", "r3", "r2"]
    assert [recorded.profile.request_id for recorded in router.recent.latest(1)] == ["r4"]
    assert len(router.recent) == 3
