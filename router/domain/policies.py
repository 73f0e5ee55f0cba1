"""What a second, a miss and a joule are worth: the operator's policies."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.domain.fleet import PrivacyLevel
from router.domain.request import Objective, Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadClass:
    """The prices, in dollars, that turn latency, misses, errors, energy and quality into one objective (DECISION 2.5).

    Attributes:
        cost_weight: multiplies the money that a request costs.
        usd_per_s: a second of end-to-end latency.
        usd_per_ttft_s: a second of waiting for the first token.
        usd_per_slo_miss: missing any of the objectives.
        usd_per_error: a failed attempt.
        usd_per_joule: energy, beside what it costs.
        usd_per_quality: a whole point of quality, 0 to 1.
        usd_per_slowed_s: a second by which others slow down a request of this class; it is they who pay for it.
        slo: what holds when the request names none.
        batch: batch prices may be used.
        usd_per_kg_co2: emissions, beside what the energy costs.
        service_tier: the vendors' service to be charged by, where a backend has a price for it.
        privacy: the least that a request of this class asks for, whatever it says itself.
        minimum_quality: by task ("*" is any other): the least of models where a name leaves the choice among several.
        explore_share: of requests that may go where too little is known; never critical ones, nor any that ask for
            privacy.
    """

    name: str
    cost_weight: float = 1.0
    usd_per_s: float = 1e-5
    usd_per_ttft_s: float = 1e-4
    usd_per_slo_miss: float = 2e-3
    usd_per_error: float = 2e-3
    usd_per_joule: float = 0.0
    usd_per_quality: float = 0.0
    usd_per_slowed_s: float = 1e-5
    slo: Slo = field(default=Slo(probability=0.9))
    max_attempts: int = 3
    batch: bool = False
    usd_per_kg_co2: float = 0.0
    service_tier: str = ""
    privacy: PrivacyLevel = PrivacyLevel.ANY
    minimum_quality: tuple[tuple[str, float], ...] = ()
    explore_share: float = 0.0

    def quality_floor(self, task: str) -> float:
        """The least quality on a task; negative where there is none."""
        floor = -1.0
        for name, least in self.minimum_quality:
            if name == task:
                return least
            if name == "*":
                floor = least
        return floor


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """How attempts are made.

    Attributes:
        first_token_timeout_s: of one attempt, where the backend has none of its own.
        idle_timeout_s: longest silence within a stream before it counts as broken.
        retry_budget_ratio: retries may be at most this share of requests, over `retry_budget_window_s`.
        retry_budget_min: retries that are always allowed in a window.
        open_after_failures: consecutive failures that open a circuit.
        open_base_s: how long it stays open the first time; doubles up to `open_max_s`.
        probe_interval_s, probe_timeout_s: active health probes.
        eject_after_probes: consecutive failed probes before a backend counts as ejected.
        max_in_flight: requests that this replica serves at once; more are shed.
        pick_ttl_s: how long a Pick holds its reservation.
    """

    first_token_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    retry_budget_ratio: float = 0.2
    retry_budget_min: int = 100
    retry_budget_window_s: float = 10.0
    open_after_failures: int = 5
    open_base_s: float = 5.0
    open_max_s: float = 300.0
    probe_interval_s: float = 2.0
    probe_timeout_s: float = 1.0
    eject_after_probes: int = 3
    max_in_flight: int = 4096
    pick_ttl_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """`objectives` names the class behind each plain objective; `default_class` serves requests without either."""

    classes: dict[str, WorkloadClass] = field(
        default_factory=lambda: {"interactive": WorkloadClass(name="interactive")}
    )
    objectives: dict[Objective, str] = field(default_factory=dict)
    default_class: str = "interactive"
    dispatch: DispatchPolicy = field(default=DispatchPolicy())
