"""Hard constraints: what they remove stays removed for every fallback, retry and restart of the request.

Each check is a comparison on the row; the sentence for a person is made only when somebody asks (`detail`).
"""

from __future__ import annotations

from typing import Final

from router.domain.decision import DropReason
from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.live import Live
from router.domain.request import RequestProfile
from router.domain.rows import CAPABILITY_BIT, PARAMETER_BIT, Forecast, Row, capability_mask, parameter_mask

KEEP: Final = 0
CREDENTIAL: Final = 1
PRIVACY: Final = 2
REGION: Final = 3
EXCLUDED: Final = 4
CAPABILITY: Final = 5
CONTEXT: Final = 6
QUALITY: Final = 7
DRAINING: Final = 8
HEALTH: Final = 9
CIRCUIT_OPEN: Final = 10
RATE_LIMIT: Final = 11
COST_CAP: Final = 12
PRICE_UNKNOWN: Final = 13

REASONS: Final[dict[int, DropReason]] = {
    CREDENTIAL: DropReason.CREDENTIAL,
    PRIVACY: DropReason.PRIVACY,
    REGION: DropReason.REGION,
    EXCLUDED: DropReason.EXCLUDED,
    CAPABILITY: DropReason.CAPABILITY,
    CONTEXT: DropReason.CONTEXT,
    QUALITY: DropReason.QUALITY,
    DRAINING: DropReason.DRAINING,
    HEALTH: DropReason.HEALTH,
    CIRCUIT_OPEN: DropReason.CIRCUIT_OPEN,
    RATE_LIMIT: DropReason.RATE_LIMIT,
    COST_CAP: DropReason.COST_CAP,
    PRICE_UNKNOWN: DropReason.PRICE_UNKNOWN,
}


class Constraints:
    """A request's hard constraints in the form in which rows are compared with them."""

    def __init__(self, profile: RequestProfile, *, avoid: frozenset[str] = frozenset()) -> None:
        placement = profile.placement
        self.privacy = int(placement.privacy)
        self.regions = placement.regions
        self.only = frozenset(placement.only_backends)
        self.excluded = frozenset(placement.excluded_backends) | avoid
        self.needs = capability_mask(profile.needs) | parameter_mask(profile.parameters)
        # A prompt alone must leave room for one token; a stated limit must fit as a whole.
        self.context = int(profile.input_tokens) + (profile.max_output_tokens or 1)
        if profile.minimum_context_tokens is not None and profile.minimum_context_tokens > self.context:
            self.context = profile.minimum_context_tokens
        self.minimum_quality = profile.minimum_quality if profile.minimum_quality is not None else -1.0
        self.task = profile.task
        self.input_tokens = profile.input_tokens
        self.output_tokens = float(profile.max_output_tokens or 1)
        self.tokens = profile.input_tokens + float(profile.max_output_tokens or 0)
        self.max_cost_usd = profile.max_cost_usd if profile.max_cost_usd is not None else -1.0


def region_matches(region: str, allowed: tuple[str, ...]) -> bool:
    """Exactly, or by prefix where the allowed name ends in "*"."""
    for pattern in allowed:
        if pattern.endswith("*"):
            if region.startswith(pattern[:-1]):
                return True
        elif region == pattern:
            return True
    return False


def check(row: Row, want: Constraints, now: float, *, ignore_health: bool) -> int:
    """KEEP, or the first reason to drop the row, from what can never change to what changes by the second."""
    if not row.usable:
        return CREDENTIAL
    if row.privacy < want.privacy:
        return PRIVACY
    if want.regions and not region_matches(row.region, want.regions):
        return REGION
    if want.only and row.id not in want.only:
        return EXCLUDED
    if want.excluded and row.id in want.excluded:
        return EXCLUDED
    if (row.capabilities & want.needs) != want.needs:
        return CAPABILITY
    if 0 < row.context_tokens < want.context:
        return CONTEXT
    if want.minimum_quality >= 0.0 and row.quality.of(want.task) < want.minimum_quality:
        return QUALITY
    if want.max_cost_usd >= 0.0 and not row.price_known:
        return PRICE_UNKNOWN
    if row.drained:
        return DRAINING
    live = row.live
    if now < live.limited_until:
        return RATE_LIMIT
    if live.limit_requests >= 0.0 and live.limit_requests < 1.0:
        return RATE_LIMIT
    if live.limit_tokens >= 0.0 and live.limit_tokens < want.tokens:
        return RATE_LIMIT
    if now < live.requests_left_until and live.requests_left < 1.0:
        return RATE_LIMIT
    if now < live.tokens_left_until and live.tokens_left < counted(live, want):
        return RATE_LIMIT
    if ignore_health:
        return KEEP
    if row.ejected or live.ejected or row.warming or live.warming:
        return HEALTH
    if now < live.open_until or live.half_open:
        return CIRCUIT_OPEN
    return KEEP


