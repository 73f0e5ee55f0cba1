"""The decision in words: what spoke for the choice, and what against the fastest and the cheapest of the others."""

from __future__ import annotations

from typing import Final

from router.domain.fleet import PrivacyLevel
from router.domain.rows import Forecast
from router.scheduling import filters
from router.scheduling.objective import HOPELESS, terms
from router.scheduling.picker import TIE_SHARE, at_stake, likelihood
from router.scheduling.scheduler import Ranking

# What a term of the objective is called as a reason.
REASON: Final[dict[str, str]] = {
    "money": "price",
    "latency": "speed",
    "first_token": "speed",
    "slo_miss": "the SLO",
    "errors": "reliability",
    "energy": "energy",
    "carbon": "carbon",
    "slowing_others": "load",
    "quality": "quality",
    "exploration": "exploration",
}
# What is given up, in this order, where nothing meets all objectives: by the tier of the best that there is.
GIVEN_UP: Final[dict[int, str]] = {
    1: "no backend meets every objective likely enough, so the end-to-end one was given up",
    2: "no backend meets every objective likely enough, so those of end to end and of each token were given up",
}
# Of backends that are alike in what keeps them out, as many as are named.
NAMED: Final = 3
# What is faster or cheaper by less than a tenth is not worth a word.
NOTED: Final = 0.9
# A multiplier of money below this moves nothing that anybody would ask about.
NOTED_MULTIPLIER: Final = 1.05


def why(ranking: Ranking) -> str:
    """The decision in one sentence, the reason first."""
    if not ranking.ordered:
        return f"nothing can serve this: {len(ranking.dropped)} dropped"
    best = ranking.ordered[0]
    notes: list[str] = []
    if ranking.panic:
        notes.append("all that could serve look sick, so health was set aside")
    if ranking.slo_infeasible:
        notes.append(_relaxed(best))
    if best.explore_usd < 0.0 and any(_plain(f) < _plain(best) for f in _equals(ranking, best)):
        notes.append("for exploration: one of the few requests that may go where less is known")
    notes += _against_equals(ranking, best)
    notes += _others(ranking, best)
    if ranking.shape.money_multiplier >= NOTED_MULTIPLIER:
        notes.append(
            f"money counts {ranking.shape.money_multiplier:.1f}-fold: the tenant spends faster than its budget lasts"
        )
    return "; ".join(notes)


def _relaxed(best: Forecast) -> str:
    chance = f"this one meets all with {100.0 * likelihood(best):.0f} %"
    told = GIVEN_UP.get(best.tier, "no backend meets the SLO likely enough, not even for the first token")
    return f"{told}; {chance}" if best.tier < HOPELESS else f"{told}; {chance}, which is nearest"


def _percent(p: float) -> str:
    """A chance, with a digit more where it is nearly sure."""
    return f"{100.0 * p:.1f} %" if p > 0.95 else f"{100.0 * p:.0f} %"


def _equals(ranking: Ranking, best: Forecast) -> list[Forecast]:
    """The others that meet as much, and have room as well."""
    return [f for f in ranking.ordered[1:] if f.tier == best.tier and f.crowded == best.crowded]


def _plain(forecast: Forecast) -> float:
    """The objective without what exploring credits."""
    return forecast.objective_usd - forecast.explore_usd


def _alone(ranking: Ranking, best: Forecast) -> str:
    others = ranking.ordered[1:]
    if others:
        if any(f.tier == best.tier and f.crowded for f in others):
            return "for load: the only one with room that is as likely to meet the SLO"
        return "for the SLO: the only one that is likely enough to meet it" if best.feasible else "it comes nearest"
    codes = [code for _, code, _ in ranking.dropped]
    if not codes:
        return "the only one that serves it"
    if filters.PRIVACY in codes:
        asked = PrivacyLevel(ranking.constraints.privacy).name.lower()
        return f"for privacy: the only one left that guarantees {asked}, {codes.count(filters.PRIVACY)} others do not"
    return "the only one left that fits"


