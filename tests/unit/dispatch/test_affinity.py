"""Prefix affinity through decider and feedback: what was read where, what that is worth, and what ends the belief."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from backends.contract import Chunk, FinishReason, Usage
from backends.errors import BackendError, ConnectFailed, RateLimited, UpstreamFault
from backends.scripted import ScriptedBackend
from router.app.wires import wire_facts
from router.clock import FakeClock
from router.dispatch.affinity import Affinity, memory_tokens, room_of, rule_of
from router.dispatch.decider import Decider, Plan
from router.dispatch.feedback import OK, Attempt, Feedback
from router.dispatch.fleet import Fleet
from router.dispatch.loads import Loads
from router.domain.catalogue import Catalogue
from router.domain.fleet import Backend, Health, HealthState, ServedModel
from router.domain.hardware import Hardware, Model
from router.domain.policies import Policies
from router.domain.prefix_cache import BLOCK_TOKENS
from router.domain.pricing import Price, book_of
from router.domain.replica import Replica
from router.domain.request import RequestProfile, Slo
from router.domain.rows import Row
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.prediction.output_length import OutputLength
from router.scheduling.picker import lot
from router.telemetry.metrics import Metrics

H100 = Hardware(
    id="h100",
    name="H100",
    kind="gpu",
    memory_bytes=80e9,
    memory_bandwidth_bytes_per_s=3.35e12,
    flops_per_s=989e12,
    tdp_w=700.0,
    prior_sd_log=0.2,
)
LLAMA_70B = Model(id="m", parameters=70.6e9, layers=80, kv_bytes_per_token=327_680.0, context_tokens=131_072)
CATALOGUE = Catalogue(hardware={"h100": H100}, models={"m": LLAMA_70B}, classes={"any": ("m",)})
TALK = tuple(range(100, 116))


class Site:
    """Equal backends of H100, a decider and a feedback with one affinity, on a clock that stands still."""

    def __init__(self, *ids: str, wires: Wires | None = None, replica: str = "me", **facts: Any) -> None:
        self.clock = FakeClock()
        self.fleet = Fleet(
            catalogue=CATALOGUE, build_adapter=ScriptedBackend, clock=self.clock, policies=Policies(), wires=wires
        )
        self.affinity = Affinity(self.fleet)
        lengths = OutputLength()
        draws = random.Random(7)
        self.decider = Decider(
            fleet=self.fleet,
            lengths=lengths,
            clock=self.clock,
            uniform=draws.random,
            age=lambda: 0.0,
            affinity=self.affinity,
        )
        self.feedback = Feedback(
            fleet=self.fleet, lengths=lengths, metrics=Metrics(), clock=self.clock, affinity=self.affinity
        )
        self.loads = Loads(
            fleet=self.fleet,
            busy=self.feedback.busy,
            passive=self.feedback.passive,
            clock=self.clock,
            replica=replica,
            affinity=self.affinity,
        )
        self.snapshot = FleetSnapshot(
            version=1,
            backends={name: machine(name, **facts) for name in ids},
            prices={(name, ""): book_of(Price(backend=name, usd_per_hour=12.0)) for name in ids},
        )
        self.fleet.apply(self.snapshot)

    def plan(self, blocks: tuple[int, ...] = TALK, **fields: Any) -> Plan:
        tokens = len(blocks) * BLOCK_TOKENS + 100.0
        known: dict[str, Any] = {"request_id": "r", "model": "m", "input_tokens": tokens, "max_output_tokens": 200}
        return self.decider.plan(RequestProfile(**known | fields, blocks=blocks))

    def begin(self, plan: Plan, backend: str | None = None) -> Attempt:
        forecast = next(f for f in plan.ranking.ordered if backend in {None, f.row.id})
        attempt = self.feedback.begin(forecast, blocks=plan.profile.blocks)
        assert attempt is not None
        return attempt

    def serve(self, plan: Plan, backend: str | None = None, *, cached: int = 0) -> str:
        """A whole answer; `cached` is what the backend says it had."""
        attempt = self.begin(plan, backend)
        self.clock.advance(attempt.forecast.ttft_s)
        attempt.take(Chunk(text="x", events=1))
        tokens = int(plan.profile.input_tokens)
        usage = Usage(input=tokens, cached_input=cached, output=1)
        attempt.take(Chunk(usage=usage, finish_reason=FinishReason.STOP))
        attempt.close(OK)
        return attempt.row.id

    def fail(self, plan: Plan, backend: str, error: BackendError) -> None:
        self.begin(plan, backend).close(error.code, error)

    def cached(self, blocks: tuple[int, ...] = TALK, **fields: Any) -> dict[str, float]:
        """What each candidate is expected to hold of a prompt, where it is anything."""
        ordered = self.plan(blocks, **fields).ranking.ordered
        return {f.row.id: f.input_tokens - f.fresh_tokens for f in ordered if f.input_tokens > f.fresh_tokens}

    def row(self, backend: str) -> Row:
        row = self.fleet.row(backend, "m")
        assert row is not None
        return row


def machine(name: str, **facts: Any) -> Backend:
    known: dict[str, Any] = {
        "id": name,
        "wire": "scripted",
        "address": f"http://{name}",
        "models": (ServedModel(model="m"),),
        "hardware": "h100",
        "hardware_count": 4,
        "max_concurrency": 64,
    }
    return Backend(**known | facts)


def test_a_conversation_goes_back_to_where_it_was_read() -> None:
    """The second turn of each of twenty conversations goes to the first turn's backend, among eight equals."""
    site = Site(*"abcdefgh")
    used = set()
    for n in range(20):
        talk = tuple(range(1000 * n, 1000 * n + 16))
        first = site.serve(site.plan(talk))
        second = site.plan((*talk, 1000 * n + 900))
        assert second.ranking.ordered[0].row.id == first
        used.add(first)
    assert len(used) > 3


