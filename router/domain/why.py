"""What would have to change for another backend to be chosen; each change was decided anew before it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """What is changed: a fact of the backend, or a constraint or objective of the request."""

    PRICE = "price"
    SPEED = "speed"
    TTFT = "ttft"
    TPOT = "tpot"
    LOAD = "load"
    CONSTRAINT = "constraint"
    SLO = "slo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """One change by itself (beside `WhyNot.first`, where there is one).

    Attributes:
        possible: with it the backend is chosen; False: not by any amount of it.
        share: of what it is now, for prices, times and load: 0.6 is 40 % less.
        value: the value at which it would be chosen, in `unit`; None where it has none.
        now: what it is.
        what: a sentence.
    """

    kind: ChangeKind
    possible: bool
    what: str
    share: float | None = None
    now: float | None = None
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """Why a backend was not chosen.

    Attributes:
        why: one sentence.
        first: constraints that must be loosened before anything else counts, all of them; the others hold beside them.
        changes: each by itself would do, or is said not to.
    """

    backend: str
    why: str
    first: tuple[Counterfactual, ...] = ()
    changes: tuple[Counterfactual, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """All of it in words, in order."""
        return (self.why, *(c.what for c in self.first), *(c.what for c in self.changes))
