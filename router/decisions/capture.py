"""What has to be caught at the moment of a decision, because it changes right after: states, as values.

This runs on the path of every request, so it copies numbers and keeps references; words and lines are made later, by
the writer. What was learnt changes with an answer, not with a decision: it is copied once for each change.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from router.dispatch.decider import Plan
from router.dispatch.plain import Form
from router.domain.learned import Learned
from router.domain.live import Live
from router.domain.quality import PRIOR_WEIGHT
from router.domain.request import RequestProfile
from router.domain.rows import Forecast, Row
from router.domain.snapshot import FleetSnapshot

CANDIDATES = 16
DROPS = 16
# Beyond so many, dropped rows are not told apart by reason: counting them would take longer than deciding.
COUNTED_DROPS = 256
MAX_ROWS = 16_384

LIVE = Form(Live())
LEARNED = Form(Learned(prior_sd_log=0.5))
# One of these moves whenever anything in what was learnt does.
_change_of: Callable[[Learned], tuple[object, ...]] = attrgetter(
    "ttft.w0", "tpot.w0", "ttft.count", "tpot.count", "ttft.shift", "tpot.shift"
)
Values = tuple[Any, ...]


class Seen:
    """A row as it was: its live values, and what had been learnt (one object as long as nothing changes)."""

    __slots__ = ("forecast", "learned", "live", "quality", "reason", "row")

    def __init__(
        self,
        row: Row,
        forecast: Forecast | None,
        live: Values,
        learned: Values,
        reason: int,
        quality: tuple[float, float] | None,
    ) -> None:
        self.row = row
        self.forecast = forecast
        self.live = live
        self.learned = learned
        self.reason = reason
        self.quality = quality


class Caught:
    """One decision, with all that it was made from."""

    __slots__ = (
        "candidates",
        "draws",
        "drop_codes",
        "drops",
        "more",
        "more_drops",
        "plan",
        "profile",
        "rows",
        "snapshot",
    )

    def __init__(
        self,
        plan: Plan,
        profile: RequestProfile,
        *,
        candidates: list[Seen],
        drops: list[Seen],
        rows: list[Row],
        draws: list[float],
        snapshot: FleetSnapshot,
    ) -> None:
        ranking = plan.ranking
        self.plan = plan
        self.profile = profile
        self.candidates = candidates
        self.drops = drops
        self.rows = rows
        self.draws = draws
        self.snapshot = snapshot
        self.more = ranking.candidates - len(candidates)
        self.drop_codes = [code for _, code, _ in ranking.dropped[:COUNTED_DROPS]]
        self.more_drops = ranking.drops - len(self.drop_codes)


class Capture:
    """Catches decisions. `rows_for` gives a model's rows in the order in which they are decided over."""

    def __init__(self, *, snapshot: Callable[[], FleetSnapshot], rows_for: Callable[[str], list[Row]]) -> None:
        self._snapshot = snapshot
        self._rows_for = rows_for
        self._learned: dict[Learned, tuple[tuple[object, ...], Values]] = {}

    def catch(self, plan: Plan, profile: RequestProfile, draws: list[float]) -> Caught:
        """Copies what the plan of `profile` was made from; to be called before anything else happens."""
        ranking = plan.ranking
        task = profile.task
        return Caught(
            plan,
            profile,
            candidates=[self._see(f.row, f, 0, task) for f in ranking.ordered[:CANDIDATES]],
            drops=[self._see(row, forecast, code, task) for row, code, forecast in ranking.dropped[:DROPS]],
            rows=self._rows_for(plan.profile.model),
            draws=draws,
            snapshot=self._snapshot(),
        )

    def _see(self, row: Row, forecast: Forecast | None, reason: int, task: str) -> Seen:
        learned = row.learned
        change = _change_of(learned)
        known = self._learned.get(learned)
        if known is None or known[0] != change:
            known = (change, LEARNED.read(learned))
            if len(self._learned) >= MAX_ROWS:
                # Of rows that are gone, most of them.
                self._learned.clear()
            self._learned[learned] = known
        graded = row.quality.weights
        quality = (row.quality.of(task), graded.get(task, PRIOR_WEIGHT)) if graded else None
        return Seen(row, forecast, LIVE.read(row.live), known[1], reason, quality)
