"""Handing in: once, through outages, lost answers and lost stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from router.clock import FakeClock
from router.domain.outcome import AttemptOutcome
from router.domain.usage import HOUR_S
from router.errors import StoreUnavailable
from router.metering.meter import Meter
from router.metering.sync import BATCH, KEEP_S, PACK_EVERY_S, UsageSync
from tests.unit.metering.conftest import Ledger, Totals

Attempt = Callable[..., AttemptOutcome]


@pytest.fixture
def meter(clock: FakeClock) -> Meter:
    return Meter(None, "run", clock)


@pytest.fixture
def sync(meter: Meter, ledger: Ledger, clock: FakeClock) -> UsageSync:
    return UsageSync(meter, ledger, clock)


async def test_only_what_changed_is_handed_in(meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt) -> None:
    """A key that did not change costs nothing; the store is asked all the same whether it still has everything."""
    meter.record("a", [attempt()])
    await sync.step()
    meter.record("b", [attempt()])
    await sync.step()
    await sync.step()

    assert sync.handed_in == 2
    assert ledger.calls == 3
    assert sync.pending == 0
    assert {key.tenant: t.requests for key, t in ledger.totals.items()} == {"a": 1, "b": 1}


async def test_much_is_handed_in_by_batches(meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt) -> None:
    """No call carries more than a batch, and one step hands in everything."""
    for n in range(2 * BATCH + 1):
        meter.record(f"t{n}", [attempt()])
    await sync.step()

    assert ledger.calls == 3
    assert len(ledger.totals) == 2 * BATCH + 1


async def test_a_lost_answer_counts_nothing_twice(
    meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt
) -> None:
    """The store took it and nobody heard: it is handed in again with what came since, and the total is right."""
    meter.record("a", [attempt()])
    ledger.lose_answers = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await sync.step()
    meter.record("a", [attempt()])
    ledger.lose_answers = False
    await sync.step()

    assert [t.requests for t in ledger.totals.values()] == [2]
    assert sync.refills == 0


async def test_a_wiped_store_is_filled_again(meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt) -> None:
    """Without any new request the next step finds out, and hands in what had been confirmed long ago."""
    for n in range(BATCH + 5):
        meter.record(f"t{n}", [attempt()])
    await sync.step()
    full = ledger.totals
    ledger.wipe()
    await sync.step()

    assert ledger.totals == full
    assert sync.refills == 1


async def test_a_store_that_fell_back_is_filled_again(
    meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt
) -> None:
    """A failover to a copy without the last hand-ins is found by the number of hand-ins."""
    meter.record("a", [attempt()])
    await sync.step()
    behind = ledger.state()
    meter.record("b", [attempt()])
    await sync.step()
    full = ledger.totals
    ledger.go_back(behind)
    await sync.step()

    assert ledger.totals == full
    assert sync.refills == 1


async def test_an_old_state_that_is_put_back_after_a_wipe_is_filled_again(
    meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt
) -> None:
    """An operator restores this morning's dump into a store that had been filled again: that is a loss as well."""
    for _ in range(5):
        await sync.step()
    dump = ledger.state()
    meter.record("a", [attempt()])
    await sync.step()
    full = ledger.totals
    ledger.wipe()
    await sync.step()
    ledger.go_back(dump)
    await sync.step()

    assert ledger.totals == full
    assert sync.refills == 2


async def test_old_hours_leave_the_memory_and_stay_in_the_store(
    meter: Meter, sync: UsageSync, ledger: Ledger, clock: FakeClock, attempt: Attempt
) -> None:
    """What is confirmed and older than the keeping time is forgotten here only."""
    meter.record("a", [attempt()])
    clock.advance(KEEP_S + HOUR_S)
    ledger.away = True
    with pytest.raises(StoreUnavailable):
        await sync.step()
    assert len(meter.cells) == 1
    ledger.away = False
    await sync.step()

    assert len(meter.cells) == 0
    assert [t.requests for t in ledger.totals.values()] == [1]


async def test_it_runs_through_an_outage(
    meter: Meter, sync: UsageSync, ledger: Ledger, attempt: Attempt, caplog: pytest.LogCaptureFixture
) -> None:
    """The task lives on while the store is away, says so once, and a stop hands in what is left."""
    ledger.away = True
    running = asyncio.create_task(sync.run())
    meter.record("a", [attempt()])
    while not sync.failures:
        await asyncio.sleep(0)
    ledger.away = False
    running.cancel()
    await asyncio.wait([running])
    assert sync.pending == 1
    await sync.stop()

    assert [t.requests for t in ledger.totals.values()] == [1]
    assert [r.message for r in caplog.records if "kept until" in r.message] == [
        "usage is kept until the state store is back: away"
    ]


async def test_old_hours_are_packed_now_and_then(meter: Meter, ledger: Ledger, clock: FakeClock) -> None:
    """Once in so many seconds the store is asked to make old hours smaller, not at every hand-in."""
    running = asyncio.create_task(UsageSync(meter, ledger, clock, interval_s=0.0).run())
    for packs in range(3):
        calls = ledger.calls
        while ledger.calls < calls + 5:
            await asyncio.sleep(0)
        assert len(ledger.packed_at) == packs
        clock.advance(PACK_EVERY_S)
    running.cancel()
    await asyncio.wait([running])


class Silent(Ledger):
    """A frozen store: it takes calls and never answers."""

    async def hand_in(self, *_: object, **__: object) -> int | None:
        await asyncio.Event().wait()
        return 0


async def test_a_frozen_store_does_not_hold_up_the_end(
    clock: FakeClock, ledger: Ledger, attempt: Attempt, tmp_path: Path
) -> None:
    """The stop gives up after its limit; the journal has the rest for the next process."""
    meter = Meter(tmp_path, "run", clock)
    meter.record("a", [attempt()])
    await UsageSync(meter, Silent(), clock).stop(timeout_s=0.01)

    heir = Meter(tmp_path, "heir", clock)
    await heir.keep()
    sync = UsageSync(heir, ledger, clock)
    await sync.stop()
    expected: Totals = {key: totals for (_, key), totals in ledger.held.items()}
    assert [t.requests for t in expected.values()] == [1]
