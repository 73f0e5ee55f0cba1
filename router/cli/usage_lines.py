"""Usage as lines of a report: grouped by what was asked for, money as exact decimals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from router.v1 import usage_pb2

EACH = ("hour", "tenant", "model", "backend")
DIMENSIONS = ("hour", "day", "tenant", "model", "backend")
# Summed as integers; the last two are shown as dollars and joules.
FIGURES = (
    "requests",
    "attempts",
    "failed_attempts",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_NANO_DIGITS = 9
_AGO = re.compile(r"(\d{1,5})([hd])")

Group = tuple[datetime | date | str, ...]


@dataclass(slots=True)
class Line:
    """`group` holds the values of the dimensions that the report is by, `figures` those of FIGURES."""

    group: Group
    figures: list[int]
    cost_nano_usd: int = 0
    energy_mj: int = 0

    def add(self, other: Line) -> None:
        self.figures = [a + b for a, b in zip(self.figures, other.figures, strict=True)]
        self.cost_nano_usd += other.cost_nano_usd
        self.energy_mj += other.energy_mj

    @property
    def cost_usd(self) -> Decimal:
        """Exact, with nine decimals."""
        return Decimal(self.cost_nano_usd).scaleb(-_NANO_DIGITS)

    @property
    def energy_j(self) -> float:
        return self.energy_mj / 1e3


def nothing(group: Group = ()) -> Line:
    return Line(group, [0] * len(FIGURES))


def each(pages: Iterable[usage_pb2.ListUsageResponse], by: Sequence[str]) -> Iterator[Line]:
    """One line for each row, with its values of the dimensions `by`."""
    for page in pages:
        for row in page.rows:
            hour = row.hour.ToDatetime(tzinfo=UTC)
            values: dict[str, datetime | date | str] = {
                "hour": hour,
                "day": hour.date(),
                "tenant": row.tenant,
                "model": row.model,
                "backend": row.backend,
            }
            group = tuple(values[name] for name in by)
            yield Line(group, [getattr(row, f) for f in FIGURES], row.cost_nano_usd, round(row.energy_j * 1e3))


def grouped(lines: Iterable[Line]) -> list[Line]:
    """The sums of lines with the same group, in order."""
    sums: dict[Group, Line] = {}
    for line in lines:
        sums.setdefault(line.group, nothing(line.group)).add(line)
    return [sums[group] for group in sorted(sums)]


def parse_time(text: str, now: float) -> datetime:
    """An ISO date or time, in UTC unless it says otherwise, or how long ago: "24h", "7d".

    Raises:
        ValueError: it is neither.
    """
    if ago := _AGO.fullmatch(text):
        span = timedelta(hours=int(ago[1])) if ago[2] == "h" else timedelta(days=int(ago[1]))
        return datetime.fromtimestamp(now, UTC) - span
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