def test_cached_tokens_shorten_the_first_token_and_lower_the_price() -> None:
    """Of two equals the one that read the beginning has a lower TTFT, cost and energy, by the tokens that it holds."""
    site = Site("a", "b")
    site.serve(site.plan(), "a")
    best, other = site.plan((*TALK, 7, 8)).ranking.ordered
    assert (best.row.id, other.row.id) == ("a", "b")
    assert other.fresh_tokens - best.fresh_tokens == len(TALK) * BLOCK_TOKENS
    assert best.ttft_s < 0.4 * other.ttft_s
    assert best.cost_usd < other.cost_usd
    assert best.energy_j < other.energy_j
    assert best.tpot_s == other.tpot_s


def test_affinity_ends_where_waiting_costs_more_than_it_saves() -> None:
    """The holder keeps the conversation under some load and loses it under more; nothing but dollars says when."""
    site = Site("a", "b")
    site.serve(site.plan(), "a")
    live = site.row("a").live
    chosen = []
    for waiting in (0.0, 2_000.0, 20_000.0):
        live.prefill_tokens = waiting
        plan = site.plan(slo=Slo(ttft_s=3.0))
        chosen.append(plan.ranking.ordered[0].row.id)
        a, b = sorted(plan.ranking.ordered, key=lambda f: f.row.id)
        # Beyond a near-tie, the lower objective decides.
        assert (chosen[-1] == "a") == (a.rank_usd <= 1.05 * b.rank_usd)
    assert chosen == ["a", "a", "b"]


def test_where_nobody_holds_it_equal_beginnings_gather() -> None:
    """Routers that share nothing send equal beginnings to one place, and different ones to different places."""
    chosen: dict[int, str] = {}
    for _ in range(3):
        site = Site(*"abcdefgh")
        for n in range(30):
            place = site.plan((n, n + 500)).ranking.ordered[0].row.id
            assert chosen.setdefault(n, place) == place
    assert len(set(chosen.values())) == 8


def test_a_session_key_goes_before_the_prompts_beginning() -> None:
    """Two sessions under one system prompt need not share a backend where nobody holds it."""
    site = Site(*"abcdefgh")
    places = {site.plan(session_key=f"s{n}").ranking.ordered[0].row.id for n in range(30)}
    assert len(places) == 8


def test_what_is_read_counts_from_the_first_token_on() -> None:
    """A long answer does not hide that its prompt is cached; an answer that never came shows nothing."""
    site = Site("a", "b")
    attempt = site.begin(site.plan(), "a")
    assert site.cached() == {}
    attempt.take(Chunk(text="x", events=1))
    assert site.cached() == {"a": len(TALK) * BLOCK_TOKENS}
    site.begin(site.plan((1, 2)), "b").close("CANCELLED")
    assert site.cached((1, 2)) == {}


