"""What answers say of limits and load, and what decisions make of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import Chunk, Headroom, LoadReport, Signals, TokensOf, Window
from backends.errors import RateLimited
from backends.scripted import Emit, Finish, ScriptedBackend, Text
from router.clock import FakeClock
from router.dispatch.feedback import Attempt, Feedback
from router.dispatch.fleet import Fleet
from router.dispatch.signals import MAX_BELIEVED_S, WITHOUT_RESET_S, hear
from router.domain.catalogue import Catalogue
from router.domain.decision import DropReason
from router.domain.fleet import Backend, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.live import NEVER, Live
from router.domain.policies import Policies
from router.domain.request import RequestProfile
from router.domain.rows import Shape
from router.domain.snapshot import FleetSnapshot
from router.errors import NoEndpoint
from router.prediction import predictor
from router.prediction.output_length import OutputLength
from router.scheduling import filters
from router.scheduling.filters import KEEP, RATE_LIMIT, Constraints
from router.telemetry.metrics import Metrics

CATALOGUE = Catalogue(
    hardware={"chip": Hardware(id="chip", name="Chip", kind="hosted", fixed_ttft_s=0.05, fixed_tpot_s=0.01)},
    models={"m": Model(id="m", context_tokens=8192)},
)
BACKEND = Backend(id="a", wire="scripted", address="http://a", models=(ServedModel(model="m"),), hardware="chip")
SHAPE = Shape(
    input_tokens=100.0,
    cached_tokens=0.0,
    max_output_tokens=50.0,
    expected_output_tokens=50.0,
    ttft_slo_s=math.inf,
    tpot_slo_s=math.inf,
    e2e_slo_s=math.inf,
    probability=0.9,
    batch=False,
    quality_task="*",
)
WANT = Constraints(RequestProfile(request_id="r", model="m", input_tokens=100.0, max_output_tokens=50))
MakeRig = Callable[..., Any]


class Site:
    """One backend of this replica, on a clock that stands still."""

    def __init__(self, **fields: Any) -> None:
        self.clock = FakeClock()
        self.fleet = Fleet(catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=self.clock, policies=Policies())
        backend = Backend(**({f: getattr(BACKEND, f) for f in BACKEND.__slots__} | fields))
        self.fleet.apply(FleetSnapshot(version=1, backends={"a": backend}))
        self.feedback = Feedback(fleet=self.fleet, lengths=OutputLength(), metrics=Metrics(), clock=self.clock)
        row = self.fleet.row("a", "m")
        assert row is not None
        self.row = row

    def begin(self) -> Attempt:
        attempt = self.feedback.begin(predictor.forecast(self.row, SHAPE, 50.0))
        assert attempt is not None
        return attempt

    @property
    def code(self) -> int:
        return filters.check(self.row, WANT, self.clock.monotonic(), ignore_health=False)

    @property
    def words(self) -> str:
        return filters.detail(self.code, self.row, WANT, self.clock.monotonic(), None)


def said(
    *, requests: float | None = None, tokens: float | None = None, reset_s: float | None = None, load: Any = None
) -> Signals:
    def window(remaining: float | None) -> Window | None:
        return None if remaining is None else Window(remaining=remaining, reset_s=reset_s)

    return Signals(headroom=Headroom(requests=window(requests), tokens=window(tokens)), load=load)


def test_a_backend_without_requests_left_is_left_alone_until_its_reset() -> None:
    """Zero left in the head of an answer keeps the next decisions away, to the second of the reset, and says so."""
    site = Site()
    attempt = site.begin()
    attempt.take(Chunk(text="x", events=1, signals=said(requests=0, reset_s=30.0)))
    attempt.close("OK")
    assert site.code == RATE_LIMIT
    assert site.words == "has no requests left by its own account, for 30.0 s"
    site.clock.advance(29.9)
    assert site.code == RATE_LIMIT
    site.clock.advance(0.2)
    assert site.code == KEEP


def test_a_refusal_tells_as_much_as_an_answer() -> None:
    """The head of a 429 is read too: its reset counts where it is later than its retry-after."""
    site = Site()
    refusal = RateLimited("slow down", retry_after_s=1.0, signals=said(tokens=0, reset_s=20.0))
    site.begin().close(refusal.code, refusal)
    site.clock.advance(2.0)
    assert site.code == RATE_LIMIT
    assert site.words == "has 0 tokens left by its own account for 18.0 s, 150 are asked"
    site.clock.advance(18.5)
    assert site.code == KEEP


@pytest.mark.parametrize(
    ("counts", "left", "words"),
    [
        ("all", 149, "has 149 tokens left by its own account for 9.0 s, 150 are asked"),
        ("input", 99, "has 99 input tokens left by its own account for 9.0 s, 100 are asked"),
        ("output", 49, "has 49 output tokens left by its own account for 9.0 s, 50 are asked"),
    ],
)
def test_a_limit_of_answers_alone_is_not_held_against_a_prompt(counts: TokensOf, left: int, words: str) -> None:
    """What is left is compared with the tokens that the vendor's limit counts, and with no others."""
    site = Site()
    for remaining, code in ((left + 1, KEEP), (left, RATE_LIMIT)):
        window = Window(remaining=remaining, reset_s=9.0, counts=counts)
        site.begin().take(Chunk(signals=Signals(headroom=Headroom(tokens=window))))
        assert site.code == code
    assert site.words == words


