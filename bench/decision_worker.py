"""Times decisions in a process of its own, so that plain and compiled modules never mix.

    python -m bench.decision_worker CONFIG_DIR      prints what it runs on, then a report for each job, one JSON a line

Times are CPU time of this process: on a shared machine wall time says little.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec

from backends import registry
from backends.http.transport import FastTransport
from bench import decision_state
from bench.decision_job import Sizes, Times
from router.clock import SystemClock
from router.dispatch.decider import Decider
from router.dispatch.fleet import Fleet
from router.domain.fleet import Backend, ServedModel
from router.domain.policies import Policies
from router.domain.pricing import Price, book_of
from router.domain.request import RequestProfile, Slo
from router.domain.rows import Row
from router.domain.snapshot import FleetSnapshot
from router.prediction.output_length import OutputLength
from router.scheduling import reporting, scheduler
from router.settings import Settings, load

ASKED = "llama-3.1-8b"
OTHER = "llama-3.3-70b"
VARIANTS = 16
# What each backend has answered before, and the requests that are on their way while it is decided.
ANSWERS = 20
RUNNING = 64


def snapshot(settings: Settings, sizes: Sizes) -> FleetSnapshot:
    """A fleet of every accelerator of the catalogue in turn, at prices that all differ."""
    rng = random.Random(7)
    kinds = sorted(name for name, hardware in settings.catalogue.hardware.items() if hardware.flops_per_s)
    backends = {}
    prices = {}
    for n in range(sizes.backends):
        name = f"b{n:05d}"
        backends[name] = Backend(
            id=name,
            wire="openai_chat",
            address=f"http://127.0.0.1:{1024 + n}",
            models=(ServedModel(model=ASKED if n < sizes.serving else OTHER, bytes_per_weight=1.0),),
            profile="vllm",
            hardware=kinds[n % len(kinds)],
            region=f"eu-{n % 4}",
            max_concurrency=64,
            network_rtt_s=rng.uniform(0.001, 0.02),
        )
        usd = rng.uniform(0.05, 2.0)
        prices[name, ""] = book_of(Price(backend=name, input_usd_per_mtok=usd, output_usd_per_mtok=3.0 * usd))
    return FleetSnapshot(version=1, backends=backends, prices=prices)


def with_one_price(before: FleetSnapshot) -> FleetSnapshot:
    """The same fleet in which one backend has become a little dearer."""
    key = next(iter(before.prices))
    book = before.prices[key]
    price = book.prices[0]
    dearer = replace(price, output_usd_per_mtok=(price.output_usd_per_mtok or 0.0) * 1.001)
    changed = replace(book, prices=(dearer,), version=book.version + 1)
    return replace(before, version=before.version + 1, prices=before.prices | {key: changed})


def questions() -> list[RequestProfile]:
    """Requests that differ in size, with and without an SLO of their own."""
    return [
        RequestProfile(
            request_id=f"r{n}",
            model=ASKED,
            input_tokens=100.0 + 150.0 * n,
            max_output_tokens=64 + 32 * n,
            slo=Slo(ttft_s=0.5, tpot_s=0.05) if n % 2 else Slo(),
        )
        for n in range(VARIANTS)
    ]


def measure(settings: Settings, policies: Policies, sizes: Sizes) -> Times:
    """One round over one fleet."""
    transport, control, clock = FastTransport(), httpx.AsyncClient(), SystemClock()
    fleet = Fleet(
        catalogue=settings.catalogue,
        build_adapter=lambda spec: registry.build(spec, transport=transport, control=control, env={}),
        clock=clock,
        policies=policies,
    )
    gc.unfreeze()  # of the fleet before this one
    gc.collect()
    made = snapshot(settings, sizes)
    started = time.process_time()
    fleet.apply(made)
    snapshot_us = (time.process_time() - started) * 1e6
    gc.collect()
    gc.freeze()  # as the router does when it begins to serve
    rng = random.Random(11)
    for member in fleet.members.values():
        member.live.in_flight = rng.randrange(40)
    for learned in fleet.beliefs():
        decision_state.teach(learned, rng, ANSWERS)
    decider = Decider(fleet=fleet, lengths=OutputLength(), clock=clock, uniform=rng.random, age=lambda: 0.0)
    asked = questions()

    # Of a large fleet only some are looked at, but all of them where somebody wants to see them.
    candidates = len(decider.full(decider.plan(asked[0])).ranked)
    plan_us = _median_us(fleet, decider, asked, sizes.seconds)
    plans = [decider.plan(profile) for profile in asked]

    def told() -> None:
        for plan in plans:
            reporting.candidate(plan.ranking.ordered[0])

    told_us = repeat(told, sizes.seconds / 4.0) / VARIANTS
    state = [made]

    def one_price() -> None:
        state[0] = with_one_price(state[0])
        fleet.apply(state[0])

    def only_the_change() -> None:
        state[0] = with_one_price(state[0])

    price_us = repeat(one_price, sizes.seconds) - repeat(only_the_change, sizes.seconds / 4.0)
    return Times(
        plan_us=plan_us,
        snapshot_us=snapshot_us,
        price_us=max(0.0, price_us),
        candidates=candidates,
        told_us=told_us,
    )


def _median_us(fleet: Fleet, decider: Decider, asked: list[RequestProfile], seconds: float) -> float:
    """The median CPU microseconds of a decision while each sends a request there, and the one of some time ago ends."""
    spent: list[float] = []
    running: deque[Row] = deque()
    until = time.process_time() + seconds
    while time.process_time() < until or not spent:
        for profile in asked:
            started = time.process_time()
            plan = decider.plan(profile)
            spent.append(time.process_time() - started)
            row = plan.ranking.ordered[0].row
            row.live.in_flight += 1
            fleet.touched(row.id)
            running.append(row)
            if len(running) > RUNNING:
                ended = running.popleft()
                ended.live.in_flight -= 1
                fleet.touched(ended.id)
    return statistics.median(spent) * 1e6


def repeat(call: Callable[[], None], seconds: float) -> float:
    """CPU microseconds of a call, over as many calls as fit into `seconds`, the first of which does not count."""
    call()
    calls, started = 0, time.process_time()
    while (spent := time.process_time() - started) < seconds or not calls:
        call()
        calls += 1
    return spent / calls * 1e6


def main(config: Path) -> None:
    settings = load(config, {})
    here = {"router": str(Path(scheduler.__file__).resolve().parent), "module": Path(scheduler.__file__).name}
    sys.stdout.write(msgspec.json.encode(here).decode() + "\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        sizes = msgspec.json.decode(line, type=Sizes)
        said = decision_state.measure(sizes.backends) if sizes.state else measure(settings, settings.policies, sizes)
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
