"""What the other replicas have in flight, as far as this one can know it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.clock import FakeClock
from router.dispatch.loads import Busy, Loads
from router.dispatch.passive import Passive
from router.domain.live import NEVER, Live
from router.domain.replica import Beat, Outcomes, Replica, Scrape


def live(**fields: float) -> Live:
    made = Live()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_alone_and_unscraped_the_batch_is_what_this_replica_has_there() -> None:
    """Without other replicas and without a word of the engine, own work is all that is known."""
    assert live(in_flight=7).batch() == live(in_flight=7).routed() == 7.0


def test_own_work_is_exact_and_others_do_as_this_replica_did() -> None:
    """With 3 others having 20 at the last beat, 2 own starts since then count four times: DECISION 2.5."""
    subject = live(in_flight=12, in_flight_heard=10, others=20.0, peers=3.0)
    assert subject.batch() == subject.routed() == 12 + 20 + 3 * 2


def test_others_never_count_below_nothing() -> None:
    """When this replica has finished more than the others ever had, only its own work is left."""
    subject = live(in_flight=1, in_flight_heard=10, others=5.0, peers=3.0)
    assert subject.batch() == subject.routed() == 1.0


def test_what_the_engine_says_beyond_the_routers_stays_until_it_says_more() -> None:
    """Of 9 running and 3 waiting when the routers had 8 there, 4 are of others; the routers' own go up and down."""
    subject = live(in_flight=5, in_flight_heard=5, others=3.0, peers=1.0)
    subject.scraped(running=9.0, waiting=3.0, kv_cache_usage=0.5, routed=subject.routed(), at=10.0)
    assert subject.batch() == 12.0
    subject.in_flight += 2
    assert subject.batch() == 12.0 + 2 * 2
    subject.in_flight -= 2
    subject.others = 0.0
    assert subject.batch() == 9.0
    subject.forget_scrape()
    assert (subject.batch(), subject.running, subject.scraped_at) == (5.0, -1.0, NEVER)


def test_an_engine_that_has_not_seen_everything_yet_hides_no_own_work() -> None:
    """An engine that says 0 while 6 requests are on the way is not taken to be idle."""
    subject = live(in_flight=4)
    subject.scraped(running=0.0, waiting=-1.0, kv_cache_usage=-1.0, routed=6.0, at=10.0)
    assert subject.batch() == 4.0


@given(
    own=st.integers(0, 5_000),
    heard=st.integers(0, 5_000),
    others=st.integers(0, 50_000),
    peers=st.integers(0, 64),
    scrape=st.none() | st.tuples(st.integers(0, 9_999), st.integers(-1, 9_999), st.integers(0, 60_000)),
)
def test_a_batch_is_never_negative_and_never_below_own_work(
    own: int, heard: int, others: int, peers: int, scrape: tuple[int, int, int] | None
) -> None:
    """Whatever was heard and scraped, the estimate is finite and at least what this replica knows for certain."""
    subject = live(in_flight=own, in_flight_heard=heard, others=float(others), peers=float(peers))
    if scrape is not None:
        running, waiting, routed = map(float, scrape)
        subject.scraped(running=running, waiting=waiting, kv_cache_usage=-1.0, routed=routed, at=1.0)
    assert own <= subject.routed() <= own + others + peers * own
    assert own <= subject.batch() < 1e6


@dataclass
class _Member:
    live: Live


class _Fleet:
    """What loads know of a fleet."""

    def __init__(self, *backends: str) -> None:
        self.members = {name: _Member(Live()) for name in backends}
        self.version = 41
        self.touched_backends: list[str] = []

    def touched(self, backend: str) -> None:
        self.touched_backends.append(backend)


@dataclass
class Site:
    loads: Loads
    busy: Busy
    passive: Passive
    clock: FakeClock
    fleet: _Fleet

    def live(self, backend: str) -> Live:
        return self.fleet.members[backend].live

    def start(self, backend: str, times: int = 1) -> None:
        for _ in range(times):
            self.busy.start(backend, self.live(backend))

    def end(self, backend: str, times: int = 1) -> None:
        for _ in range(times):
            self.busy.end(backend, self.live(backend))

    def hear(self, *others: Beat, age_s: float = 0.0) -> None:
        """One beat, and the answer to it."""
        own = Replica(beat=self.loads.beat())
        self.loads.heard((own, *(Replica(beat=beat, age_s=age_s) for beat in others)), self.clock.monotonic())