def test_what_is_sent_is_taken_off_until_the_next_word() -> None:
    """Two requests left are two requests; the next head corrects what this replica could not know."""
    site = Site()
    site.begin().take(Chunk(signals=said(requests=2, tokens=10_000, reset_s=60.0)))
    site.begin()
    assert site.code == KEEP
    last = site.begin()
    assert site.code == RATE_LIMIT
    last.take(Chunk(signals=said(requests=7, tokens=9_000, reset_s=60.0)))
    assert site.code == KEEP
    assert site.row.live.tokens_left == 9_000


def test_the_tighter_of_both_limits_counts() -> None:
    """A vendor that has much left does not lift the limit of the configuration, nor the other way round."""
    site = Site(requests_per_minute=1)
    site.begin().take(Chunk(signals=said(requests=1_000, reset_s=60.0)))
    assert (site.code, site.words) == (RATE_LIMIT, "has used up its requests or tokens of this minute")
    site = Site(requests_per_minute=1_000)
    site.begin().take(Chunk(signals=said(requests=0, reset_s=60.0)))
    assert site.code == RATE_LIMIT


def test_a_new_credential_forgets_the_former_account() -> None:
    """What a vendor said of one key is not held against another."""
    site = Site()
    site.begin().take(Chunk(signals=said(requests=0, reset_s=60.0)))
    moved = Backend(**({f: getattr(BACKEND, f) for f in BACKEND.__slots__} | {"credential": "env:OTHER"}))
    site.fleet.apply(FleetSnapshot(version=2, backends={"a": moved}))
    assert site.code == KEEP


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("wait"), st.floats(0.0, 400.0), st.just(None)),
            st.tuples(st.just("send"), st.just(0.0), st.just(None)),
            st.tuples(st.just("requests"), st.integers(-2, 5).map(float), st.none() | st.floats(-5.0, 1e6)),
            st.tuples(st.just("tokens"), st.floats(0.0, 1_000.0), st.none() | st.floats(-5.0, 1e6)),
        ),
        max_size=30,
    )
)
def test_left_alone_exactly_while_the_last_word_holds(steps: list[tuple[str, float, float | None]]) -> None:
    """Whatever is said, in any order: a backend is left alone while less is left than is asked, up to the bound."""
    site = Site()
    left = {"requests": (0.0, -1.0), "tokens": (0.0, -1.0)}
    for kind, amount, reset_s in steps:
        now = site.clock.monotonic()
        if kind == "wait":
            site.clock.advance(amount)
        elif kind == "send":
            site.begin().close("OK")
            left = {
                what: (max(0.0, remaining - cost), until)
                for (what, (remaining, until)), cost in zip(left.items(), (1.0, 150.0), strict=True)
            }
        else:
            hear(site.row.live, said(**{kind: amount}, reset_s=reset_s), now)
            holds = WITHOUT_RESET_S if reset_s is None else min(max(0.0, reset_s), MAX_BELIEVED_S)
            left[kind] = (max(0.0, amount), now + holds)
        now = site.clock.monotonic()
        tight = (left["requests"][0] < 1.0 and now < left["requests"][1]) or (
            left["tokens"][0] < 150.0 and now < left["tokens"][1]
        )
        assert site.code == (RATE_LIMIT if tight else KEEP)
        assert filters.opens_at(site.row.live, WANT) <= now + MAX_BELIEVED_S
    site.clock.advance(MAX_BELIEVED_S)
    assert site.code == KEEP


