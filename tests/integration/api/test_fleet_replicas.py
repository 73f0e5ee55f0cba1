"""`FleetService` of two whole replicas on a real Valkey: what people see of a fleet that is at work."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.contract import LoadReport
from router.state.embedded import EmbeddedValkey
from router.v1 import common_pb2
from tests.integration.api.fleet_site import AUTHOR, LIMIT_S, Running, asked, replica


@pytest.fixture
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    async with EmbeddedValkey() as server:
        yield server


@pytest.fixture
async def two(valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[tuple[Running, Running]]:
    async with replica(valkey.url, "r1", tmp_path) as first, replica(valkey.url, "r2", tmp_path) as second:
        yield first, second


async def test_two_replicas_know_each_other_and_each_shows_its_own_traffic(two: tuple[Running, Running]) -> None:
    """Both are listed by both; what one has sent is in its own shares, rates and decisions."""
    first, second = two
    await first.serve("q1")

    here = await first.until(lambda answer: len(answer.replicas) == 2)
    there = await second.until(lambda answer: len(answer.replicas) == 2)

    assert {(one.id, one.self) for one in here.replicas} == {("r1", True), ("r2", False)}
    assert (here.replica, there.replica, here.store) == ("r1", "r2", "connected")
    assert [(shown.id, shown.share) for shown in here.backends] == [("cheap", 1.0), ("dear", 0.0)]
    assert here.backends[0].HasField("ttft_actual_s")
    assert here.backends[0].usd_per_mtok_blended == pytest.approx(1.0)
    assert here.usd_per_hour > 0.0
    assert [(one.request_id, one.backend, one.result) for one in here.decisions] == [("q1", "cheap", "OK")]
    assert (there.requests_per_s, list(there.decisions)) == (0.0, [])


async def test_a_pick_is_among_the_recent_decisions(two: tuple[Running, Running]) -> None:
    """A request that its caller carries out itself was decided here, so it is shown, as picked."""
    first, _ = two
    first.core.director.pick(asked("p1"))

    (decision,) = (await first.overview()).decisions

    assert (decision.request_id, decision.backend, decision.result, decision.attempts) == ("p1", "cheap", "PICKED", 0)
    assert not decision.HasField("ttft_actual_s")
    assert decision.cost_usd > 0.0


async def test_drained_and_sick_backends_are_shown_by_every_replica(two: tuple[Running, Running]) -> None:
    """What an operator drains shows as draining on both, what probes find dead as ejected, with an alarm."""
    first, second = two
    drained = replace(first.state.view.snapshot.backends["cheap"], drained=True)
    await first.state.store.put_backend(drained, expected_version=drained.version, author=AUTHOR)
    for running in two:
        running.adapters["dear"].report = LoadReport(healthy=False, reason="connection refused")

    for running in (first, second):
        answer = await running.until(lambda answer: any("dear is ejected" in alarm for alarm in answer.alarms))
        states = {shown.id: shown.health for shown in answer.backends}
        assert states == {
            "cheap": common_pb2.HEALTH_STATE_DRAINING,
            "dear": common_pb2.HEALTH_STATE_EJECTED,
        }
        assert any("connection refused" in alarm for alarm in answer.alarms)


async def test_what_a_removed_backend_did_is_forgotten(two: tuple[Running, Running]) -> None:
    """With the backend goes the memory of its traffic, so memory is bounded by the fleet."""
    first, _ = two
    await first.serve("q1")
    assert first.core.traffic.backends == ("cheap",)
    version = first.state.view.snapshot.backends["cheap"].version

    await first.state.store.remove_backend("cheap", expected_version=version, author=AUTHOR)
    answer = await first.until(lambda answer: [shown.id for shown in answer.backends] == ["dear"])
    async with asyncio.timeout(LIMIT_S):
        while first.core.traffic.backends:
            await asyncio.sleep(0.02)

    assert (answer.requests_per_s, answer.backend_count) == (0.0, 1)


async def test_an_overview_is_given_while_the_store_is_dead(
    two: tuple[Running, Running], valkey: EmbeddedValkey
) -> None:
    """Its state and what that means are told at once, and requests that go on are shown."""
    first, _ = two
    os.kill(valkey.pid, signal.SIGKILL)
    await first.until(lambda answer: answer.store == "away")
    await first.serve("q1")

    began = asyncio.get_running_loop().time()
    answer = await first.overview()
    took_s = asyncio.get_running_loop().time() - began

    assert took_s < 0.5
    assert [one.request_id for one in answer.decisions] == ["q1"]
    assert "the state store is away: nothing can be changed, requests go on" in answer.alarms
