"""Who probes what, what a replica does about it at once, and what it writes for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.contract import LoadReport
from router.domain.fleet import Health, HealthState
from router.domain.replica import Beat, Outcomes, Replica
from router.state.keys import Fence
from tests.unit.dispatch.collector_site import MakeSite

HEALTHY, SUSPECT, EJECTED = HealthState.HEALTHY, HealthState.SUSPECT, HealthState.EJECTED
DEAD = LoadReport(healthy=False, reason="connection refused")


async def test_only_the_holder_of_the_lease_probes(make_site: MakeSite) -> None:
    """A backend of another replica is left alone until nobody knows who holds it; then everybody asks it."""
    site = make_site("mine", "other", mine={"mine"})
    await site.go_on(4.0)
    assert site.adapters["mine"].probes >= 2
    assert site.adapters["other"].probes == 0
    assert (site.store.states("mine"), site.store.states("other")) == ([HEALTHY], [])
    assert site.loads.probes == 1

    site.leases.current = False
    await site.go_on(1.0)
    assert site.adapters["other"].probes == 1
    assert site.loads.probes == 2
    site.leases.current = True
    await site.go_on(6.0)
    assert site.adapters["other"].probes == 1


async def test_what_is_written_carries_the_fence(make_site: MakeSite) -> None:
    """The store is told by which right the replica judges."""
    site = make_site("a")
    await site.go_on()
    assert site.store.writes == [
        (
            "a",
            Health(state=HEALTHY, reason="probes succeed", since=1_800_000_000.0, evidence="1 probe of me succeeded"),
            Fence(1, 7, "me"),
        )
    ]


async def test_it_acts_on_its_own_probes_before_anybody_agrees(make_site: MakeSite) -> None:
    """Refused writes change nothing: what does not answer is out here with the third probe, with the reason."""
    site = make_site("a")
    await site.go_on()
    site.store.stale = True
    site.adapters["a"].report = DEAD
    await site.go_on(8.0)
    live = site.fleet.members["a"].live
    assert (live.ejected, live.ejected_reason) == (True, "connection refused")
    assert site.store.snapshot.health["a"].state is HEALTHY
    assert EJECTED in site.store.states("a")
    site.store.stale = False
    await site.go_on(2.2)
    assert site.store.snapshot.health["a"].state is EJECTED


async def test_a_change_is_written_once(make_site: MakeSite) -> None:
    """However many probes say the same, the others hear of it once."""
    site = make_site("a")
    await site.go_on(2.0)
    site.adapters["a"].report = DEAD
    await site.go_on(20.0)
    site.adapters["a"].report = LoadReport(healthy=True)
    await site.go_on(20.0)
    assert site.store.states("a") == [HEALTHY, EJECTED, HEALTHY]


async def test_while_the_store_is_away_the_rows_follow_this_replica(make_site: MakeSite) -> None:
    """A backend that was ejected before comes back into use by this replica's probes, and goes out by them."""
    site = make_site("a", "b", mine={"b"})
    site.store.publish(health={"a": Health(state=EJECTED, since=1.0, version=3)})
    await site.go_on(1.0)
    assert site.row_state("a") == (True, False)

    site.store.connected = site.leases.current = False
    site.adapters["b"].report = DEAD
    await site.go_on(10.0)
    assert site.row_state("a") == (False, False)
    assert site.row_state("b") == (True, False)
    assert site.store.snapshot.health["a"].state is EJECTED

    site.store.connected = site.leases.current = True
    await site.go_on(1.0)
    assert site.row_state("a") == (True, False)  # its lease is another's, whose word counts
    assert site.store.snapshot.health["b"].state is EJECTED


async def test_own_judgement_survives_a_new_snapshot_while_it_cannot_be_written(make_site: MakeSite) -> None:
    """A snapshot that is swapped in meanwhile does not bring a dead backend back."""
    site = make_site("a", "b")
    await site.go_on(2.0)
    site.store.publish(health={"a": Health(state=EJECTED, since=1.0, version=3)})
    site.leases.current = False
    await site.go_on(8.0)
    assert site.row_state("a") == (False, False)
    site.store.publish()
    assert site.row_state("a") == (True, False)
    await site.go_on()
    assert site.row_state("a") == (False, False)


async def test_attempts_of_all_replicas_decide(make_site: MakeSite) -> None:
    """Probes succeed, and most attempts of three replicas fail: it is ejected, in the words of the evidence."""
    site = make_site("a")
    await site.go_on(1.0)

    def hear(failed: int) -> None:
        said = {"a": Outcomes(ok=10 - failed, failed=failed, last_error="UPSTREAM_FAULT" if failed else "")}
        others = tuple(Replica(beat=Beat(replica=name, outcomes=said)) for name in ("r2", "r3"))
        site.loads.heard((Replica(beat=site.loads.beat()), *others), site.clock.monotonic())

    hear(4)
    await site.go_on()
    assert site.row_state("a") == (False, True)
    hear(9)
    await site.go_on()
    assert site.row_state("a") == (True, False)
    assert site.store.writes[-1][1].evidence == (
        "18 of 20 attempts of the last 10 s failed on 2 replicas, last: UPSTREAM_FAULT"
    )
    hear(0)
    await site.go_on(11.0)
    hear(0)
    await site.go_on(3.0)
    assert site.row_state("a") == (False, True)
    await site.go_on(8.0)
    assert site.row_state("a") == (False, False)


