"""What a dropped backend would need.

Each hard constraint that keeps it out is loosened on a copy of the request or of its state, to the least value that
lets it in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from router.dispatch.plain import copied
from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.live import NEVER
from router.domain.request import RequestProfile
from router.domain.rows import CAPABILITY_BIT, PARAMETER_BIT, Forecast, Row
from router.domain.why import ChangeKind, Counterfactual
from router.scheduling import filters

Alter = Callable[[Row], None]


def loosen(
    code: int, row: Row, profile: RequestProfile, forecast: Forecast | None
) -> tuple[RequestProfile, Alter | None, Counterfactual] | None:
    """The request and the change of the backend that pass this filter, and what that is; None: nothing passes it."""
    place = profile.placement
    if code == filters.PRIVACY:
        level = PrivacyLevel(row.privacy)
        say = f"the request would have to allow privacy {level.name.lower()} (now {place.privacy.name.lower()})"
        return replace(profile, placement=replace(place, privacy=level)), None, _constraint(say)
    if code == filters.REGION:
        regions = (*place.regions, row.region) if row.region else ()
        say = f"the request's regions would have to include {row.region or 'anywhere'}"
        return replace(profile, placement=replace(place, regions=regions)), None, _constraint(say)
    if code == filters.EXCLUDED:
        only = (*place.only_backends, row.id) if place.only_backends else ()
        excluded = tuple(name for name in place.excluded_backends if name != row.id)
        placement = replace(place, only_backends=only, excluded_backends=excluded)
        return replace(profile, placement=placement), None, _constraint(f"the request would have to allow {row.id}")
    if code == filters.CAPABILITY:
        lacking = [c for c in Capability if not row.capabilities & CAPABILITY_BIT[c]]
        untaken = [p for p in Parameter if not row.capabilities & PARAMETER_BIT[p]]
        named = sorted(c.value for c in profile.needs & set(lacking))
        named += sorted(p.value for p in profile.parameters & set(untaken))
        asked = replace(profile, needs=profile.needs - set(lacking), parameters=profile.parameters - set(untaken))
        return asked, None, _constraint(f"the request would have to do without {', '.join(named)}")
    if code == filters.CONTEXT:
        return _shorter(row, profile)
    if code == filters.QUALITY:
        known = row.quality.of(profile.task)
        least = f"the least quality would have to be {known:.2f} (now {profile.minimum_quality or 0.0:.2f})"
        told = _constraint(least, now=profile.minimum_quality, value=known)
        return replace(profile, minimum_quality=known), None, told
    if code == filters.COST_CAP and forecast is not None:
        value = forecast.cost_p90_usd
        say = f"the cost cap would have to be ${value:.6f} (now ${profile.max_cost_usd or 0.0:.6f})"
        told = _constraint(say, now=profile.max_cost_usd, value=value, unit="USD")
        return replace(profile, max_cost_usd=value), None, told
    if code == filters.PRICE_UNKNOWN:
        say = "it would need a price, or the request no cost cap"
        return replace(profile, max_cost_usd=None), None, _constraint(say)
    alter, what = _STATES.get(code, (None, ""))
    return None if alter is None else (profile, alter, _constraint(what.format(id=row.id)))


def _shorter(row: Row, profile: RequestProfile) -> tuple[RequestProfile, Alter | None, Counterfactual] | None:
    room = row.context_tokens - int(profile.input_tokens)
    if room < 1:
        return None
    asked, said = profile, []
    if (profile.minimum_context_tokens or 0) > row.context_tokens:
        said.append(f"ask for a window of {row.context_tokens} tokens at most (now {profile.minimum_context_tokens})")
        asked = replace(asked, minimum_context_tokens=row.context_tokens)
    limit = profile.max_output_tokens
    if limit is not None and limit > room:
        said.append(f"ask for {room} output tokens at most (now {limit})")
        asked = replace(asked, max_output_tokens=room)
        told = _constraint(
            f"the request would have to {' and '.join(said)}", now=float(limit), value=float(room), unit="tokens"
        )
        return asked, None, told
    return (asked, None, _constraint(f"the request would have to {said[0]}")) if said else None


def _usable(row: Row) -> None:
    row.usable = True


def _undrained(row: Row) -> None:
    row.drained = False


def _well(row: Row) -> None:
    row.ejected = row.warming = False
    row.live = copied(row.live)
    row.live.ejected = row.live.warming = False
    row.live.open_until = NEVER
    row.live.half_open = False


def _unlimited(row: Row) -> None:
    row.live = live = copied(row.live)
    live.limited_until = live.requests_left_until = live.tokens_left_until = NEVER
    live.limit_requests = live.limit_tokens = -1.0


_STATES: dict[int, tuple[Alter, str]] = {
    filters.CREDENTIAL: (_usable, "{id} would have to be usable here: its credential is missing"),
    filters.DRAINING: (_undrained, "{id} would have to be undrained"),
    filters.HEALTH: (_well, "{id} would have to be healthy again"),
    filters.CIRCUIT_OPEN: (_well, "the circuit of {id} would have to close"),
    filters.RATE_LIMIT: (_unlimited, "{id} would have to be below its rate limit"),
}


def _constraint(what: str, *, now: float | None = None, value: float | None = None, unit: str = "") -> Counterfactual:
    return Counterfactual(kind=ChangeKind.CONSTRAINT, possible=True, what=what, now=now, value=value, unit=unit)