@pytest.fixture
def site() -> Site:
    fleet, busy, passive, clock = _Fleet("a", "b", "c"), Busy(), Passive(), FakeClock()
    loads = Loads(
        fleet=fleet,  # type: ignore[arg-type]  # all that is read of it
        busy=busy,
        passive=passive,
        clock=clock,
        replica="me",
        requests_in_flight=lambda: 3,
    )
    return Site(loads, busy, passive, clock, fleet)


def test_a_beat_names_only_what_there_is_to_say(site: Site) -> None:
    """Backends without work, news or attempts are not in it, and it ends up in it when they have some."""
    site.start("a", 2)
    site.start("b")
    site.end("b")
    site.passive.ok("a", site.clock.monotonic())
    said = site.loads.beat()
    assert (said.replica, said.fleet_version, said.requests_in_flight) == ("me", 41, 3)
    assert (said.in_flight, said.scraped) == ({"a": 2}, {})
    assert said.outcomes == {"a": Outcomes(ok=1)}


def test_what_others_say_is_added_and_taken_back(site: Site) -> None:
    """Two others' figures are summed; what they no longer name has ended."""
    site.start("a")
    site.hear(Beat(replica="r2", in_flight={"a": 4, "b": 1}), Beat(replica="r3", in_flight={"a": 5, "gone": 9}))
    assert (site.live("a").batch(), site.live("b").batch(), site.live("c").batch()) == (10.0, 1.0, 0.0)
    site.hear(Beat(replica="r2", in_flight={"a": 1}), Beat(replica="r3"))
    assert (site.live("a").batch(), site.live("b").batch()) == (2.0, 0.0)


def test_starts_between_two_beats_count_for_every_replica(site: Site) -> None:
    """Three replicas: each start since the last beat counts three times, on busy and on idle backends, then once."""
    others = (Beat(replica="r2", in_flight={"a": 2}), Beat(replica="r3"))
    site.start("a", 2)
    site.hear(*others)
    assert site.live("a").batch() == 4.0
    site.start("a")
    site.start("b")
    assert (site.live("a").batch(), site.live("b").batch()) == (4.0 + 3.0, 3.0)
    site.hear(*others)
    assert (site.live("a").batch(), site.live("b").batch()) == (5.0, 1.0)


def test_work_that_started_while_a_beat_was_on_its_way_is_not_yet_known_to_be_answered(site: Site) -> None:
    """What others say answers the beat as it was sent: a start after it still counts for every replica."""
    sent = site.loads.beat()
    site.start("b")
    site.loads.heard((Replica(beat=sent), Replica(beat=Beat(replica="r2"))), site.clock.monotonic())
    assert site.live("b").batch() == 2.0


def test_after_a_second_of_silence_others_are_taken_to_do_as_much(site: Site) -> None:
    """Up to a second what was said stands; then each of the others is taken to have what this replica has."""
    site.start("a", 3)
    site.hear(Beat(replica="r2", in_flight={"a": 50, "b": 8}), Beat(replica="r3"))
    site.clock.advance(0.9)
    site.loads.refresh(site.clock.monotonic())
    assert (site.live("a").batch(), site.live("b").batch()) == (53.0, 8.0)
    site.clock.advance(0.2)
    site.loads.refresh(site.clock.monotonic())
    assert (site.live("a").batch(), site.live("b").batch()) == (9.0, 0.0)
    site.start("c")
    assert site.live("c").batch() == 3.0
    site.hear(Beat(replica="r2", in_flight={"a": 1}))
    assert (site.live("a").batch(), site.live("c").batch()) == (4.0, 1.0)


def test_prompts_that_wait_count_as_sequences_do(site: Site) -> None:
    """Others' waiting prompts are what they said, since then as much as here; after a second, as much in all."""
    site.start("a")
    site.live("a").prefill_tokens = 1000.0
    site.hear(
        Beat(replica="r2", in_flight={"a": 2, "b": 1}, prefilling={"a": 6000, "b": 500}),
        Beat(replica="r3", in_flight={"a": 1}, prefilling={"a": 2000}),
    )
    assert (site.live("a").prefilling(), site.live("b").prefilling()) == (9000.0, 500.0)
    assert site.loads.beat().prefilling == {"a": 1000}
    site.live("a").prefill_tokens += 100.0
    assert site.live("a").prefilling() == 9300.0
    site.clock.advance(1.1)
    site.loads.refresh(site.clock.monotonic())
    assert (site.live("a").prefilling(), site.live("b").prefilling()) == (3300.0, 0.0)


