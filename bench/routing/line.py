"""A line of the table, and what a row is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from simulation.virtual.scenario import Site
from simulation.virtual.sweep import Results
from simulation.virtual.traces import Ask

CONVERSATION = "open/azure_llm_2023_conv.csv"
CODE = "open/azure_llm_2023_code.csv"
MOONCAKE = "open/mooncake_conversation.jsonl"
FLEET = Path(__file__).parent / "fleet"
CONFIG = Path(__file__).parents[2] / "config"


class Verdict(StrEnum):
    STRETCH = "stretch"
    REACHED = "reached"
    MISSED = "MISSED"
    FAILED = "FAILED"
    NOTED = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What, the figure reached, and what must and should be."""

    what: str
    reached: str
    at_least: str
    stretch: str
    verdict: Verdict


@dataclass(slots=True)
class Bench:
    """What rows share. `trace` are the requests of each seed; `results` the runs of the conversation at every load."""

    data: Path
    quick: bool
    workers: int
    say: Callable[[str], None]
    site: Site | None = None
    traces: dict[str, list[Ask]] = field(default_factory=dict)
    results: Results = field(default_factory=dict)

    @property
    def loads(self) -> tuple[float, ...]:
        return (1.0, 3.0, 5.0, 7.0) if self.quick else (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)

    @property
    def seeds(self) -> int:
        return 1 if self.quick else 3

    @property
    def requests(self) -> int:
        return 3_000 if self.quick else 6_000


def judged(value: float, *, at_least: float, stretch: float | None) -> Verdict:
    """More is better."""
    if stretch is not None and value >= stretch:
        return Verdict.STRETCH
    return Verdict.REACHED if value >= at_least else Verdict.MISSED


def at_most(value: float, *, at_least: float, stretch: float | None) -> Verdict:
    """Less is better."""
    return judged(-value, at_least=-at_least, stretch=None if stretch is None else -stretch)


Row = Callable[[Bench], list[Line]]
