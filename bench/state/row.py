"""A row of the table: what it does, what must be reached, and what was.

A row measures facts. Each fact has the bound that the issue states, or one that the method needs and the row explains;
a row is reached when all of its facts are. A row that cannot run yet says why, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from bench.figures import quantile
from bench.show import number
from bench.state.lab import Lab

SHOWN = 3


class Verdict(StrEnum):
    REACHED = "reached"
    MISSED = "MISSED"
    FAILED = "FAILED"
    NOT_BUILT = "NOT BUILT"


class NotBuilt(RuntimeError):
    """The router under test has no such service; the text names it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what, the bound, the figure.

    `reached` None: a figure without a bound. `timed`: a pause of the machine could have made it miss.
    """

    what: str
    bound: str
    got: str
    reached: bool | None
    timed: bool = False


@dataclass(slots=True)
class Findings:
    """What a row found out, in the order in which it is shown."""

    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def below(self, what: str, value: float, bound: float, unit: str) -> None:
        self.facts.append(Fact(what, f"< {bound:g} {unit}", f"{number(value)} {unit}", value < bound, timed=True))

    def equal(self, what: str, got: object, wanted: object) -> None:
        self.facts.append(Fact(what, str(wanted), str(got), got == wanted))

    def none(self, what: str, found: Collection[object], of: int | None = None) -> None:
        """There must be none of these; the first few are shown. `of`: among how many was looked."""
        shown = "; ".join(str(one) for one in list(found)[:SHOWN])
        among = f" of {of:,}" if of is not None else ""
        got = f"{len(found)}{among}" + (f": {shown}" if found else "")
        self.facts.append(Fact(what, "0", got, not found and of != 0))

    def holds(self, what: str, got: str, *, reached: bool, bound: str = "yes", timed: bool = False) -> None:
        self.facts.append(Fact(what, bound, got, reached, timed=timed))

    def figure(self, what: str, got: str) -> None:
        """Worth knowing; nothing is asked of it."""
        self.facts.append(Fact(what, "", got, None))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def times_ms(self, what: str, seconds: list[float], *, p99: float) -> None:
        """Latencies, of which the p99 has a bound in milliseconds; the rest is told with it."""
        if not seconds:
            self.facts.append(Fact(f"{what}, p99", f"< {p99:g} ms", "nothing was measured", reached=False))
            return
        p50, at99, most = (1e3 * value for value in (quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds)))
        got = f"{number(at99)} ms (p50 {number(p50)}, max {number(most)}, n {len(seconds):,})"
        self.facts.append(Fact(f"{what}, p99", f"< {p99:g} ms", got, at99 < p99, timed=True))

    @property
    def reached(self) -> bool:
        return bool(self.facts) and all(fact.reached is not False for fact in self.facts)

    @property
    def missed_in_time_only(self) -> bool:
        """Everything that missed is a matter of time: worth a second try, as no fault of the router's is."""
        missed = [fact for fact in self.facts if fact.reached is False]
        return bool(missed) and all(fact.timed for fact in missed)


Run = Callable[[Lab, Findings], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`title` is the test as the table has it, `does` what is said while it runs."""

    name: str
    title: str
    does: str
    run: Run


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of a row."""

    row: Row
    verdict: Verdict
    findings: Findings
    seconds: float
    why: str = ""