async def test_a_suspect_backend_without_traffic_becomes_healthy(make_site: MakeSite) -> None:
    """When nobody sends it anything any more, its old failures leave the window and good probes are enough."""
    site = make_site("a")
    await site.go_on(1.0)
    for _ in range(5):
        site.passive.failed("a", site.clock.monotonic(), "UPSTREAM_FAULT")
    await site.go_on(1.0)
    assert site.store.snapshot.health["a"].state is SUSPECT
    await site.go_on(14.0)
    assert site.store.states("a") == [HEALTHY, SUSPECT, HEALTHY]


async def test_a_lease_that_comes_from_a_dead_replica_goes_on_from_its_word(make_site: MakeSite) -> None:
    """What was ejected by the one before stays out until this one has seen two good probes."""
    site = make_site("a", mine=set())
    site.store.publish(health={"a": Health(state=EJECTED, reason="gone", since=1_800_000_000.0, version=2)})
    await site.go_on(2.0)
    site.leases.mine.add("a")
    await site.go_on(1.0)
    assert site.adapters["a"].probes == 1
    assert site.row_state("a") == (True, False)
    await site.go_on(8.0)
    assert site.store.states("a") == [HEALTHY]
    assert site.row_state("a") == (False, False)


async def test_a_drain_is_shown_and_taken_back(make_site: MakeSite) -> None:
    """The agreed health says draining with its time; taken back, it is what it was before."""
    site = make_site("a")
    await site.go_on(1.0)
    drained = {"a": replace(site.store.snapshot.backends["a"], drained=True)}
    site.store.publish(backends=drained, config_version=5)
    await site.go_on()
    assert site.store.snapshot.health["a"].state is HealthState.DRAINING
    site.store.publish(backends={"a": replace(drained["a"], drained=False)}, config_version=6)
    row = site.fleet.row("a", "m")
    assert row is not None
    assert not row.drained  # at once, before anybody has written anything
    await site.go_on()
    assert site.store.snapshot.health["a"].state is HEALTHY


async def test_what_the_engine_says_is_used_and_forgotten(make_site: MakeSite) -> None:
    """A scrape counts in the load until the engine stops answering, or nobody has asked it for four intervals."""
    site = make_site("a")
    site.adapters["a"].report = LoadReport(healthy=True, running=6, waiting=2, kv_cache_usage=0.4)
    await site.go_on()
    live = site.fleet.members["a"].live
    assert (live.batch(), live.kv_cache_usage) == (8.0, 0.4)
    site.leases.mine.clear()
    await site.go_on(7.0)
    assert live.batch() == 8.0
    await site.go_on(2.0)
    assert (live.batch(), live.running) == (0.0, -1.0)


async def test_a_backend_that_is_removed_leaves_nothing(make_site: MakeSite) -> None:
    """Its series, its watch and its machine go, also when a probe of it is still on its way."""
    site = make_site("a", "b")
    await site.go_on(1.0)
    site.store.publish(backends={"b": site.store.snapshot.backends["b"]}, health={})
    await site.go_on(1.0)
    async with asyncio.TaskGroup() as tasks:
        site.collector._close_removed(tasks)
    page = site.metrics.render(lambda: None).decode()
    assert 'backend="b"' in page
    assert 'backend="a"' not in page
    assert set(site.collector._watched) == set(site.collector._health._machines) == {"b"}
    assert site.adapters["a"].closed


async def test_who_is_refused_does_not_keep_others_from_being_written(make_site: MakeSite) -> None:
    """A store that fails in the middle of it all is told again, and everything is written in the end."""
    site = make_site("a", "b", "c")
    site.store.connected = True
    site.store.stale = True
    await site.go_on(1.0)
    assert site.store.snapshot.health == {}
    site.store.stale = False
    await site.go_on(5.0)
    assert {health.state for health in site.store.snapshot.health.values()} == {HEALTHY}
    assert set(site.store.snapshot.health) == {"a", "b", "c"}


async def test_utilisation_is_the_share_of_time_with_work(make_site: MakeSite) -> None:
    """One request is as good as many: half of it is of the last minute, and idle time takes it away again."""
    site = make_site("a")
    live = site.fleet.members["a"].live
    live.utilisation = 0.0
    live.in_flight = 1
    await site.go_on(60.0)
    assert 0.4 < live.utilisation < 0.6
    live.in_flight = 0
    await site.go_on(120.0)
    assert live.utilisation < 0.2


async def test_run_ends_with_its_probes(make_site: MakeSite) -> None:
    """Cancelling it while probes are out leaves no task behind."""
    site = make_site("a")
    task = asyncio.create_task(site.collector.run())
    await _until(lambda: site.adapters["a"].probes > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2.0):
        while not condition():
            await asyncio.sleep(0)
