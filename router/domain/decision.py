"""What was decided, and why: enough to explain it and to replay it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from router.domain.fleet import Backend, PrivacyLevel
from router.domain.hardware import Hardware


class DropReason(StrEnum):
    """Why a backend was not considered. A closed set: callers may switch on it."""

    MODEL = "MODEL"
    CAPABILITY = "CAPABILITY"
    QUALITY = "QUALITY"
    CONTEXT = "CONTEXT"
    PRIVACY = "PRIVACY"
    REGION = "REGION"
    EXCLUDED = "EXCLUDED"
    HEALTH = "HEALTH"
    DRAINING = "DRAINING"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    RATE_LIMIT = "RATE_LIMIT"
    COST_CAP = "COST_CAP"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    CREDENTIAL = "CREDENTIAL"
    SATURATED = "SATURATED"
    SLO = "SLO"


class EstimateSource(StrEnum):
    PRIOR = "prior"
    MIXED = "mixed"
    LEARNED = "learned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A backend's predicted behaviour for one request. `*_sd_log`: standard deviation of the logarithm.

    `cached_tokens` are those of the input that its prefix cache is expected to hold.
    """

    ttft_s: float
    ttft_sd_log: float
    ttft_p90_s: float
    tpot_s: float
    tpot_sd_log: float
    tpot_p90_s: float
    e2e_s: float
    e2e_sd_log: float
    e2e_p90_s: float
    input_tokens: float
    output_tokens: float
    cost_usd: float
    cost_p90_usd: float
    cost_marginal_usd: float
    cost_amortised_usd: float
    energy_j: float
    p_ttft: float = 1.0
    p_tpot: float = 1.0
    p_e2e: float = 1.0
    source: EstimateSource = EstimateSource.PRIOR
    observations: int = 0
    carbon_g: float = 0.0
    cost_lines: tuple[tuple[str, float], ...] = ()
    cached_tokens: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareLabel:
    """How a backend's hardware is shown; `emulated` is shown wherever the name is."""

    id: str
    name: str
    count: int = 1
    emulated: bool = False

    def __str__(self) -> str:
        count = f"{self.count}x " if self.count > 1 else ""
        return f"{count}{self.name}{' (emulated)' if self.emulated else ''}"


def label(backend: Backend, hardware: Hardware) -> HardwareLabel:
    """How a backend's hardware is shown."""
    return HardwareLabel(id=hardware.id, name=hardware.name, count=backend.hardware_count, emulated=backend.emulated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One backend that could serve, scored. `terms` are dollars by name and add up to `objective_usd`."""

    backend: str
    model: str
    upstream_model: str
    hardware: HardwareLabel
    region: str
    privacy: PrivacyLevel
    prediction: Prediction
    objective_usd: float
    terms: tuple[tuple[str, float], ...]
    slo_feasible: bool
    in_flight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    backend: str
    reason: DropReason
    detail: str
    hardware: HardwareLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`ranked` holds the chosen candidate first; a whole decision holds all others behind it, from best to worst.

    Empty `ranked` means that nothing could serve; `drops`, of a whole decision, says why. `fallbacks` names the
    backends that would be tried next, in this order.
    """

    id: str
    ranked: tuple[Candidate, ...]
    drops: tuple[Drop, ...] = field(default=())
    fallbacks: tuple[str, ...] = ()
    why: str = ""
    snapshot_version: int = 0
    snapshot_age_s: float = 0.0
    slo_infeasible: bool = False
    workload_class: str = ""
    max_attempts: int = 3
    decision_time_s: float = 0.0
    decided_at: float = 0.0

    @property
    def chosen(self) -> Candidate | None:
        return self.ranked[0] if self.ranked else None
