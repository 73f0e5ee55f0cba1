"""policies.yaml: what a second, a miss and a joule are worth, and how attempts are made.

The same text and the same rules serve the file and `SetPolicies`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from router.domain.fleet import PrivacyLevel
from router.domain.policies import DispatchPolicy, Policies, WorkloadClass
from router.domain.price_tiers import SERVICE
from router.domain.request import Objective, Slo
from router.settings.catalogue import NAME
from router.settings.strict import (
    ConfigError,
    NonNegative,
    PositiveSeconds,
    Problem,
    Strict,
    Usd,
    check,
    enum_by_name,
    enum_by_value,
    nearest,
    parse_text,
)

_CLASS = WorkloadClass(name="")
_DISPATCH = DispatchPolicy()
_POLICIES = Policies()

Attempts = Annotated[int, Field(ge=1, le=5)]
AtLeastOne = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
# Exploring pays with real requests: never with more than one in fifty.
Explored = Annotated[float, Field(ge=0, le=0.02)]


class SloEntry(Strict):
    """Objectives for requests of a class that name none."""

    synonyms: ClassVar = {"ttft": "ttft_s", "tpot": "tpot_s", "e2e": "e2e_s", "latency_ms": "e2e_s"}

    ttft_s: PositiveSeconds | None = None
    tpot_s: PositiveSeconds | None = None
    e2e_s: PositiveSeconds | None = None
    probability: Probability = 0.9
    reject_infeasible: bool = False
    ttft_probability: Probability | None = None
    tpot_probability: Probability | None = None
    e2e_probability: Probability | None = None
    headroom: Probability | None = None


class ClassEntry(Strict):
    """One workload class; see `WorkloadClass` for what each price multiplies."""

    cost_weight: NonNegative = _CLASS.cost_weight
    usd_per_s: Usd = _CLASS.usd_per_s
    usd_per_ttft_s: Usd = _CLASS.usd_per_ttft_s
    usd_per_slo_miss: Usd = _CLASS.usd_per_slo_miss
    usd_per_error: Usd = _CLASS.usd_per_error
    usd_per_joule: Usd = _CLASS.usd_per_joule
    usd_per_quality: Usd = _CLASS.usd_per_quality
    usd_per_slowed_s: Usd = _CLASS.usd_per_slowed_s
    slo: SloEntry = SloEntry()
    max_attempts: Attempts = _CLASS.max_attempts
    batch: bool = _CLASS.batch
    usd_per_kg_co2: Usd = _CLASS.usd_per_kg_co2
    service_tier: Annotated[str, Field(pattern=rf"^({SERVICE.pattern})?$")] = _CLASS.service_tier
    privacy: Annotated[PrivacyLevel, enum_by_name(PrivacyLevel)] = _CLASS.privacy
    minimum_quality: dict[str, Share] = Field(default_factory=dict)
    explore_share: Explored = _CLASS.explore_share


class DispatchEntry(Strict):
    """How attempts are made; see `DispatchPolicy`."""

    first_token_timeout_s: PositiveSeconds = _DISPATCH.first_token_timeout_s
    idle_timeout_s: PositiveSeconds = _DISPATCH.idle_timeout_s
    retry_budget_ratio: Annotated[float, Field(ge=0, le=1)] = _DISPATCH.retry_budget_ratio
    retry_budget_min: Annotated[int, Field(ge=0)] = _DISPATCH.retry_budget_min
    retry_budget_window_s: PositiveSeconds = _DISPATCH.retry_budget_window_s
    open_after_failures: AtLeastOne = _DISPATCH.open_after_failures
    open_base_s: PositiveSeconds = _DISPATCH.open_base_s
    open_max_s: PositiveSeconds = _DISPATCH.open_max_s
    probe_interval_s: PositiveSeconds = _DISPATCH.probe_interval_s
    probe_timeout_s: PositiveSeconds = _DISPATCH.probe_timeout_s
    eject_after_probes: AtLeastOne = _DISPATCH.eject_after_probes
    max_in_flight: AtLeastOne = _DISPATCH.max_in_flight
    pick_ttl_s: PositiveSeconds = _DISPATCH.pick_ttl_s


class PoliciesFile(Strict):
    """policies.yaml."""

    default_class: str = _POLICIES.default_class
    classes: Annotated[dict[str, ClassEntry], Field(min_length=1)]
    objectives: dict[Annotated[Objective, enum_by_value(Objective)], str] = Field(default_factory=dict)
    dispatch: DispatchEntry = DispatchEntry()


def parse_policies(text: str, file: str = "policies.yaml") -> Policies:
    """The policies that the text describes.

    Raises:
        ConfigError: with everything that is wrong.
    """
    problems: list[Problem] = []
    document = parse_text(text, file, problems)
    parsed = check(PoliciesFile, document, file, problems) if document is not None else None
    if parsed is not None:
        problems.extend(_broken(parsed, file))
    if problems or parsed is None:
        raise ConfigError(problems)
    return Policies(
        classes={name: _workload_class(name, entry) for name, entry in parsed.classes.items()},
        objectives=dict(parsed.objectives),
        default_class=parsed.default_class,
        dispatch=DispatchPolicy(**parsed.dispatch.model_dump()),
    )


def _workload_class(name: str, entry: ClassEntry) -> WorkloadClass:
    return WorkloadClass(
        name=name,
        **entry.model_dump(exclude={"slo", "minimum_quality"}),
        slo=Slo(**entry.slo.model_dump()),
        minimum_quality=tuple(sorted(entry.minimum_quality.items())),
    )


def _broken(parsed: PoliciesFile, file: str) -> list[Problem]:
    name_rule = "a name is lower case letters, digits, '.', '_' and '-'"
    found = [Problem(file, f"classes.{name}", name_rule) for name in parsed.classes if not NAME.match(name)]
    for objective, name in parsed.objectives.items():
        if name not in parsed.classes:
            what = f"unknown class '{name}'{nearest(name, parsed.classes)}"
            found.append(Problem(file, f"objectives.{objective.value}", what))
    if parsed.default_class not in parsed.classes:
        what = f"unknown class '{parsed.default_class}'{nearest(parsed.default_class, parsed.classes)}"
        found.append(Problem(file, "default_class", what))
    if parsed.dispatch.open_max_s < parsed.dispatch.open_base_s:
        found.append(Problem(file, "dispatch.open_max_s", "must be at least open_base_s"))
    if parsed.dispatch.probe_timeout_s > parsed.dispatch.probe_interval_s:
        found.append(Problem(file, "dispatch.probe_timeout_s", "must not exceed probe_interval_s"))
    return found
