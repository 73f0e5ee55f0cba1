"""What attempts teach: at their first token, at their end, and while they are on their way."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

import pytest

from backends.contract import Chunk, FinishReason, Usage
from backends.errors import TimedOut
from backends.scripted import ScriptedBackend
from router.clock import FakeClock
from router.dispatch.decider import Decider
from router.dispatch.feedback import CANCELLED, OK, Attempt, Feedback
from router.dispatch.fleet import Fleet
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.learned import Learned
from router.domain.policies import Policies, WorkloadClass
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile, Slo
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.telemetry.metrics import Metrics

TTFT_S, TPOT_S = 0.2, 0.02
TICK_S = 0.2
CATALOGUE = Catalogue(
    hardware={
        "chip": Hardware(
            id="chip", name="Chip", kind="hosted", fixed_ttft_s=TTFT_S, fixed_tpot_s=TPOT_S, prior_sd_log=0.3
        )
    },
    models={"m": Model(id="m", context_tokens=8192)},
)
# A second is dear, so that speed decides as soon as it differs.
POLICIES = Policies(
    classes={"interactive": WorkloadClass(name="interactive", usd_per_s=1e-3, usd_per_ttft_s=1e-3, slo=Slo())}
)


def backend(name: str, **fields: object) -> Backend:
    base: dict[str, object] = {
        "id": name,
        "wire": "scripted",
        "address": f"http://{name}",
        "models": (ServedModel(model="m"),),
        "hardware": "chip",
        "max_concurrency": 256,
    }
    return Backend(**(base | fields))  # type: ignore[arg-type]  # a test's own keywords


@dataclass
class Site:
    """Backends "a" and "b" at prices, of which a is a little cheaper, and everything that decides and learns."""

    clock: FakeClock = field(default_factory=FakeClock)
    lengths: OutputLength = field(default_factory=OutputLength)

    def __post_init__(self) -> None:
        self.fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=self.clock, policies=POLICIES)
        self.snapshot = FleetSnapshot(
            version=1,
            backends={name: backend(name) for name in "ab"},
            prices={
                (name, ""): book_of(Price(backend=name, output_usd_per_mtok=usd, input_usd_per_mtok=usd))
                for name, usd in (("a", 1.0), ("b", 2.0))
            },
        )
        self.fleet.apply(self.snapshot)
        self.feedback = Feedback(fleet=self.fleet, lengths=self.lengths, metrics=Metrics(), clock=self.clock)
        self.decider = Decider(
            fleet=self.fleet,
            lengths=self.lengths,
            clock=self.clock,
            uniform=random.Random(1).random,
            age=lambda: 0.0,
        )

    def begin(self, name: str = "a", *, seen: bool = True) -> Attempt:
        profile = RequestProfile(request_id="r", model="m", tenant="t", input_tokens=300.0, max_output_tokens=400)
        plan = self.decider.plan(profile)
        found = next(f for f in plan.ranking.ordered if f.row.id == name)
        attempt = self.feedback.begin(found, seen=seen)
        assert attempt is not None
        return attempt

    def answer(self, attempt: Attempt, *, ttft: float = 1.0, tpot: float = 1.0, tokens: int = 20) -> None:
        """A streamed answer, at times that are multiples of the prior's."""
        self.clock.advance(TTFT_S * ttft)
        attempt.take(Chunk(text="x", events=1))
        for _ in range(tokens - 1):
            self.clock.advance(TPOT_S * tpot)
            attempt.take(Chunk(text="x", events=1))
        self.end(attempt, tokens)

    @staticmethod
    def end(attempt: Attempt, tokens: int) -> None:
        attempt.take(Chunk(finish_reason=FinishReason.STOP, usage=Usage(input=300, output=tokens)))
        attempt.close(OK)

    def warm(self, count: int = 30, name: str = "a") -> None:
        """Answers that are as expected, but for a little noise."""
        rng = random.Random(5)
        for _ in range(count):
            self.answer(self.begin(name), ttft=math.exp(rng.gauss(0.0, 0.15)), tpot=math.exp(rng.gauss(0.0, 0.03)))

    def tick(self) -> None:
        self.feedback.tick(self.clock.monotonic())


def learned(site: Site, name: str = "a") -> Learned:
    row = site.fleet.row(name, "m")
    assert row is not None
    return row.learned


def test_the_first_token_is_learnt_from_before_the_answer_is_complete() -> None:
    """TTFT is known when the second token comes; TPOT when the answer is complete."""
    site = Site()
    attempt = site.begin()
    site.clock.advance(0.4)
    attempt.take(Chunk(text="x", events=1))
    assert learned(site).ttft.count == 0
    site.clock.advance(0.02)
    attempt.take(Chunk(text="x", events=1))
    assert (learned(site).ttft.count, learned(site).tpot.count) == (1, 0)
    for _ in range(5):
        site.clock.advance(0.02)
        attempt.take(Chunk(text="x", events=1))
    site.end(attempt, 7)
    assert (learned(site).ttft.count, learned(site).tpot.count, learned(site).observations) == (1, 1, 1)


