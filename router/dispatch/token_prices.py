"""What tokens have cost on each backend, over time: the last hour by the minute, the last day by the half hour.

Bounded: less than three kilobytes for a backend that has had traffic, nothing for one that has not. Times are on the
router's monotonic clock; nothing decides by it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from router.domain.outcome import AttemptOutcome

MINUTE_S = 60.0
HALF_HOUR_S = 1800.0
HOUR_S = 3600.0
MINUTES = 60
HALF_HOURS = 48
# What is held against what came before it in the hour, to tell where a price goes.
LATELY_S = 900.0
USD_PER_MTOK = 1e6
NEVER = -(2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens and dollars of a while: `usd` as billed or routed on, `usd_amortised` with idle time of hardware paid."""

    input_tokens: float = 0.0
    output_tokens: float = 0.0
    usd: float = 0.0
    usd_amortised: float = 0.0

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens

    @property
    def usd_per_mtok(self) -> float | None:
        """Dollars per million tokens as they came, input and output together; None without tokens."""
        return self.usd * USD_PER_MTOK / self.tokens if self.tokens > 0.0 else None

    @property
    def usd_per_mtok_amortised(self) -> float | None:
        return self.usd_amortised * USD_PER_MTOK / self.tokens if self.tokens > 0.0 else None

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=self.usd + other.usd,
            usd_amortised=self.usd_amortised + other.usd_amortised,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was spent within `seconds` from `at`."""

    at: float
    seconds: float
    spent: Spent


class _Ring:
    """Sums over slots of equal length that are used again in turn, to seven digits: they are read, not settled by."""

    __slots__ = ("_count", "_numbers", "_sums", "slot_s")

    def __init__(self, slot_s: float, count: int) -> None:
        self.slot_s = slot_s
        self._count = count
        self._numbers = array("i", [NEVER]) * count
        self._sums = array("f", [0.0]) * (4 * count)

    def add(self, now: float, spent: tuple[float, float, float, float]) -> None:
        number = int(now // self.slot_s)
        at = number % self._count
        if self._numbers[at] != number:
            self._numbers[at] = number
            self._sums[4 * at : 4 * at + 4] = array("f", spent)
            return
        for offset, amount in enumerate(spent, start=4 * at):
            self._sums[offset] += amount

    def points(self, since: float, now: float) -> Iterator[Point]:
        """The slots that began at `since` or later, oldest first; only those with something in them."""
        newest = int(now // self.slot_s)
        for number in range(newest - self._count + 1, newest + 1):
            at = number % self._count
            if self._numbers[at] == number and number * self.slot_s >= since:
                fed, made, usd, amortised = self._sums[4 * at : 4 * at + 4]
                spent = Spent(input_tokens=fed, output_tokens=made, usd=usd, usd_amortised=amortised)
                yield Point(at=number * self.slot_s, seconds=self.slot_s, spent=spent)


class TokenPrices:
    """Grows with the backends that had traffic; `forget` those that left the fleet."""

    def __init__(self) -> None:
        self._rings: dict[str, tuple[_Ring, _Ring]] = {}

    @property
    def backends(self) -> tuple[str, ...]:
        """Those that had tokens and were not forgotten."""
        return tuple(self._rings)

    def record(self, outcome: AttemptOutcome, now: float) -> None:
        usage = outcome.usage
        if usage.input == 0 and usage.output == 0:
            return
        rings = self._rings.get(outcome.backend)
        if rings is None:
            rings = self._rings[outcome.backend] = (_Ring(MINUTE_S, MINUTES), _Ring(HALF_HOUR_S, HALF_HOURS))
        spent = (float(usage.input), float(usage.output), outcome.cost_usd, outcome.cost_amortised_usd)
        for ring in rings:
            ring.add(now, spent)

    def forget(self, backend: str) -> None:
        self._rings.pop(backend, None)

    def hour(self, backend: str, now: float) -> Spent:
        """What the last hour came to."""
        return sum((point.spent for point in self._minutes(backend, now)), Spent())

    def trend(self, backend: str, now: float) -> float | None:
        """What a token cost in the last quarter of an hour over the three quarters before; None without both."""
        late, early = Spent(), Spent()
        for point in self._minutes(backend, now):
            if point.at > now - LATELY_S:
                late += point.spent
            else:
                early += point.spent
        before, after = early.usd_per_mtok, late.usd_per_mtok
        return after / before if before and after is not None else None

    def history(self, backend: str, now: float) -> tuple[Point, ...]:
        """Half hours of the last day up to where the minutes begin, then minutes; oldest first."""
        minutes = tuple(self._minutes(backend, now))
        rings = self._rings.get(backend)
        if rings is None:
            return ()
        until = now - HOUR_S - HALF_HOUR_S
        return (*(point for point in rings[1].points(0.0, now) if point.at <= until), *minutes)

    def _minutes(self, backend: str, now: float) -> Iterator[Point]:
        rings = self._rings.get(backend)
        return iter(()) if rings is None else rings[0].points(now - HOUR_S, now)
