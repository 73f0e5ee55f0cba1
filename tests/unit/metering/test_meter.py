"""What a request adds up to, and how the count outlives its process and its disk."""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.clock import FakeClock
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.usage import HOUR_S, UsageKey, UsageTotals
from router.metering.cells import Cells
from router.metering.heritage import journals
from router.metering.journal import RETRY_S, SLOW_WRITE_S
from router.metering.meter import INHERIT_EVERY_S, MAX_TOKENS, Meter, new_incarnation

Attempt = Callable[..., AttemptOutcome]
Total = Callable[[Cells], dict[UsageKey, UsageTotals]]
HOUR = 1_800_000_000


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """No file of this process grows beyond so many bytes, which is how a full disk feels."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class SlowDiskClock(FakeClock):
    """Time passes between any two looks at it, as if each write took that long."""

    step = 0.0

    def monotonic(self) -> float:
        self.advance(self.step)
        return super().monotonic()


def test_each_attempt_counts_where_it_was_made(clock: FakeClock, attempt: Attempt, totals: Total) -> None:
    """Two failures and an answer: three attempts with their own costs, one request, on the backend that answered."""
    meter = Meter(None, "run", clock)
    meter.record("acme", [attempt("a", "TIMEOUT", 1, 2e-9), attempt("a", "RESET", 2, 3e-9), attempt("b", tokens=10)])

    assert totals(meter.cells) == {
        UsageKey(HOUR, "acme", "llama", "a"): UsageTotals(
            attempts=2,
            failed_attempts=2,
            input_tokens=3,
            cached_input_tokens=1,
            output_tokens=6,
            cost_nano_usd=5,
            energy_mj=3,
        ),
        UsageKey(HOUR, "acme", "llama", "b"): UsageTotals(
            requests=1,
            attempts=1,
            input_tokens=10,
            cached_input_tokens=5,
            output_tokens=20,
            reasoning_tokens=2,
            cost_nano_usd=1000,
            energy_mj=10,
        ),
    }


def test_a_cancelled_attempt_costs_and_is_no_failure(clock: FakeClock, attempt: Attempt, totals: Total) -> None:
    """What a caller broke off is paid for, and does not speak against the backend."""
    meter = Meter(None, "run", clock)
    meter.record("acme", [attempt(result="CANCELLED", usd=7e-9)])

    (counted,) = totals(meter.cells).values()
    assert (counted.requests, counted.failed_attempts, counted.cost_nano_usd) == (1, 0, 7)


def test_a_request_that_was_not_tried_used_nothing(clock: FakeClock) -> None:
    """Without an attempt there is nothing to count."""
    meter = Meter(None, "run", clock)
    meter.record("acme", [])

    assert not meter.cells.values


def test_the_hour_is_that_of_the_clock(clock: FakeClock, attempt: Attempt, totals: Total) -> None:
    """A request counts in the hour in which it ended."""
    meter = Meter(None, "run", clock)
    meter.record("acme", [attempt()])
    clock.advance(HOUR_S - 0.5)
    meter.record("acme", [attempt()])
    clock.advance(0.5)
    meter.record("acme", [attempt()])

    assert {k.hour: t.requests for k, t in totals(meter.cells).items()} == {HOUR: 2, HOUR + HOUR_S: 1}


@pytest.mark.parametrize(
    "change",
    [
        {"cost_usd": math.nan},
        {"cost_usd": -1.0},
        {"cost_usd": math.inf},
        {"energy_j": math.nan},
        {"usage": TokenUsage(input=-1)},
        {"usage": TokenUsage(output=MAX_TOKENS + 1)},
        {"usage": TokenUsage(reasoning=10**30)},
    ],
)
def test_figures_that_cannot_be_are_not_counted(
    change: dict[str, object], clock: FakeClock, totals: Total, tmp_path: Path
) -> None:
    """The attempt is counted, its figures are not, a counter tells, and the journal stays whole."""
    meter = Meter(tmp_path, "run", clock)
    meter.record("acme", [AttemptOutcome(backend="a", model="m", result="OK", **change)])  # type: ignore[arg-type]  # a test's own

    assert list(totals(meter.cells).values()) == [UsageTotals(requests=1, attempts=1)]
    assert meter.implausible == 1
    assert meter.durable
    meter.close()


@pytest.mark.parametrize("in_the_way", [True, False])
async def test_counting_goes_on_without_a_journal(
    in_the_way: bool,  # noqa: FBT001 - a parameter of pytest
    clock: FakeClock,
    attempt: Attempt,
    totals: Total,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No directory, or one that cannot be made: one warning, a flag, and everything is counted in memory."""
    (tmp_path / "file").touch()
    meter = Meter(tmp_path / "file" / "usage" if in_the_way else None, "run", clock)
    for _ in range(3):
        meter.record("acme", [attempt()])
        await meter.keep()

    assert not meter.durable
    assert [t.requests for t in totals(meter.cells).values()] == [3]
    assert len(caplog.records) == 1
    meter.close()


async def test_a_name_that_cannot_be_written_stops_nobody(clock: FakeClock, totals: Total, tmp_path: Path) -> None:
    """A lone surrogate in a name is counted in memory; the caller notices nothing."""
    meter = Meter(tmp_path, "run", clock)
    meter.record("\ud800", [AttemptOutcome(backend="a", model="m", result="OK")])

    assert not meter.durable
    assert len(totals(meter.cells)) == 1
    meter.close()