def test_an_answer_in_one_piece_teaches_its_length_only() -> None:
    """What was not streamed says nothing about the first token, and nothing about the pace."""
    site = Site()
    attempt = site.begin()
    site.clock.advance(3.0)
    attempt.take(Chunk(text="all of it", events=1))
    site.end(attempt, 80)
    assert (learned(site).ttft.count, learned(site).tpot.count) == (0, 0)
    assert len(site.lengths) == 3


def test_few_tokens_say_nothing_about_the_pace() -> None:
    """Three tokens teach TTFT, four teach TPOT as well."""
    site = Site()
    site.answer(site.begin(), tokens=3)
    assert (learned(site).ttft.count, learned(site).tpot.count) == (1, 0)
    site.answer(site.begin(), tokens=4)
    assert (learned(site).ttft.count, learned(site).tpot.count) == (2, 1)


def test_one_token_is_all_first_token() -> None:
    """An answer of a single token teaches TTFT."""
    site = Site()
    attempt = site.begin()
    site.clock.advance(0.4)
    attempt.take(Chunk(text="x", events=1))
    site.end(attempt, 1)
    assert learned(site).ttft.count == 1


def test_a_cancelled_attempt_teaches_no_pace_and_no_length() -> None:
    """Losers of a hedge, and answers that a caller had enough of, are censored."""
    site = Site()
    attempt = site.begin()
    site.clock.advance(TTFT_S)
    for _ in range(10):
        attempt.take(Chunk(text="x", events=1))
        site.clock.advance(0.5)
    attempt.close(CANCELLED)
    assert learned(site).tpot.count == 0
    assert len(site.lengths) == 0


@pytest.mark.parametrize("result", [CANCELLED, TimedOut.code])
def test_a_long_wait_without_a_token_is_evidence_and_a_short_one_is_not(result: str) -> None:
    """What ended early says nothing; what waited ten times as long as usual says that it takes longer."""
    site = Site()
    site.warm()
    error = TimedOut("no first token") if result == TimedOut.code else None
    attempt = site.begin()
    before = attempt.forecast.ttft_s
    site.clock.advance(0.1)
    attempt.close(result, error)
    assert site.begin().forecast.ttft_s == pytest.approx(before, rel=0.01)
    for _ in range(2):
        attempt = site.begin()
        site.clock.advance(2.0)
        attempt.close(result, error)
    assert site.begin().forecast.ttft_s > 2.5 * before


def test_attempts_that_wait_too_long_move_the_forecast_until_they_are_answered() -> None:
    """Three attempts that hang are believed at the next tick; when they are gone, what was learnt decides again."""
    site = Site()
    site.warm()
    before = site.begin("a", seen=False).forecast.ttft_s
    hanging = [site.begin() for _ in range(3)]
    site.tick()
    assert site.begin("a", seen=False).forecast.ttft_s == pytest.approx(before, rel=0.01)
    site.clock.advance(0.6)
    site.tick()
    assert site.begin("a", seen=False).forecast.ttft_s > 2.0 * before
    for attempt in hanging:
        attempt.take(Chunk(text="x", events=1))
        attempt.close(CANCELLED)
    site.tick()
    assert site.begin("a", seen=False).forecast.ttft_s == pytest.approx(before, rel=0.05)


def test_an_attempt_that_hangs_alone_while_others_are_answered_is_its_own_affair() -> None:
    """A later attempt got its first token in time, so the backend is not slow."""
    site = Site()
    site.warm()
    before = site.begin("a", seen=False).forecast.ttft_s
    site.begin()
    site.clock.advance(0.01)
    site.answer(site.begin())
    site.clock.advance(2.0)
    site.tick()
    assert site.begin("a", seen=False).forecast.ttft_s == pytest.approx(before, rel=0.05)


def test_attempts_whose_tokens_go_past_the_router_do_not_count_as_waiting() -> None:
    """A pick is reported when it is over; until then its silence means nothing, and neither does its expiry."""
    site = Site()
    site.warm()
    before = site.begin("a", seen=False).forecast.ttft_s
    picks = [site.begin("a", seen=False) for _ in range(5)]
    site.clock.advance(60.0)
    site.tick()
    for pick in picks:
        pick.close(CANCELLED)
    assert site.begin("a", seen=False).forecast.ttft_s == pytest.approx(before, rel=0.02)


