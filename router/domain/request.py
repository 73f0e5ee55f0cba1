"""What routing needs to know of a request; never the prompt itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from router.domain.fleet import Capability, Parameter, PrivacyLevel


class Objective(StrEnum):
    BALANCED = "balanced"
    LATENCY = "latency"
    COST = "cost"
    ENERGY = "energy"


class Priority(IntEnum):
    SHEDDABLE = 1
    NORMAL = 2
    CRITICAL = 3


class StreamBreakAction(StrEnum):
    ERROR = "error"
    RESTART = "restart"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Objectives in seconds; None is none. `probability` None: the workload class's.

    `*_probability`, of a class: where one objective has to be met with another probability than the rest. `headroom`,
    of a class: beyond this share of an objective, what is expected counts as tight, and tight costs as much as a miss.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    probability: float | None = None
    reject_infeasible: bool = False
    ttft_probability: float | None = None
    tpot_probability: float | None = None
    e2e_probability: float | None = None
    headroom: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Hard limits on where a request may run."""

    privacy: PrivacyLevel = PrivacyLevel.ANY
    regions: tuple[str, ...] = ()
    only_backends: tuple[str, ...] = ()
    excluded_backends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProfile:
    """One request in numbers.

    Attributes:
        request_id: unique; also the decision's id.
        model: as asked: a model, an alias or a class.
        input_tokens: estimated from the prompt's size.
        max_output_tokens: the caller's bound, if any.
        expected_output_tokens: the caller's own guess, if any.
        needs: capabilities that the request shows or asks for.
        parameters: of sampling, that it sets.
        deadline_s: on the router's monotonic clock; None: none.
        session_key: "" or what sessions are kept together by.
        blocks: hashes of the prompt's beginning, see `domain.prefix_cache`; empty where it is short or not known.
        max_attempts: None: the policy's.
        service_tier: "" or the vendors' service to be charged by; the class's goes before "".
    """

    request_id: str
    model: str
    tenant: str = "default"
    input_tokens: float = 0.0
    max_output_tokens: int | None = None
    expected_output_tokens: float | None = None
    needs: frozenset[Capability] = frozenset()
    parameters: frozenset[Parameter] = frozenset()
    minimum_quality: float | None = None
    minimum_context_tokens: int | None = None
    task: str = "*"
    slo: Slo = Slo()
    max_cost_usd: float | None = None
    placement: Placement = Placement()
    objective: Objective | None = None
    workload_class: str = ""
    session_key: str = ""
    shared_prefix_tokens: int = 0
    blocks: tuple[int, ...] = ()
    service_tier: str = ""
    priority: Priority = Priority.NORMAL
    on_stream_break: StreamBreakAction = StreamBreakAction.ERROR
    idempotency_key: str = ""
    max_attempts: int | None = None
    explain: bool = False
    deadline_s: float | None = None
