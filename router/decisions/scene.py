"""One configuration, put back to where it was when a request was decided, and the decision made again.

The decider is the one that serves. What it reads comes from the log: the moment, the state of each backend, what had
been learnt, the draws, the expected lengths. Backends that the record does not speak of stay out, unless the proposed
change is about them: of those nothing is known but the prior.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import cast

from router.decisions.capture import LEARNED, LIVE
from router.decisions.draws import Redrawn
from router.decisions.reading import Logged
from router.decisions.record import Considered, DecisionLine, Dropped, read_profile
from router.dispatch.affinity import Affinity
from router.dispatch.decider import Decider, Plan
from router.dispatch.supposed import SupposedFleet
from router.domain.catalogue import Catalogue
from router.domain.decision import DropReason
from router.domain.length import Length
from router.domain.policies import Policies
from router.domain.request import RequestProfile
from router.domain.rows import Row, Shape
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.errors import RouterError
from router.prediction.output_length import OutputLength
from router.settings.policies import parse_policies


class _Moment:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 0.0
        self.unix = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.unix


class _Lengths:
    """Lengths as they were expected; of models that the record does not know, by the prior."""

    def __init__(self) -> None:
        self.recorded: dict[str, tuple[float, float, float, float, float]] = {}
        self._prior = OutputLength()

    def of(self, model: str, shape: Shape) -> Length:
        known = self.recorded.get(model)
        if known is None:
            return self._prior.of(model, shape)
        tokens, variance, p90, mean_log, sd_log = known
        return Length(
            tokens,
            variance=variance,
            p90=p90,
            mean_log=mean_log,
            sd_log=sd_log,
            tenant=shape.tenant,
            workload=shape.workload,
        )


class _Affinity:
    """What caches were believed to hold."""

    def __init__(self) -> None:
        self.line: DecisionLine | None = None

    def cached_on(self, profile: RequestProfile, now: float) -> dict[str, float]:  # noqa: ARG002 - as Affinity
        return self.line.cached if self.line is not None else {}

    def seed(self, profile: RequestProfile, cached_on: dict[str, float]) -> str:  # noqa: ARG002 - as Affinity
        return self.line.seed if self.line is not None else ""


class _Fleet(SupposedFleet):
    """Only the rows that take part, in the order in which they were decided over."""

    def part(self, places: dict[tuple[str, str], int], touched: AbstractSet[str]) -> None:
        self._places = places
        self._touched = touched

    def rows_for(self, name: str) -> list[Row]:
        places, touched = self._places, self._touched
        rows = [row for row in super().rows_for(name) if (row.id, row.model) in places or row.id in touched]
        rows.sort(key=lambda row: places.get((row.id, row.model), len(places)))
        return rows


class Scene:
    """One side of a replay, over one segment. `touched` are the backends that a change is about."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        wires: Wires | None,
        policies: Policies,
        touched: AbstractSet[str] = frozenset(),
    ) -> None:
        self._clock = _Moment()
        self._fallback = policies
        self._policies_yaml: str | None = None
        self._snapshot: FleetSnapshot | None = None
        self._touched = touched
        self._fleet = _Fleet(catalogue=catalogue, policies=policies, clock=self._clock, wires=wires)
        self._lengths = _Lengths()
        self._affinity = _Affinity()
        self._draws = Redrawn()
        self._age_s = 0.0
        self._money = 1.0
        self._states: dict[Row, int] = {}
        self._decider = Decider(
            fleet=self._fleet,
            lengths=cast("OutputLength", self._lengths),
            clock=self._clock,
            uniform=self._draws,
            age=lambda: self._age_s,
            money=lambda _: self._money,
            affinity=cast("Affinity", self._affinity),
        )

    def decide(self, logged: Logged, snapshot: FleetSnapshot) -> tuple[Plan | None, bool]:
        """The plan under this configuration, and whether it would be carried out.

        Raises:
            ValueError: the record cannot be understood.
        """
        line = logged.line
        profile = read_profile(line)
        self._clock.now, self._clock.unix = line.clock_s, line.at
        self._apply(snapshot)
        self._restore(logged)
        self._draws.begin(line.draws, line.id)
        plan = None
        try:
            plan = self._decider.plan(profile)
            self._decider.require(plan)
        except RouterError:
            return plan, False
        return plan, True

    def _apply(self, snapshot: FleetSnapshot) -> None:
        if snapshot is not self._snapshot or self._clock.unix >= self._fleet.prices_change_at:
            self._fleet.apply(snapshot)
            self._snapshot = snapshot
        if snapshot.policies_yaml != self._policies_yaml:
            self._policies_yaml = snapshot.policies_yaml
            known = parse_policies(snapshot.policies_yaml, "policies") if snapshot.policies_yaml else self._fallback
            self._fleet.use_policies(known)

    def _restore(self, logged: Logged) -> None:
        line = logged.line
        self._age_s, self._money = line.age_s, line.money
        self._lengths.recorded = line.lengths
        self._affinity.line = line
        places: dict[tuple[str, str], int] = {}
        for place, number in enumerate(line.order or range(len(line.candidates))):
            candidate = line.candidates[number]
            places[candidate.backend, candidate.model] = place
        for dropped in line.drops:
            if dropped.reason != DropReason.CREDENTIAL.value:
                places.setdefault((dropped.backend, dropped.model), len(places))
        self._fleet.part(places, self._touched)
        seen: tuple[Considered | Dropped, ...] = (*line.candidates, *line.drops)
        for one in seen:
            row = self._fleet.row(one.backend, one.model)
            if row is None:
                continue
            LIVE.write(row.live, one.live)
            state = logged.states.get(one.state)
            if state is not None and self._states.get(row) != one.state:
                LEARNED.write(row.learned, state.learned)
                self._states[row] = one.state
        self._grade(line)

    def _grade(self, line: DecisionLine) -> None:
        """Grades of answers, as they were counted."""
        task = str(line.profile.get("task", "*"))
        for candidate in line.candidates:
            if candidate.quality is not None:
                belief = self._fleet.quality(candidate.model)
                belief.means[task], belief.weights[task] = candidate.quality