def test_a_liar_is_corrected() -> None:
    """Who says time and again that it had nothing cached is expected to hold ever less; an honest one is believed."""
    site = Site("liar", "honest", wires=wire_facts(), wire="openai_chat", profile="vllm")
    held = len(TALK) * BLOCK_TOKENS
    site.serve(site.plan(), "liar", cached=0)
    site.serve(site.plan(), "honest", cached=0)
    assert site.cached() == {"liar": held, "honest": held}
    for _ in range(8):
        # A count of any kind shows that it counts.
        site.serve(site.plan(), "liar", cached=16)
        site.serve(site.plan(), "honest", cached=held)
    cached = site.cached()
    assert cached["honest"] == pytest.approx(held)
    assert cached["liar"] < 0.1 * held
    assert site.plan().ranking.ordered[0].row.id == "honest"


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ConnectFailed("refused"), {}),
        (UpstreamFault("500"), {(1, 2): {"a": 1024.0}}),
        (RateLimited("429"), {(1, 2): {"a": 1024.0}, TALK: {"a": 8192.0}}),
    ],
)
def test_failures_end_beliefs(error: BackendError, kept: dict[tuple[int, ...], dict[str, float]]) -> None:
    """A refused connection ends all of them, a fault those about its prompt, and too many requests none."""
    site = Site("a", "b")
    site.serve(site.plan(), "a")
    site.serve(site.plan((1, 2)), "a")
    site.fail(site.plan(), "a", error)
    member = site.fleet.members["a"]
    member.live.limited_until = site.clock.monotonic()
    assert {blocks: found for blocks in ((1, 2), TALK) if (found := site.cached(blocks))} == kept


def test_removed_moved_and_restarted_backends_are_forgotten() -> None:
    """Nothing is believed of a backend that left, that is at another address, or that was taken out as sick."""
    for change in ("removed", "moved", "ejected"):
        site = Site("a", "b")
        site.serve(site.plan(), "a")
        assert len(site.affinity) == len(TALK)
        snapshot, backends = site.snapshot, dict(site.snapshot.backends)
        if change == "removed":
            del backends["a"]
        elif change == "moved":
            backends["a"] = replace(backends["a"], address="http://elsewhere")
        health = {"a": Health(state=HealthState.EJECTED)} if change == "ejected" else {}
        site.fleet.apply(replace(snapshot, version=2, backends=backends, health=health))
        assert len(site.affinity) == 0, change
        site.fleet.apply(replace(snapshot, version=3))
        assert site.cached() == {}, change


def test_a_change_of_price_or_quota_forgets_nothing() -> None:
    """What an operator changes of a running backend leaves its cache as it is."""
    site = Site("a", "b")
    site.serve(site.plan(), "a")
    changed = replace(site.snapshot.backends["a"], max_concurrency=32, requests_per_minute=600)
    site.fleet.apply(replace(site.snapshot, version=2, backends={**site.snapshot.backends, "a": changed}))
    assert site.cached() == {"a": len(TALK) * BLOCK_TOKENS}


def test_a_pick_is_remembered_when_it_is_reported() -> None:
    """Its tokens go past this router; the report says that the prompt was read."""
    site = Site("a", "b")
    attempt = site.begin(site.plan(), "a")
    attempt.take(Chunk(usage=Usage(input=100, output=5), finish_reason=FinishReason.STOP))
    attempt.close(OK)
    assert site.cached() == {"a": len(TALK) * BLOCK_TOKENS}


def test_the_room_is_what_memory_leaves_beside_the_weights() -> None:
    """Llama 70B at 16 bits on four H100 of 80 GB: about 440,000 tokens of cache."""
    site = Site("a")
    assert memory_tokens(site.row("a")) == pytest.approx(448_000, rel=0.05)