def test_an_answer_that_says_nothing_changes_nothing() -> None:
    """No signals: no limit, no load, and nothing stays behind."""
    site = Site()
    site.begin().take(Chunk(text="x", events=1))
    live = site.row.live
    assert (live.requests_left_until, live.tokens_left_until, live.scraped_at) == (NEVER, NEVER, NEVER)


def test_the_load_of_an_answer_is_as_good_as_a_probe() -> None:
    """An engine that tells its load with its answer is believed; what it leaves out stays as it was probed."""
    site = Site()
    attempt = site.begin()
    attempt.take(Chunk(signals=Signals(load=LoadReport(healthy=True, running=9, waiting=2, kv_cache_usage=0.5))))
    live = site.row.live
    assert (live.running, live.waiting, live.kv_cache_usage) == (9.0, 2.0, 0.5)
    assert live.batch() == 11.0
    site.clock.advance(1.0)
    attempt.take(Chunk(signals=Signals(load=LoadReport(healthy=True, kv_cache_usage=0.75))))
    assert (live.running, live.waiting, live.kv_cache_usage) == (9.0, 2.0, 0.75)
    assert live.batch() == 11.0


def test_a_load_without_a_count_is_a_load() -> None:
    """Of an engine that was never probed, the little that an answer says is known; the rest is unknown, not zero."""
    live = Live()
    hear(live, Signals(load=LoadReport(healthy=True, kv_cache_usage=0.25)), 5.0)
    assert (live.running, live.kv_cache_usage, live.scraped_at) == (-1.0, 0.25, 5.0)
    other = Live()
    hear(other, Signals(load=LoadReport(healthy=True)), 5.0)
    assert other.scraped_at == NEVER


async def test_decisions_follow_what_the_last_answer_said(make_rig: MakeRig) -> None:
    """The first choice says that nothing is left: the next request goes elsewhere, and explain and admin say why."""
    empty = Emit(chunk=Chunk(text="hi", events=1, signals=said(requests=0, reset_s=60.0)))
    rig = make_rig({"a": [[empty, Finish()]], "b": [[Text(text="b"), Finish()]]})
    await rig.serve()
    await rig.serve(request_id="r2")
    assert rig.text == "b"
    decision = rig.director.explain(RequestProfile(request_id="r3", model="m", input_tokens=20.0))
    (drop,) = decision.drops
    assert (drop.backend, drop.reason) == ("a", DropReason.RATE_LIMIT)
    assert "no requests left" in drop.detail
    left = rig.director.live("a").requests_left
    assert left.remaining == 0.0
    assert left.until_unix > 1e9
    assert rig.director.live("b").requests_left is None


async def test_when_all_are_limited_the_error_says_for_how_long(make_rig: MakeRig) -> None:
    """Callers are told to come back when the first reset is due."""
    rig = make_rig({"a": [[Emit(chunk=Chunk(text="hi", events=1, signals=said(requests=0, reset_s=60.0))), Finish()]]})
    await rig.serve()
    with pytest.raises(NoEndpoint) as caught:
        await rig.serve(request_id="r2")
    assert caught.value.retry_after_s == pytest.approx(60.0, abs=1.0)