async def test_a_dead_process_leaves_its_count_to_the_next(clock: FakeClock, attempt: Attempt, tmp_path: Path) -> None:
    """The heir has the same totals under the same incarnation, due to be handed in, and the journal is its own now."""
    first = Meter(tmp_path, "first", clock)
    for n in range(5):
        first.record(f"tenant-{n % 2}", [attempt("a"), attempt("b", tokens=n)])
    recorded = first.cells.values
    first.close()

    heir = Meter(tmp_path, "second", clock)
    await heir.keep()

    assert heir.cells.values == recorded
    assert set(heir.cells.changed) == set(recorded)
    assert heir.inherited == 1
    assert [path.name for path in journals(tmp_path)] == ["second.1.usage"]
    heir.close()


async def test_the_count_is_left_on_from_heir_to_heir(
    clock: FakeClock, attempt: Attempt, totals: Total, tmp_path: Path
) -> None:
    """Through ten restarts the directory holds one journal with everything in it."""
    for run in range(10):
        meter = Meter(tmp_path, f"run-{run}", clock)
        await meter.keep()
        meter.record("acme", [attempt()])
        meter.close()

    last = Meter(tmp_path, "last", clock)
    await last.keep()

    assert [t.requests for t in totals(last.cells).values()] == [10]
    assert len(journals(tmp_path)) == 1
    last.close()


async def test_the_journal_of_a_living_process_is_left_alone(
    clock: FakeClock, attempt: Attempt, tmp_path: Path
) -> None:
    """Replicas share a directory: only when one dies do the others take over, within the time of one look."""
    living, other = Meter(tmp_path, "living", clock), Meter(tmp_path, "other", clock)
    living.record("acme", [attempt()])
    await other.keep()
    assert not other.cells.values

    living.close()
    await other.keep()
    assert not other.cells.values
    clock.advance(INHERIT_EVERY_S)
    await other.keep()
    assert other.cells.values == living.cells.values
    other.close()


async def test_a_process_without_requests_leaves_nothing(clock: FakeClock, tmp_path: Path) -> None:
    """A router that is started and stopped without work leaves no file."""
    Meter(tmp_path, "idle", clock).close()

    assert not journals(tmp_path)


async def test_a_journal_that_has_grown_is_shortened_while_requests_come(
    clock: FakeClock, attempt: Attempt, tmp_path: Path
) -> None:
    """Records before, during and after a rewrite are all in the one file that is left, which is smaller."""
    meter = Meter(tmp_path, "run", clock, rewrite_bytes=20_000)
    for n in range(500):
        meter.record(f"tenant-{n % 7}", [attempt(f"b{n % 3}")])
    before = meter.journal_bytes
    assert before > 20_000

    keeping = asyncio.create_task(meter.keep())
    for _ in range(50):  # on a slow disk more of them would be written than the rewrite saves
        meter.record("meanwhile", [attempt("late")])
        await asyncio.sleep(0)
    await keeping
    assert meter.journal_bytes < before / 2
    meter.record("after", [attempt()])
    meter.close()

    heir = Meter(tmp_path, "heir", clock)
    await heir.keep()
    assert heir.cells.values == meter.cells.values
    assert len(journals(tmp_path)) == 1
    heir.close()


async def test_a_full_disk_costs_the_journal_and_nothing_else(
    clock: FakeClock,
    attempt: Attempt,
    tmp_path: Path,
    file_limit: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While the disk is full all is counted in memory, with one warning; with room again all is in the file."""
    meter = Meter(tmp_path, "run", clock)
    meter.record("before", [attempt()])
    file_limit(meter.journal_bytes + 50)
    for n in range(10):
        meter.record(f"tenant-{n}", [attempt()])
    assert not meter.durable
    clock.advance(RETRY_S)
    await meter.keep()
    assert not meter.durable
    assert sum("memory only" in r.message for r in caplog.records) == 1

    file_limit(resource.RLIM_INFINITY)
    clock.advance(RETRY_S)
    await meter.keep()
    assert meter.durable
    meter.record("after", [attempt()])
    meter.close()

    heir = Meter(tmp_path, "heir", clock)
    await heir.keep()
    assert heir.cells.values == meter.cells.values
    assert len(heir.cells) == 12
    heir.close()


async def test_a_slow_disk_is_not_written_to_by_requests(attempt: Attempt, tmp_path: Path) -> None:
    """One slow write is the last that a request makes, until the journal has been written anew."""
    clock = SlowDiskClock()
    meter = Meter(tmp_path, "run", clock)
    clock.step = 2 * SLOW_WRITE_S
    meter.record("acme", [attempt()])
    assert not meter.durable

    size = meter.journal_bytes
    meter.record("acme", [attempt()])
    assert meter.journal_bytes == size
    clock.step = 0.0
    clock.advance(RETRY_S)
    await meter.keep()
    assert meter.durable
    meter.close()


def test_incarnations_are_unique_and_name_files(clock: FakeClock) -> None:
    """Two runs of one replica differ, and nothing in a name leads out of a directory."""
    names = {new_incarnation("../rack 1/gpu|7", clock) for _ in range(100)}

    assert len(names) == 100
    assert all("/" not in name and "|" not in name for name in names)
