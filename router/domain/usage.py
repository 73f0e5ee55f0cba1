"""What was used, by whom, where: the unit of accounting is an hour of one (tenant, model, backend)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOUR_S = 3600


@dataclass(frozen=True, slots=True, order=True)
class UsageKey:
    """`hour` is the Unix time of its beginning."""

    hour: int
    tenant: str
    model: str
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Sums. Money is whole nano-dollars, so that adding and merging lose nothing; energy is milli-joules."""

    requests: int = 0
    attempts: int = 0
    failed_attempts: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0
    energy_mj: int = 0

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(
            requests=self.requests + other.requests,
            attempts=self.attempts + other.attempts,
            failed_attempts=self.failed_attempts + other.failed_attempts,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost_nano_usd=self.cost_nano_usd + other.cost_nano_usd,
            energy_mj=self.energy_mj + other.energy_mj,
        )


# The order of the counters wherever they are kept as plain numbers; those of a later version come behind.
FIELDS = (
    "attempts",
    "requests",
    "failed_attempts",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
    "energy_mj",
)


def totals_of(numbers: Sequence[int]) -> UsageTotals:
    """Counters from their plain numbers, in the order of `FIELDS`."""
    return UsageTotals(**dict(zip(FIELDS, numbers, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    key: UsageKey
    totals: UsageTotals
