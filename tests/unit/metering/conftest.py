"""A ledger in memory that fails, forgets and loses answers as it is told, and requests to count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pytest

from router.clock import FakeClock
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.usage import UsageKey, UsageTotals, totals_of
from router.errors import StoreUnavailable
from router.metering.cells import CellKey, Cells

Totals = dict[UsageKey, UsageTotals]
State = tuple[dict[tuple[str, UsageKey], UsageTotals], Counter[str]]


class Ledger:
    """As the store: the later copy stays, hand-ins are numbered. `away`, `lose_answers` and `wipe` are its troubles."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, UsageKey], UsageTotals] = {}
        self.numbers: Counter[str] = Counter()
        self.calls = 0
        self.packed_at: list[float] = []
        self.away = False
        self.lose_answers = False

    async def hand_in(
        self,
        session: str,
        known: int,
        entries: Sequence[tuple[str, UsageKey, UsageTotals]],
        *,
        after_loss: bool = False,
    ) -> int | None:
        self.calls += 1
        if self.away:
            raise StoreUnavailable("away")
        if self.numbers[session] < known and not after_loss:
            return None
        for incarnation, key, totals in entries:
            there = self.held.get((incarnation, key))
            if there is None or totals.attempts > there.attempts:
                self.held[incarnation, key] = totals
        self.numbers[session] = max(self.numbers[session], known) + 1
        if self.lose_answers:
            raise StoreUnavailable("the answer is lost")
        return self.numbers[session]

    async def pack(self, now: float) -> int:
        self.packed_at.append(now)
        return 0

    def wipe(self) -> None:
        self.held.clear()
        self.numbers.clear()

    def state(self) -> State:
        return dict(self.held), Counter(self.numbers)

    def go_back(self, state: State) -> None:
        """Becomes a copy that was behind, as after a failover."""
        held, numbers = state
        self.held, self.numbers = dict(held), Counter(numbers)

    @property
    def totals(self) -> Totals:
        return summed((key, totals) for (_, key), totals in self.held.items())


def summed(parts: Iterable[tuple[UsageKey, UsageTotals]]) -> Totals:
    sums: Totals = {}
    for key, totals in parts:
        sums[key] = sums.get(key, UsageTotals()) + totals
    return sums


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def new_ledger() -> Callable[[], Ledger]:
    return Ledger


@pytest.fixture
def ledger(new_ledger: Callable[[], Ledger]) -> Ledger:
    return new_ledger()


@pytest.fixture
def attempt() -> Callable[..., AttemptOutcome]:
    def make(backend: str = "h100", result: str = "OK", tokens: int = 10, usd: float = 1e-6) -> AttemptOutcome:
        usage = TokenUsage(input=tokens, cached_input=tokens // 2, output=tokens * 2, reasoning=tokens // 5)
        return AttemptOutcome(
            backend=backend, model="llama", result=result, usage=usage, cost_usd=usd, energy_j=tokens / 1e3
        )

    return make


@pytest.fixture
def totals() -> Callable[[Cells], Totals]:
    """What cells come to over all incarnations."""

    def add_up(cells: Cells) -> Totals:
        def parts(key: CellKey, numbers: Sequence[int]) -> tuple[UsageKey, UsageTotals]:
            return UsageKey(key[0], *key[2:]), totals_of(numbers)

        return summed(parts(key, numbers) for key, numbers in cells.values.items())

    return add_up
