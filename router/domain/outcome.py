"""What happened: one `AttemptOutcome` per attempt, one `Outcome` per request."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    input: int = 0
    cached_input: int = 0
    cache_write_input: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PickReport:
    """How a picked request went, as its caller says; `result` is "OK" or a reason code, `backend` "" the choice.

    `quality` is how good the answer was, from 0 to 1.
    """

    pick_id: str
    tenant: str = "default"
    backend: str = ""
    result: str = "OK"
    ttft_s: float | None = None
    e2e_s: float | None = None
    usage: TokenUsage | None = None
    retry_after_s: float | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutcome:
    """`result` is "OK", "CANCELLED" or the code of the error. Times are seconds; None where it did not come to that."""

    backend: str
    model: str
    result: str
    detail: str = ""
    duration_s: float = 0.0
    ttft_s: float | None = None
    tpot_s: float | None = None
    usage: TokenUsage = field(default=TokenUsage())
    cost_usd: float = 0.0
    cost_amortised_usd: float = 0.0
    energy_j: float = 0.0
    carbon_g: float = 0.0
    counts_against_health: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a request: who answered, what it took, what it cost over all attempts."""

    request_id: str
    finish_reason: str
    stop_sequence: str
    usage: TokenUsage
    cost_usd: float
    energy_j: float
    started_at: float
    ttft_s: float
    tpot_s: float
    e2e_s: float
    routing_s: float
    upstream_queue_s: float | None = None
    upstream_prefill_s: float | None = None
    carbon_g: float = 0.0
    attempts: tuple[AttemptOutcome, ...] = ()
