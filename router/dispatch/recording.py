"""Who is told how requests went: accounting, the memory of recent decisions, and their log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from router.dispatch.decider import Plan
from router.domain.outcome import AttemptOutcome, Outcome
from router.domain.request import RequestProfile


class Meter(Protocol):
    """Accounts for what was used: each attempt of each request once, whatever ended it."""

    def record(self, tenant: str, attempts: Sequence[AttemptOutcome]) -> None: ...


class Recent(Protocol):
    """Remembers the last requests that were decided; `result` is "OK", "CANCELLED", "PICKED" or a reason code."""

    def record(self, profile: RequestProfile, plan: Plan, outcome: Outcome | None, result: str) -> object: ...


class Decisions(Protocol):
    """Keeps decisions for good, with all that they were made from; see `router.decisions.log`."""

    def begin(self) -> None: ...

    def catch(self, plan: Plan, profile: RequestProfile) -> Any: ...

    def record(self, caught: Any, attempts: Sequence[AttemptOutcome], outcome: Outcome | None, result: str) -> None: ...


class Unrecorded:
    """No log of decisions."""

    def begin(self) -> None:
        """Nothing is kept."""

    def catch(self, plan: Plan, profile: RequestProfile) -> None:
        """Nothing is kept."""

    def record(self, caught: Any, attempts: Sequence[AttemptOutcome], outcome: Outcome | None, result: str) -> None:
        """Nothing is kept."""
