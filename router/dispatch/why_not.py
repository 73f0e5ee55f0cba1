"""Answers "why not that one?": the constraint that dropped it, or the dollars that it lost by."""

from __future__ import annotations

from router.dispatch.fleet import Fleet
from router.domain.decision import Candidate, Decision
from router.domain.request import RequestProfile
from router.errors import NotFound


def why_not(fleet: Fleet, profile: RequestProfile, decision: Decision, backend_id: str) -> str:
    """One sentence on `backend_id`; `decision` must be a whole one.

    Raises:
        NotFound: no such backend.
    """
    if backend_id not in fleet.members:
        raise NotFound(f"no backend is called '{backend_id}'")
    chosen = decision.chosen
    if chosen is not None and chosen.backend == backend_id:
        return f"{backend_id} is the choice"
    own = [c for c in decision.ranked if c.backend == backend_id]
    if own:
        return _lost(own[0], chosen)
    dropped = [d for d in decision.drops if d.backend == backend_id]
    details = "; ".join(f"{d.reason.value}: {d.detail}" for d in dropped)
    return f"{backend_id} was dropped for '{profile.model}' ({details}); that would have to change first"


def _lost(candidate: Candidate, chosen: Candidate | None) -> str:
    if chosen is None:
        return f"{candidate.backend} was not chosen"
    gap = candidate.objective_usd - chosen.objective_usd
    if chosen.slo_feasible and not candidate.slo_feasible:
        p = candidate.prediction
        return (
            f"{candidate.backend} is too unlikely to meet the SLO (TTFT {p.p_ttft:.2f}, TPOT {p.p_tpot:.2f}, "
            f"end to end {p.p_e2e:.2f}); loosen it, or make the backend faster"
        )
    if gap <= 0.0:
        return f"{candidate.backend} is a near-tie with {chosen.backend}; the draw went the other way"
    theirs = dict(chosen.terms)
    worst, amount = max(
        ((name, usd - theirs.get(name, 0.0)) for name, usd in candidate.terms), key=lambda pair: pair[1]
    )
    return (
        f"{candidate.backend} costs ${gap:.6f} more in all, most of it {worst.replace('_', ' ')} (${amount:.6f}); "
        f"that much would have to be saved"
    )
