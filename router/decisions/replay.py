"""Recorded traffic, decided again as it was and under a proposed change: what would move.

Both sides are decided by the decider that serves, from the same record and with the same draws, so what differs is the
change alone. Two things are not played back: the load that moved requests would have made, and what would have been
learnt from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from router.decisions.change import ReplayChange
from router.decisions.reading import Logged
from router.decisions.record import DecisionLine
from router.decisions.scene import Scene
from router.dispatch.decider import Plan
from router.domain.catalogue import Catalogue
from router.domain.policies import Policies
from router.domain.snapshot import FleetSnapshot
from router.domain.wires import Wires
from router.scheduling.picker import likelihood

MISMATCHES = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What one side would do with a request; `backend` "" is nobody. Predicted figures of the choice.

    `met` is 1 or 0 where that backend really served the request, None where nobody knows.
    """

    backend: str = ""
    model: str = ""
    cost_usd: float = 0.0
    energy_j: float = 0.0
    carbon_g: float = 0.0
    ttft_s: float = 0.0
    likely: float = 0.0
    met: float | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """One request on both sides; it stands for `weight` requests. `same`: the decision of the record came out again."""

    weight: float
    before: Choice
    after: Choice
    same: bool


@dataclass(slots=True)
class Played:
    """Every request that was replayed, and what should be known of it."""

    requests: list[Replayed] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    cut: int = 0
    unreadable: int = 0
    mismatches: list[str] = field(default_factory=list)


class Replay:
    """Plays records against two configurations; scenes are made anew for each segment."""

    def __init__(self, *, catalogue: Catalogue, wires: Wires | None, policies: Policies, change: ReplayChange) -> None:
        self._catalogue = catalogue
        self._wires = wires
        self._policies = policies
        self._change = change
        self._segment: object = None
        self._scenes = self._make()
        self._after: tuple[FleetSnapshot | None, FleetSnapshot | None] = (None, None)

    def play(self, records: Iterable[Logged], *, advance: Callable[[], None] = lambda: None) -> Played:
        """Decides every record on both sides."""
        played = Played()
        for logged in records:
            self._one(logged, played)
            advance()
        return played

    def _make(self) -> tuple[Scene, Scene]:
        held = {"catalogue": self._catalogue, "wires": self._wires, "policies": self._policies}
        return Scene(**held), Scene(**held, touched=self._change.touched)  # type: ignore[arg-type]  # as above

    def _one(self, logged: Logged, played: Played) -> None:
        line = logged.line
        if logged.states is not self._segment:
            self._segment = logged.states
            self._scenes = self._make()
        if self._after[0] is not logged.snapshot:
            self._after = (logged.snapshot, self._change.of(logged.snapshot))
        changed = self._after[1]
        before, after = self._scenes
        try:
            was = before.decide(logged, logged.snapshot)
            would = was if not self._change.writes else after.decide(logged, changed or logged.snapshot)
        except ValueError:
            played.unreadable += 1
            return
        first = _choice(*was, line)
        again = _decided(was[0])
        same = again == (line.chosen, line.candidates[0].model if line.candidates else "")
        if not same and len(played.mismatches) < MISMATCHES:
            played.mismatches.append(f"{line.id}: {line.chosen or 'nobody'} was recorded, {again[0] or 'nobody'} again")
        played.requests.append(Replayed(line.weight, first, _choice(*would, line), same))
        played.seen.update(one.backend for one in line.candidates)
        played.cut += line.more > 0


def _decided(plan: Plan | None) -> tuple[str, str]:
    """Who was ranked first."""
    if plan is None or not plan.ranking.ordered:
        return "", ""
    best = plan.ranking.ordered[0]
    return best.row.id, best.row.model


def _choice(plan: Plan | None, served: bool, line: DecisionLine) -> Choice:  # noqa: FBT001 - of one pair
    if plan is None or not served:
        return Choice()
    best = plan.ranking.ordered[0]
    return Choice(
        backend=best.row.id,
        model=best.row.model,
        cost_usd=best.cost_usd,
        energy_j=best.energy_j,
        carbon_g=best.carbon_g,
        ttft_s=best.ttft_s,
        likely=likelihood(best),
        met=_met(plan, line, best.row.id),
    )


def _met(plan: Plan, line: DecisionLine, backend: str) -> float | None:
    """Whether the objectives of this side were met by what really happened; None where somebody else served."""
    actual, shape = line.actual, plan.shape
    if line.result != "OK" or actual.backend != backend or actual.ttft_s is None:
        return None
    late = (
        actual.ttft_s > shape.ttft_slo_s
        or (actual.tpot_s or 0.0) > shape.tpot_slo_s
        or (actual.e2e_s or 0.0) > shape.e2e_slo_s
    )
    return 0.0 if late else 1.0