def test_a_replica_that_is_gone_leaves_no_load(site: Site) -> None:
    """When a replica is no longer among the live, what it had in flight is gone, and deltas count for fewer."""
    site.hear(Beat(replica="r2", in_flight={"a": 40}))
    site.hear()
    site.start("a")
    assert site.live("a").batch() == 1.0


def test_a_scrape_travels_with_its_age_and_what_was_known_then(site: Site) -> None:
    """What the prober of a backend heard is taken over once, as old as it is, and not over something newer."""
    now = site.clock.monotonic()
    said = Scrape(age_s=0.2, running=10.0, waiting=2.0, kv_cache_usage=0.7, in_flight=9.0)
    site.hear(Beat(replica="r2", in_flight={"a": 9}, scraped={"a": said}), age_s=0.1)
    subject = site.live("a")
    assert (subject.running, subject.waiting, subject.kv_cache_usage) == (10.0, 2.0, 0.7)
    assert subject.scraped_at == pytest.approx(now - 0.3)
    assert subject.batch() == 12.0
    site.clock.advance(1.0)
    site.loads.scraped("a", subject, running=4.0, waiting=0.0, kv_cache_usage=-1.0)
    site.hear(Beat(replica="r2", in_flight={"a": 9}, scraped={"a": said}), age_s=0.1)
    assert subject.running == 4.0


def test_own_scrapes_are_told_for_half_a_second(site: Site) -> None:
    """Each beat of the next half second carries them, older by the time; a backend that says nothing is left out."""
    site.loads.scraped("a", site.live("a"), running=5.0, waiting=-1.0, kv_cache_usage=-1.0)
    site.loads.scraped("b", site.live("b"), running=-1.0, waiting=-1.0, kv_cache_usage=-1.0)
    site.clock.advance(0.4)
    told = site.loads.beat().scraped
    assert (set(told), told["a"].running) == ({"a"}, 5.0)
    assert told["a"].age_s == pytest.approx(0.4)
    site.clock.advance(0.2)
    assert site.loads.beat().scraped == {}


def test_a_backend_that_came_back_under_its_name_is_another_one(site: Site) -> None:
    """An attempt on the removed one does not end work on the new one."""
    old = site.live("a")
    site.busy.start("a", old)
    site.fleet.members["a"] = _Member(Live())
    site.start("a")
    site.busy.end("a", old)
    assert site.loads.beat().in_flight == {"a": 1}


def test_evidence_adds_up_the_attempts_of_all_replicas(site: Site) -> None:
    """12 of 20 on 2 of 3 replicas, the error of who has most; two seconds after the last word only own ones count."""
    for _ in range(4):
        site.passive.failed("a", site.clock.monotonic(), "STREAM_BROKEN")
    for _ in range(6):
        site.passive.ok("a", site.clock.monotonic())
    site.clock.advance(1.0)
    site.hear(
        Beat(replica="r2", outcomes={"a": Outcomes(ok=2, failed=8, last_error="UPSTREAM_FAULT")}),
        Beat(replica="r3", outcomes={"b": Outcomes(ok=2)}),
    )
    now = site.clock.monotonic()
    assert site.loads.failing(now) == {"a"}
    assert str(site.loads.evidence("a", now)) == (
        "12 of 20 attempts of the last 10 s failed on 2 replicas, last: UPSTREAM_FAULT"
    )
    assert site.loads.evidence("a", now).live == 3
    site.clock.advance(2.1)
    later = site.loads.evidence("a", site.clock.monotonic())
    assert (later.attempts, later.failed, later.live) == (10, 4, 1)


@given(
    steps=st.lists(st.tuples(st.floats(0.0, 4.0), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=80),
)
def test_the_window_counts_what_is_in_it(steps: list[tuple[float, str, bool]]) -> None:
    """The sums are those of the attempts of the last ten whole seconds, and idle backends leave nothing behind."""
    subject = Passive()
    now = 100.0
    done: list[tuple[float, str, bool]] = []
    for pause, backend, ok in steps:
        now += pause
        done.append((now, backend, ok))
        subject.ok(backend, now) if ok else subject.failed(backend, now, "E")
    seen = subject.outcomes(now + 1.0)
    for backend in "ab":
        inside = [ok for at, name, ok in done if name == backend and int(at) > int(now + 1.0) - 10]
        found = seen.get(backend, Outcomes())
        assert (found.ok, found.failed) == (inside.count(True), inside.count(False))
    assert subject.outcomes(now + 30.0) == {}
    assert subject._windows == {}
