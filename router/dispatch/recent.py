"""The last requests that this replica decided: what was asked for in numbers, what was chosen, and how it went.

Never the prompt, which a profile does not hold. Recording is on the path of every request, so it keeps references and
nothing else; figures are made when somebody reads them. Plans are not kept: a ranking holds every candidate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from router.dispatch.decider import Plan
from router.domain.decision import Candidate, Decision
from router.domain.outcome import Outcome
from router.domain.request import RequestProfile

CAPACITY = 1_000


class Recorded:
    """One decided request. `result` is "OK", "CANCELLED", "PICKED", a reason code, or "" while it runs."""

    __slots__ = ("_profile", "candidates", "decided_s", "decision", "outcome", "result")

    def __init__(
        self,
        profile: RequestProfile,
        decision: Decision,
        decided_s: float,
        candidates: int,
        outcome: Outcome | None,
        result: str,
    ) -> None:
        self._profile = profile
        self.decision = decision
        self.decided_s = decided_s
        self.candidates = candidates
        self.outcome = outcome
        self.result = result

    @property
    def profile(self) -> RequestProfile:
        """As it was asked; `deadline_s` is what was left when it was decided, not a time of the clock."""
        profile = self._profile
        if profile.deadline_s is None:
            return profile
        return replace(profile, deadline_s=max(0.0, profile.deadline_s - self.decided_s))

    @property
    def at(self) -> float:
        """When it was decided, in Unix seconds."""
        return self.decision.decided_at

    @property
    def chosen(self) -> Candidate | None:
        return self.decision.chosen

    @property
    def backend(self) -> str:
        """Who answered; while nobody has, who was chosen; "" when nobody could serve."""
        if self.outcome is not None and self.outcome.attempts:
            return self.outcome.attempts[-1].backend
        return self.chosen.backend if self.chosen is not None else ""

    @property
    def ttft_predicted_s(self) -> float | None:
        """Of the backend that was chosen."""
        return self.chosen.prediction.ttft_s if self.chosen is not None else None

    @property
    def ttft_actual_s(self) -> float | None:
        return self.outcome.ttft_s if self.outcome is not None else None

    @property
    def cost_usd(self) -> float:
        """What it cost; while it runs, what it is expected to."""
        if self.outcome is not None:
            return self.outcome.cost_usd
        return self.chosen.prediction.cost_usd if self.chosen is not None else 0.0

    @property
    def attempts(self) -> int:
        return len(self.outcome.attempts) if self.outcome is not None else 0


class Recent:
    """A ring of the last `capacity` decided requests, oldest first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring: deque[Recorded] = deque(maxlen=capacity)

    def record(self, profile: RequestProfile, plan: Plan, outcome: Outcome | None = None, result: str = "") -> Recorded:
        """Keeps one request; the answer may be completed later, by setting its `outcome` and `result`."""
        decision = plan.decision
        if len(decision.ranked) > 1 or decision.drops:
            decision = replace(decision, ranked=decision.ranked[:1], drops=())
        ranking = plan.ranking
        recorded = Recorded(profile, decision, ranking.now, ranking.candidates, outcome, result)
        self._ring.append(recorded)
        return recorded

    def latest(self, count: int = CAPACITY) -> list[Recorded]:
        """The last `count`, newest first."""
        newest = list(reversed(self._ring))
        return newest[:count]

    def __len__(self) -> int:
        return len(self._ring)