@pytest.mark.parametrize(
    ("facts", "price", "blocks", "ttl_s", "prompts"),
    [
        ({"profile": "vllm"}, {"usd_per_hour": 12.0}, 875, float("inf"), 0),
        ({"profile": "llama_cpp", "max_concurrency": 2}, {"usd_per_hour": 1.0}, 256, float("inf"), 2),
        ({"profile": "openai"}, {"input_usd_per_mtok": 2.0, "output_usd_per_mtok": 8.0}, 0, 0.0, 0),
        (
            {"profile": "openai"},
            {"input_usd_per_mtok": 2.0, "cached_input_usd_per_mtok": 1.0, "output_usd_per_mtok": 8.0},
            1 << 20,
            300.0,
            0,
        ),
        ({"profile": "vllm", "options": (("prefix_cache", "off"),)}, {"usd_per_hour": 12.0}, 0, 0.0, 0),
        (
            {"profile": "openai", "options": (("prefix_cache", "tokens=5120,ttl_s=60"),)},
            {"input_usd_per_mtok": 2.0, "output_usd_per_mtok": 8.0},
            10,
            60.0,
            0,
        ),
    ],
)
def test_each_family_keeps_prompts_in_its_own_way(
    facts: dict[str, Any], price: dict[str, Any], blocks: int, ttl_s: float, prompts: int
) -> None:
    """Engines by memory, llama.cpp by slot, services where cached input has a price; operators may say otherwise."""
    site = Site("a", wires=wire_facts(), wire="openai_chat", **facts)
    site.fleet.apply(replace(site.snapshot, version=2, prices={("a", ""): book_of(Price(backend="a", **price))}))
    row = site.row("a")
    room = room_of(row, rule_of(row, site.fleet))
    assert (room is None) == (blocks == 0)
    if room is not None:
        assert room.blocks == pytest.approx(blocks, rel=0.02)
        assert (room.ttl_s, room.prompts) == (ttl_s, prompts)


def test_a_service_keeps_no_short_beginnings() -> None:
    """Below 1,024 tokens a service caches nothing, so nothing is expected of it."""
    site = Site("a", wires=wire_facts(), wire="openai_chat", profile="openai", hardware="api")
    price = Price(backend="a", input_usd_per_mtok=2.0, cached_input_usd_per_mtok=0.5, output_usd_per_mtok=8.0)
    site.fleet.apply(replace(site.snapshot, version=2, prices={("a", ""): book_of(price)}))
    site.serve(site.plan((1, 2)), cached=1024)
    assert site.cached((1,)) == {}
    assert site.cached((1, 2)) == {"a": 1024.0}
    new, known = (site.plan(blocks).ranking.ordered[0].cost_usd for blocks in ((8, 9), (1, 2)))
    assert new - known == pytest.approx(1024 * 1.5e-6, rel=0.01)
    site.clock.advance(301.0)
    assert site.cached((1, 2)) == {}


def test_what_a_prompt_has_cached_does_not_wait_to_be_read() -> None:
    """Only the tokens that are new to a backend stand in its queue of prompts."""
    site = Site("a", "b")
    site.serve(site.plan(), "a")
    attempt = site.begin(site.plan(), "a")
    assert site.row("a").live.prefill_tokens == pytest.approx(100.0)
    attempt.close("CANCELLED")
    assert site.row("a").live.prefill_tokens == 0.0


def test_lots_favour_nobody() -> None:
    """Of eight backends with names alike each wins an eighth of many keys, give or take a fifth of that."""
    wins = Counter(max("abcdefgh", key=lambda name: lot(f"{key:x}\0gpu-{name}\0m")) for key in range(4000))
    assert all(wins[name] == pytest.approx(500, rel=0.2) for name in "abcdefgh")


def test_replicas_know_what_was_read_for_the_others() -> None:
    """A conversation that comes in at another router goes to where it was read, and each turn is told once."""
    here, there = Site("a", "b", replica="here"), Site("a", "b", replica="there")

    def beat() -> None:
        beats = tuple(Replica(beat=site.loads.beat()) for site in (here, there))
        for site in (here, there):
            site.loads.heard(beats, site.clock.monotonic())

    here.serve(here.plan(), "b")
    beat()
    assert there.cached() == here.cached() == {"b": len(TALK) * BLOCK_TOKENS}
    longer = (*TALK, 7, 8)
    assert there.serve(there.plan(longer)) == "b"
    assert [reading.blocks for reading in there.loads.beat().read] == [(7, 8)]
    beat()
    assert here.cached(longer) == {"b": len(longer) * BLOCK_TOKENS}


def test_a_system_prompt_that_everybody_holds_does_not_bring_all_to_one_place() -> None:
    """Among eight that hold the same beginning, the first block after it decides, alike in every router."""
    system, places = (1, 2, 3), {}
    sites = [Site(*"abcdefgh") for _ in range(2)]
    for site in sites:
        for name in "abcdefgh":
            site.serve(site.plan(system), name)
    for n in range(30):
        one, other = (site.plan((*system, 1000 + n, 2000 + n)).ranking.ordered[0].row.id for site in sites)
        assert one == other
        places[n] = one
    assert len(set(places.values())) > 4