def _against_equals(ranking: Ranking, best: Forecast) -> list[str]:
    """What speaks for the choice against the others that meet as much: near-ties by name, then the next by its loss."""
    equals = sorted(_equals(ranking, best), key=lambda f: f.objective_usd)
    if not equals:
        return [_alone(ranking, best)]
    least = min(equals[0], best, key=lambda f: f.objective_usd)
    limit = least.objective_usd + TIE_SHARE * abs(at_stake(least))
    ties = [f for f in equals if f.objective_usd <= limit]
    rest = equals[len(ties) :]
    notes = [f"a near-tie with {', '.join(_name(f, best) for f in ties[:NAMED])}, drawn"] if ties else []
    # The same place with another model says nothing about the place.
    named = {best.row.id, *(f.row.id for f in ties)}
    elsewhere = [f for f in rest if f.row.id not in named] or rest
    if elsewhere:
        notes.append(_versus(best, elsewhere[0]))
    return notes


def _name(forecast: Forecast, best: Forecast) -> str:
    """A candidate by its backend, and by its model where that is another than the choice's."""
    row = forecast.row
    return row.id if row.model == best.row.model else f"{row.id} with {row.model}"


def _versus(best: Forecast, rival: Forecast) -> str:
    saved = [(mine[0], theirs[1] - mine[1]) for mine, theirs in zip(terms(best), terms(rival), strict=True)]
    name, amount = max(saved, key=lambda pair: pair[1])
    gap = rival.objective_usd - best.objective_usd
    words = name.replace("_", " ")
    return f"for {REASON[name]}: ${gap:.6f} better than {_name(rival, best)}, most of it {words} (${amount:.6f})"


def _others(ranking: Ranking, best: Forecast) -> list[str]:
    """What keeps the request from the fastest, the cheapest and the busy ones, and how many privacy keeps out."""
    notes: list[str] = []
    ordered = ranking.ordered
    fastest = min(ordered, key=lambda f: f.e2e_s)
    cheapest = min(ordered, key=lambda f: f.cost_usd)
    if fastest is not best and fastest.e2e_s < NOTED * best.e2e_s:
        notes.append(
            f"{_name(fastest, best)} would be faster ({fastest.e2e_s:.2f} s against {best.e2e_s:.2f} s), "
            f"but {_against(fastest, best)}"
        )
    if cheapest is not best and cheapest is not fastest and cheapest.cost_usd < NOTED * best.cost_usd:
        notes.append(
            f"{_name(cheapest, best)} would be cheaper (${cheapest.cost_usd:.6f} against ${best.cost_usd:.6f}), "
            f"but {_against(cheapest, best)}"
        )
    busy = [f for f in ordered if f is not best and f.batch >= f.row.max_concurrency]
    if busy:
        told = ", ".join(
            f"{f.row.id} ({f.batch:.0f} in flight, {f.row.max_concurrency:.0f} slots)" for f in busy[:NAMED]
        )
        notes.append(f"load: no free slot on {told}")
    private = sum(1 for _, code, _ in ranking.dropped if code == filters.PRIVACY)
    if private and len(ordered) > 1:
        notes.append(f"privacy keeps it from {private} others")
    return notes


def _against(other: Forecast, best: Forecast) -> str:
    """What speaks most against another than the choice."""
    if other.tier > best.tier:
        chances = (("first token", other.p_ttft), ("pace", other.p_tpot), ("end to end", other.p_e2e))
        name, chance = min(chances, key=lambda pair: pair[1])
        return f"meets the SLO ({name}) with {_percent(chance)} only"
    if other.crowded and not best.crowded:
        return "it has no room"
    if other.objective_usd <= best.objective_usd:
        return "the draw among near-ties went the other way"
    lost = [(mine[0], theirs[1] - mine[1]) for mine, theirs in zip(terms(best), terms(other), strict=True)]
    name, amount = max(lost, key=lambda pair: pair[1])
    return f"loses ${amount:.6f} by {REASON[name]} ({name.replace('_', ' ')})"
