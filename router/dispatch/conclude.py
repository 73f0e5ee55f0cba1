"""How a request ends: its outcome, or the one error that says what went wrong where."""

from __future__ import annotations

from backends.errors import BackendError
from backends.errors import StreamBroken as BackendStreamBroken
from router.clock import Clock
from router.dispatch.continuation import Transcript
from router.dispatch.decider import Plan
from router.dispatch.feedback import Attempt
from router.domain.outcome import AttemptOutcome, Outcome, TokenUsage
from router.domain.request import RequestProfile
from router.errors import NoEndpoint, RouterError, StreamBroken, UpstreamFailed


def outcome(
    plan: Plan,
    attempt: Attempt,
    attempts: list[AttemptOutcome],
    started_at: float,
    routing_s: float,
    sent: Transcript,
    clock: Clock,
) -> Outcome:
    """The outcome of an answered request; money and energy are those of all attempts together."""
    now = clock.monotonic()
    last = attempts[-1]
    earlier = sum(a.usage.output for a in attempts[:-1]) if sent.tokens > attempt.events else 0
    usage = last.usage
    if earlier:
        usage = TokenUsage(
            input=max(0, usage.input - earlier),
            cached_input=usage.cached_input,
            cache_write_input=usage.cache_write_input,
            output=usage.output + earlier,
            reasoning=usage.reasoning,
            estimated=True,
        )
    return Outcome(
        request_id=plan.profile.request_id,
        finish_reason=attempt.finish_reason,
        stop_sequence=attempt.stop_sequence,
        usage=usage,
        cost_usd=sum(a.cost_usd for a in attempts),
        energy_j=sum(a.energy_j for a in attempts),
        carbon_g=sum(a.carbon_g for a in attempts),
        started_at=clock.time() - (now - started_at),
        ttft_s=(attempt.first_at if attempt.first_at >= 0.0 else now) - started_at,
        tpot_s=last.tpot_s or 0.0,
        e2e_s=now - started_at,
        routing_s=routing_s,
        upstream_queue_s=attempt.upstream_queue_s,
        upstream_prefill_s=attempt.upstream_prefill_s,
        attempts=tuple(attempts),
    )


def may_go_on(error: BackendError, broken: bool) -> bool:  # noqa: FBT001 - the two facts are the whole question
    """Whether another backend may be tried. A broken stream has its own rule: the caller's action on it."""
    return True if broken else error.retryable


def failure(plan: Plan, attempts: list[AttemptOutcome], error: BackendError, *, broken: bool) -> RouterError:
    """The error that ends a request whose attempts are used up."""
    last = attempts[-1]
    if broken:
        reason = "" if isinstance(error, BackendStreamBroken) else f" ({error.code})"
        return StreamBroken(f"the answer of {last.backend} broke off{reason}: {error.message}")
    tried = ", ".join(f"{a.backend} {a.result}" for a in attempts)
    count = "the only attempt" if len(attempts) == 1 else f"all {len(attempts)} attempts"
    return UpstreamFailed(
        f"{count} to serve '{plan.profile.model}' failed ({tried}): {error.message}",
        attempts=tuple(attempts),
        last_code=error.code,
        param=error.param,
        retry_after_s=error.retry_after_s,
    )


def nothing_permitted(plan: Plan) -> RouterError:
    """Everything that was ranked became unusable between deciding and trying."""
    return NoEndpoint(
        f"every backend that could serve '{plan.profile.model}' became unusable just now",
        drops=(),
        retry_after_s=1.0,
    )


def late(attempt: Attempt, profile: RequestProfile) -> str:
    """What the deadline cut off."""
    done = f"after {attempt.events} tokens" if attempt.events else "before the first token"
    return f"the deadline passed {done} of {attempt.row.id} for '{profile.model}'"
