"""The log beside the path of requests: bounded, sampled without bias, and never in anybody's way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from router.decisions.capture import LEARNED, LIVE
from router.decisions.log import DecisionLog
from router.decisions.reading import Reading
from router.decisions.sampling import Sampler
from router.decisions.segments import Segments
from router.dispatch.plain import copied
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.outcome import Outcome, TokenUsage
from router.domain.request import Slo
from router.prediction import learning
from router.telemetry.decision_metrics import DecisionMetrics
from tests.unit.decisions.conftest import Site, profile


def open_log(
    site: Site, path: Path, *, share: float | None = None, queue: int = 4096, max_bytes: int = 1 << 20
) -> tuple[DecisionLog, CollectorRegistry]:
    registry = CollectorRegistry()
    log = DecisionLog(
        segments=Segments(path, "here", max_bytes=max_bytes),
        lines=site.lines,
        capture=site.capture,
        draws=site.draws,
        sampler=Sampler(max_bytes=max_bytes, uniform=random.Random(2).random, now=0.0, fixed=share),
        metrics=DecisionMetrics(registry),
        clock=site.clock,
        queue=queue,
    )
    return log, registry


def serve(site: Site, log: DecisionLog, number: int, *, result: str = "OK", ttft_s: float = 0.1) -> None:
    asked = profile(number, slo=Slo(ttft_s=5.0))
    log.begin()
    plan = site.decider.plan(asked)
    caught = log.catch(plan, asked)
    log.record(caught, (), outcome(ttft_s) if result == "OK" else None, result)


def outcome(ttft_s: float) -> Outcome:
    return Outcome(
        request_id="r", finish_reason="stop", stop_sequence="", usage=TokenUsage(output=5), cost_usd=0.1, energy_j=1.0,
        started_at=0.0, ttft_s=ttft_s, tpot_s=0.01, e2e_s=ttft_s + 0.05, routing_s=0.0,
    )  # fmt: skip


def bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def modes_in(directory: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in directory.iterdir()}


def count(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(f"router_decisions_{name}_total") or 0.0


async def test_what_is_recorded_is_on_disk(tmp_path: Path) -> None:
    """Each request once, with predicted against actual, in a file that nobody else may read."""
    site = Site({"a": 1.0, "b": 2.0})
    log, registry = open_log(site, tmp_path / "log")
    for number in range(150):
        serve(site, log, number)
    await log.close()

    found = [one.line for one in Reading(tmp_path / "log").decisions()]

    assert [line.id for line in found] == [f"r{n}" for n in range(150)]
    assert count(registry, "logged") == 150
    assert (found[0].actual.ttft_s, found[0].actual.cost_usd, found[0].candidates[0].backend) == (0.1, 0.1, "a")
    assert modes_in(tmp_path / "log") == {0o600}


async def test_the_directory_keeps_its_bound(tmp_path: Path) -> None:
    """However much is written, the oldest segments go and the newest stay readable by themselves."""
    site = Site(dict.fromkeys("abcde", 1.0))
    log, _ = open_log(site, tmp_path, share=1.0, max_bytes=1 << 20)
    sizes = []
    for number in range(2_500):
        serve(site, log, number)
        if number % 250 == 249:
            await log.close()
            sizes.append(bytes_in(tmp_path))

    ids = [one.line.id for one in Reading(tmp_path).decisions()]

    assert max(sizes) <= 1 << 20
    assert ids[-1] == "r2499"
    assert 200 < len(ids) < 2_500
    assert not Reading(tmp_path).notes


async def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    """Nothing waits: what does not fit is counted, what fits is written."""
    site = Site({"a": 1.0})
    log, registry = open_log(site, tmp_path, queue=10)
    for number in range(25):
        serve(site, log, number)
    await log.close()

    assert count(registry, "dropped") == 15
    assert len(list(Reading(tmp_path).decisions())) == 10


async def test_a_disk_that_fails_costs_decisions_and_nothing_else(tmp_path: Path) -> None:
    """While the directory cannot be written decisions are dropped; when it can they are kept again."""
    site = Site({"a": 1.0})
    blocked = tmp_path / "log"
    blocked.write_text("a file is in the way")
    log, registry = open_log(site, blocked)
    serve(site, log, 0)
    await log.close()
    assert count(registry, "dropped") == 1

    blocked.unlink()
    serve(site, log, 1)
    await log.close()
    assert count(registry, "dropped") == 2
    site.clock.advance(6.0)
    serve(site, log, 2)
    await log.close()

    assert [one.line.id for one in Reading(blocked).decisions()] == ["r2"]


async def test_a_fault_of_the_log_is_not_the_requests(tmp_path: Path) -> None:
    """When catching fails the request goes on, and the loss is counted."""
    site = Site({"a": 1.0})
    log, registry = open_log(site, tmp_path)

    def broken(_: str) -> list[object]:
        raise RuntimeError("no rows")

    site.capture._rows_for = broken  # type: ignore[assignment]  # a fault, planted
    serve(site, log, 0)

    assert count(registry, "dropped") == 1


async def test_failures_and_late_answers_are_always_kept(tmp_path: Path) -> None:
    """At a share of nothing much, what failed or missed an objective is there all the same, for itself alone."""
    site = Site({"a": 1.0})
    log, registry = open_log(site, tmp_path, share=1e-9)
    for number in range(30):
        serve(
            site,
            log,
            number,
            result="UPSTREAM_FAILED" if number % 3 == 0 else "OK",
            ttft_s=60.0 if number % 3 == 1 else 0.1,
        )
    await log.close()

    found = [one.line for one in Reading(tmp_path).decisions()]

    assert sum(line.result == "UPSTREAM_FAILED" for line in found) == 10
    assert sum(line.missed for line in found) == 10
    assert {line.weight for line in found} == {1.0}
    assert count(registry, "sampled_out") == 10


@pytest.mark.parametrize("rate", [5.0, 50.0, 400.0])
def test_weights_make_up_for_what_is_left_out(rate: float) -> None:
    """At any rate of requests the weighted count is the true one within a few per cent, and bytes keep the budget."""
    sampler = Sampler(max_bytes=4 << 20, uniform=random.Random(9).random, now=0.0, span_s=600.0)
    total, weighted, written, now = 0, 0.0, 0, 0.0
    while now < 1_200.0:
        now += 1.0 / rate
        total += 1
        weight = sampler.weight(always=False)
        if weight:
            weighted += weight
            written += 3_000
            sampler.wrote(3_000, weight, now)
        sampler.adjust(now)

    assert abs(weighted / total - 1.0) < 0.05
    # Two spans, and the quarter that may come at once.
    assert written < 2.5 * (4 << 20)


def test_state_comes_back_as_it_was() -> None:
    """What had been learnt and what was live, as values and back, predict the same."""
    learned, other = Learned(prior_sd_log=0.2), Learned(prior_sd_log=0.5)
    for number in range(90):
        learning.observe(
            learned, prior_ttft_s=0.1, prior_tpot_s=0.01, ttft_s=0.1 + 0.001 * number, tpot_s=0.012, now=float(number)
        )
    live, twin = Live(), Live()
    live.in_flight, live.prefill_tokens, live.tokens_left_of = 7, 12.5, "input"

    LEARNED.write(other, LEARNED.told(LEARNED.read(learned)))
    LIVE.write(twin, LIVE.told(LIVE.read(live)))

    assert LEARNED.read(other) == LEARNED.read(learned)
    assert other.tail.within(0.7) == learned.tail.within(0.7)
    assert LIVE.read(twin) == LIVE.read(live) == LIVE.read(copied(live))
    LIVE.write(twin, {"of_a_newer_version": 1})
    assert LIVE.read(twin) == LIVE.read(Live())