def test_the_pace_of_a_stream_counts_before_its_end() -> None:
    """A second at a third of the speed is enough to expect the rest like that, until the answers have ended."""
    site = Site()
    site.warm()
    before = site.begin("a", seen=False).forecast.tpot_s
    attempts = [site.begin() for _ in range(4)]
    site.clock.advance(TTFT_S)
    flow(site, attempts, seconds=1.0, pace_s=TPOT_S)
    assert site.begin("a", seen=False).forecast.tpot_s == pytest.approx(before, rel=0.1)
    flow(site, attempts, seconds=1.0, pace_s=3.0 * TPOT_S)
    assert 2.0 * before < site.begin("a", seen=False).forecast.tpot_s < 3.5 * before
    for attempt in attempts:
        attempt.close(CANCELLED)
    site.tick()
    assert site.begin("a", seen=False).forecast.tpot_s == pytest.approx(before, rel=0.05)


def flow(site: Site, attempts: list[Attempt], *, seconds: float, pace_s: float) -> None:
    """Answers go on for some seconds, looked at as often as in the router."""
    steps = round(seconds / TICK_S)
    for _ in range(steps):
        tokens = round(TICK_S / pace_s)
        for _ in range(tokens):
            site.clock.advance(TICK_S / tokens)
            for attempt in attempts:
                attempt.take(Chunk(text="x", events=1))
        site.tick()


def test_idle_beliefs_fade_by_ticks_alone() -> None:
    """Nobody asks the backend any more: ticks lead its belief back to the prior."""
    site = Site()
    for _ in range(30):
        site.answer(site.begin(), ttft=3.0, tpot=3.0)
    slow = site.begin("a", seen=False).forecast.tpot_s
    site.clock.advance(6 * 3600.0)
    site.tick()
    site.tick()
    assert slow == pytest.approx(3.0 * TPOT_S, rel=0.1)
    assert learned(site).tpot.mean(0.0, 0.0) < 0.3


def test_answers_are_learnt_by_tenant_and_class() -> None:
    """The length of an answer goes to the history of who asked, under the class that it was decided under."""
    site = Site()
    site.answer(site.begin(), tokens=30)
    assert set(site.lengths._histories) == {("t", "interactive", "m"), ("", "interactive", "m"), ("", "", "m")}


def test_another_engine_starts_from_the_prior() -> None:
    """A backend whose options or hardware change is another one; a new label is not."""
    site = Site()
    site.warm()
    known = learned(site)
    for version, (fields, same) in enumerate(
        [({"labels": (("x", "y"),)}, True), ({"options": (("engine", "2"),)}, False)], start=2
    ):
        changed = site.snapshot.backends | {"a": backend("a", version=version, **fields)}
        site.fleet.apply(FleetSnapshot(version=version, backends=changed, prices=site.snapshot.prices))
        assert (learned(site) is known) is same


def traffic_to_a_slow_backend(seed: int, slower: float) -> tuple[int, float]:
    """(Requests sent to a after it turned slower, seconds until traffic moved), at five a second, in virtual time."""
    site, rng = Site(), random.Random(seed)
    site.warm(40, "a")
    site.warm(40, "b")
    began = site.clock.monotonic()
    slow_from = began + 20.0
    events: list[tuple[float, int, str, Attempt | None]] = []
    order = iter(range(10**9))

    def at(when: float, what: str, attempt: Attempt | None = None) -> None:
        heapq.heappush(events, (when, next(order), what, attempt))

    at(began + 0.1, "request")
    at(began + TICK_S, "tick")
    sent: list[tuple[float, str]] = []
    while events:
        when, _, what, attempt = heapq.heappop(events)
        if when > slow_from + 10.0:
            break
        site.clock.advance(max(0.0, when - site.clock.monotonic()))
        if what == "tick":
            site.tick()
            at(when + TICK_S, "tick")
        elif what == "request":
            at(when + rng.expovariate(5.0), "request")
            profile = RequestProfile(request_id="r", model="m", input_tokens=300.0, max_output_tokens=400)
            begun = site.feedback.begin(site.decider.plan(profile).ranking.ordered[0])
            assert begun is not None
            sent.append((when, begun.row.id))
            factor = slower if begun.row.id == "a" and when >= slow_from else 1.0
            first = when + TTFT_S * factor * math.exp(rng.gauss(0.0, 0.15))
            pace = TPOT_S * factor * math.exp(rng.gauss(0.0, 0.03))
            for token in range(40):
                at(first + token * pace, "token" if token < 39 else "end", begun)
        elif attempt is not None:
            attempt.take(Chunk(text="x", events=1))
            if what == "end":
                site.end(attempt, 40)
    after = [(when - slow_from, name) for when, name in sent if when >= slow_from]
    to_a = [when for when, name in after if name == "a"]
    # What comes back to it much later is no longer about noticing.
    noticed = [when for when in to_a if when < 5.0]
    return len(noticed), max(noticed, default=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_traffic_leaves_a_backend_that_turns_three_times_slower(seed: int) -> None:
    """Within five requests to it, or one second."""
    requests, seconds = traffic_to_a_slow_backend(seed, 3.0)
    assert requests <= 5 or seconds <= 1.0