def counted(live: Live, want: Constraints) -> float:
    """The request's tokens that the vendor's own limit counts: some limit prompts and answers apart."""
    if live.tokens_left_of == "input":
        return want.input_tokens
    return want.output_tokens if live.tokens_left_of == "output" else want.tokens


def over_cap(forecast: Forecast, want: Constraints) -> bool:
    """True when the upper estimate of the cost does not fit the caller's cap."""
    return 0.0 <= want.max_cost_usd < forecast.cost_p90_usd


def detail(code: int, row: Row, want: Constraints, now: float, forecast: Forecast | None) -> str:
    """The sentence for a person, with both sides of the comparison."""
    live = row.live
    if code == CREDENTIAL:
        return f"cannot be used here: {live.unusable_reason or f'its credential {row.backend.credential} is not set'}"
    if code == PRIVACY:
        return (
            f"guarantees {PrivacyLevel(row.privacy).name.lower()}, {PrivacyLevel(want.privacy).name.lower()} is asked"
        )
    if code == REGION:
        return f"is in {row.region or 'no known region'}, allowed: {', '.join(want.regions)}"
    if code == EXCLUDED:
        return "excluded by the request" if row.id in want.excluded else "not among the backends that the request names"
    if code == CAPABILITY:
        return lacking(row, want)
    if code == CONTEXT:
        return f"holds {row.context_tokens} tokens, {want.context} are needed"
    if code == QUALITY:
        return f"quality {row.quality.of(want.task):.2f} is below {want.minimum_quality:.2f}"
    if code == DRAINING:
        return "is being drained"
    if code == HEALTH:
        if row.warming or live.warming:
            return "is warming up"
        return f"failed its health probes: {live.ejected_reason}" if live.ejected_reason else "failed its health probes"
    if code == CIRCUIT_OPEN:
        if live.half_open:
            return "is being tried by one request after failures"
        return f"failed repeatedly; tried again in {max(0.0, live.open_until - now):.1f} s"
    if code == RATE_LIMIT:
        return limit(live, want, now)
    if code == COST_CAP:
        cost = forecast.cost_p90_usd if forecast is not None else 0.0
        return f"may cost up to ${cost:.6f}, the cap is ${want.max_cost_usd:.6f}"
    return "its price is unknown, and the request has a cost cap"


def lacking(row: Row, want: Constraints) -> str:
    """What the request asks for and the row does not have: `cannot do: tools; does not take top_k`."""
    missing = want.needs & ~row.capabilities
    capabilities = [c.value for c in Capability if missing & CAPABILITY_BIT[c]]
    parameters = [p.value for p in Parameter if missing & PARAMETER_BIT[p]]
    parts: list[str] = []
    if capabilities:
        parts.append(f"cannot do: {', '.join(capabilities)}")
    if parameters:
        parts.append(f"does not take {', '.join(parameters)}")
    return "; ".join(parts)


def opens_at(live: Live, want: Constraints) -> float:
    """When a backend that is only limited for a while may be used again."""
    at = max(live.limited_until, live.open_until)
    if live.requests_left < 1.0:
        at = max(at, live.requests_left_until)
    if live.tokens_left < counted(live, want):
        at = max(at, live.tokens_left_until)
    return at


def limit(live: Live, want: Constraints, now: float) -> str:
    """Which limit a backend is at, and until when."""
    if now < live.limited_until:
        return f"asked to be left alone for {live.limited_until - now:.1f} s"
    if now < live.requests_left_until and live.requests_left < 1.0:
        return f"has no requests left by its own account, for {live.requests_left_until - now:.1f} s"
    asked = counted(live, want)
    if now < live.tokens_left_until and live.tokens_left < asked:
        kind = "" if live.tokens_left_of == "all" else f"{live.tokens_left_of} "
        left = live.tokens_left_until - now
        return (
            f"has {live.tokens_left:.0f} {kind}tokens left by its own account for {left:.1f} s, {asked:.0f} are asked"
        )
    return "has used up its requests or tokens of this minute"
