"""Who is told how requests went: accounting, and the memory of recent decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from router.dispatch.decider import Plan
from router.domain.outcome import AttemptOutcome, Outcome
from router.domain.request import RequestProfile


class Meter(Protocol):
    """Accounts for what was used: each attempt of each request once, whatever ended it."""

    def record(self, tenant: str, attempts: Sequence[AttemptOutcome]) -> None: ...


class Recent(Protocol):
    """Remembers the last requests that were decided; `result` is "OK", "CANCELLED", "PICKED" or a reason code."""

    def record(self, profile: RequestProfile, plan: Plan, outcome: Outcome | None, result: str) -> object: ...
