"""Any history of requests, crashes, restarts, lost answers, outages and wipes: in the end the sums are exact."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.clock import FakeClock
from router.domain.outcome import AttemptOutcome
from router.domain.usage import UsageKey, UsageTotals
from router.errors import StoreUnavailable
from router.metering.meter import INHERIT_EVERY_S, Meter
from router.metering.sync import UsageSync
from tests.unit.metering.conftest import Ledger, State, Totals, summed

Attempt = Callable[..., AttemptOutcome]
REPLICAS = 2

RECORD = st.tuples(
    st.just("record"), st.integers(0, 1), st.sampled_from("ab"), st.lists(st.integers(0, 3), min_size=1, max_size=3)
)
ON_REPLICA = st.tuples(st.sampled_from(["step", "keep", "rewrite", "restart", "kill"]), st.integers(0, 1))
# The smallest frame is longer than what is torn off.
TORN = st.tuples(st.just("torn"), st.integers(0, 1), st.integers(1, 30))
ON_STORE = st.tuples(st.sampled_from(["away", "back", "lose", "wipe", "remember", "fall back", "an hour later"]))
STEPS = st.lists(RECORD | ON_REPLICA | TORN | ON_STORE, max_size=40)


@dataclass
class Site:
    """Two replicas that share a directory and a ledger, and what was really recorded by each of their runs."""

    directory: Path
    ledger: Ledger
    attempt: Attempt
    clock: FakeClock = field(default_factory=FakeClock)
    runs: int = 0
    recorded: dict[str, list[Totals]] = field(default_factory=dict)
    # Runs whose last record may be gone.
    torn: set[str] = field(default_factory=set)
    behind: State | None = None
    meters: list[Meter] = field(default_factory=list)
    syncs: list[UsageSync] = field(default_factory=list)

    def start(self, at: int) -> None:
        self.runs += 1
        meter = Meter(self.directory, f"run-{self.runs}", self.clock, max_cells=1000)
        self.recorded[meter.incarnation] = []
        self.meters[at : at + 1] = [meter]
        self.syncs[at : at + 1] = [UsageSync(meter, self.ledger, self.clock)]

    def record(self, at: int, tenant: str, backends: list[int]) -> None:
        attempts = [self.attempt(f"b{n}", "OK" if n else "TIMEOUT", n + 1, (n + 1) * 1e-9) for n in backends]
        self.meters[at].record(tenant, attempts)
        alone = Meter(None, "alone", self.clock)
        alone.record(tenant, attempts)
        sums: Totals = {}
        for key, numbers in alone.cells.values.items():
            sums[UsageKey(key[0], *key[2:])] = totals_from(numbers)
        self.recorded[self.meters[at].incarnation].append(sums)

    async def step(self, at: int) -> None:
        with suppress(StoreUnavailable):
            await self.syncs[at].step()

    async def keep(self, at: int) -> None:
        self.clock.advance(INHERIT_EVERY_S)
        await self.meters[at].keep()

    async def rewrite(self, at: int) -> None:
        journal = self.meters[at]._journal
        assert journal is not None
        await journal.rewrite()

    async def restart(self, at: int) -> None:
        await self.syncs[at].stop()
        self.start(at)

    def kill(self, at: int, torn: int = 0) -> None:
        """Ends a run as a kill does; `torn` bytes of its last write were never written."""
        meter = self.meters[at]
        journal = meter._journal
        assert journal is not None
        path, size = journal._path, journal.size
        meter.close()
        # No more than the last record: it was the last write when there was no rewrite and nothing inherited since.
        if torn and size and journal.rewrites == 0 and meter.inherited == 0:
            with path.open("r+b") as file:
                file.truncate(max(0, size - torn))
            self.torn.add(meter.incarnation)
        self.start(at)

    async def play(self, steps: list[tuple[object, ...]]) -> None:
        for name, *rest in steps:
            match name, rest:
                case "record", [int(at), str(tenant), list(backends)]:
                    self.record(at, tenant, backends)
                case (("step" | "keep" | "rewrite" | "restart"), [int(at)]):
                    await getattr(self, str(name))(at)
                case "kill", [int(at)]:
                    self.kill(at)
                case "torn", [int(at), int(torn)]:
                    self.kill(at, torn)
                case "away", _:
                    self.ledger.away = True
                case "lose", _:
                    self.ledger.lose_answers = True
                case "back", _:
                    self.ledger.away = self.ledger.lose_answers = False
                case "wipe", _:
                    self.ledger.wipe()
                case "remember", _:
                    self.behind = self.ledger.state()
                case "fall back", _:
                    if self.behind is not None:
                        self.ledger.go_back(self.behind)
                case _:
                    self.clock.advance(3600.0)
        self.ledger.away = self.ledger.lose_answers = False
        for at in range(REPLICAS):
            await self.keep(at)
            await self.step(at)

    def check(self) -> None:
        """Every run's totals are what it recorded, but for the last record of one whose file was torn."""
        for incarnation, records in self.recorded.items():
            held = {key: totals for (who, key), totals in self.ledger.held.items() if who == incarnation}
            whole = added(records)
            if incarnation in self.torn:
                assert held in (whole, added(records[:-1]))
            else:
                assert held == whole


def totals_from(numbers: list[int]) -> UsageTotals:
    attempts, requests, failed, inputs, cached, outputs, reasoning, cost, energy = numbers
    return UsageTotals(
        requests=requests,
        attempts=attempts,
        failed_attempts=failed,
        input_tokens=inputs,
        cached_input_tokens=cached,
        output_tokens=outputs,
        reasoning_tokens=reasoning,
        cost_nano_usd=cost,
        energy_mj=energy,
    )


def added(records: list[Totals]) -> Totals:
    return summed(pair for record in records for pair in record.items())


@given(STEPS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sums_are_exact_whatever_happens(
    attempt: Attempt, new_ledger: Callable[[], Ledger], steps: list[tuple[object, ...]]
) -> None:
    """What the store holds in the end is what was recorded, less at most a torn last record of a run."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), new_ledger(), attempt)
        for at in range(REPLICAS):
            site.start(at)
        try:
            asyncio.run(site.play(steps))
        finally:
            for meter in site.meters:
                meter.close()
        site.check()
