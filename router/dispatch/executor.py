"""Carries a plan out: attempts in order, failover before the first token, the declared action after it.

Everything that could be tried passed the same hard filters as the first choice. Each further attempt spends the retry
budget and happens inside the caller's deadline. No task, queue or timer is made per token.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from backends.contract import Chunk, GenerateRequest
from backends.errors import BackendError, ContextTooLong, ProtocolViolation, StreamBroken, TimedOut
from router.dispatch import conclude
from router.dispatch.continuation import Transcript, continued_profile, continued_request
from router.dispatch.decider import Decider, Plan
from router.dispatch.events import Finished, Rerouted, Routed, ServeEvent
from router.dispatch.feedback import CANCELLED, DEADLINE, OK, Attempt, Feedback
from router.dispatch.watchdog import Watchdog
from router.domain.outcome import AttemptOutcome
from router.domain.policies import DispatchPolicy
from router.domain.price_tiers import BATCH
from router.domain.request import RequestProfile, StreamBreakAction
from router.domain.rows import Forecast
from router.errors import DeadlineExceeded
from router.resilience.retry_budget import RetryBudget
from router.scheduling import filters, reporting


class Executor:
    """Runs the attempts of requests; holds no state of any one of them."""

    def __init__(self, *, decider: Decider, feedback: Feedback, budget: RetryBudget) -> None:
        self._decider = decider
        self._feedback = feedback
        self._budget = budget

    async def run(
        self,
        request: GenerateRequest,
        plan: Plan,
        policy: DispatchPolicy,
        started_at: float,
        attempts: list[AttemptOutcome],
    ) -> AsyncGenerator[ServeEvent]:
        """Yields the events of one request; `attempts` takes the outcome of each attempt, also of a cancelled one.

        Raises:
            UpstreamFailed, StreamBroken, DeadlineExceeded: see `router.errors`.
        """
        self._budget.deposit()
        clock = self._feedback.clock
        routing_s = clock.monotonic() - started_at
        # What was asked for stays the base of every continuation: a continued request already holds text that was sent.
        asked, wanted = request, plan.profile
        sent = Transcript(wanted.on_stream_break)
        queue = list(plan.ranking.ordered)
        attempt = self._next(queue, plan)
        if attempt is None:
            raise conclude.nothing_permitted(plan)
        chosen = plan.decision.chosen
        if chosen is None or chosen.backend != attempt.row.id:
            chosen = reporting.candidate(attempt.forecast)
        news: ServeEvent = Routed(decision=plan.decision, candidate=chosen)
        while True:
            error: BackendError | None = None
            try:
                # The attempt has begun: a caller who leaves while taking this must end it as well.
                yield news
                async with aclosing(self._attempt(attempt, request, plan.profile, policy)) as chunks:
                    async for chunk in chunks:
                        sent.add(chunk)
                        yield chunk
            except BackendError as caught:
                error = caught
                attempts.append(attempt.close(caught.code, caught))
            except DeadlineExceeded:
                attempts.append(attempt.close(DEADLINE))
                raise
            else:
                attempts.append(attempt.close(OK))
                yield Finished(
                    outcome=conclude.outcome(plan, attempt, attempts, started_at, routing_s, sent, clock),
                    candidate=chosen,
                )
                return
            finally:
                ended = attempt.close(CANCELLED)
                if not attempts or attempts[-1] is not ended:
                    attempts.append(ended)
            broken = attempt.first_at >= 0.0
            resume = StreamBreakAction.ERROR
            if broken:
                resumed = self._resume(asked, wanted, sent, attempts)
                if resumed is None:
                    raise conclude.failure(plan, attempts, error, broken=True) from error
                resume, request, plan, queue = resumed
            failed = attempt
            following = self._following(queue, plan, attempts, error) if conclude.may_go_on(error, broken) else None
            if following is None:
                raise conclude.failure(plan, attempts, error, broken=broken) from error
            attempt = following
            chosen = reporting.candidate(attempt.forecast)
            news = Rerouted(
                from_backend=failed.row.id,
                candidate=chosen,
                reason=error.code,
                detail=error.message,
                resume=resume,
            )

    def _next(self, queue: list[Forecast], plan: Plan) -> Attempt | None:
        """Takes candidates off the queue until one may be tried."""
        now = self._feedback.clock.monotonic()
        panic = plan.ranking.panic
        while queue:
            forecast = queue.pop(0)
            code = filters.check(forecast.row, plan.ranking.constraints, now, ignore_health=panic)
            if code != filters.KEEP:
                continue
            attempt = self._feedback.begin(forecast, force=panic, blocks=plan.profile.blocks)
            if attempt is not None:
                return attempt
        return None

    def _following(
        self, queue: list[Forecast], plan: Plan, attempts: list[AttemptOutcome], error: BackendError
    ) -> Attempt | None:
        """The next attempt, if attempts, budget and candidates are left."""
        if len(attempts) >= plan.attempts:
            return None
        tried = {a.backend for a in attempts}
        window = 0
        if isinstance(error, ContextTooLong):
            window = max(f.row.context_tokens for f in plan.ranking.ordered if f.row.id in tried)
        queue[:] = [f for f in queue if f.row.id not in tried and not 0 < f.row.context_tokens <= window]
        if not queue or not self._budget.withdraw(self._feedback.clock.monotonic()):
            return None
        return self._next(queue, plan)

    def _resume(
        self,
        asked: GenerateRequest,
        wanted: RequestProfile,
        sent: Transcript,
        attempts: list[AttemptOutcome],
    ) -> tuple[StreamBreakAction, GenerateRequest, Plan, list[Forecast]] | None:
        """What a stream that broke after its first token goes on with; None when it may not go on."""
        action = wanted.on_stream_break
        avoid = frozenset(a.backend for a in attempts)
        if action is StreamBreakAction.RESTART:
            sent.clear()
            again = self._decider.plan(wanted, avoid=avoid)
            return action, asked, again, list(again.ranking.ordered)
        if action is StreamBreakAction.CONTINUE:
            rest = continued_request(asked, sent)
            if rest is not None:
                again = self._decider.plan(continued_profile(wanted, rest, sent), avoid=avoid)
                return action, rest, again, list(again.ranking.ordered)
        return None

    async def _attempt(
        self, attempt: Attempt, request: GenerateRequest, profile: RequestProfile, policy: DispatchPolicy
    ) -> AsyncGenerator[Chunk]:
        """Yields the chunks of one attempt that hold output for the caller."""
        adapter = attempt.member.adapter
        assert adapter is not None  # noqa: S101 - Feedback.begin gives no attempt without one
        clock = self._feedback.clock
        deadline = profile.deadline_s if profile.deadline_s is not None else math.inf
        patience = attempt.row.backend.first_token_timeout_s or policy.first_token_timeout_s
        request = charged_by(request, attempt.forecast)
        stream = adapter.generate(request, upstream_model=attempt.row.upstream_model, request_id=profile.request_id)
        watchdog = Watchdog(clock, min(attempt.started_at + patience, deadline))
        try:
            async with aclosing(stream):
                while True:
                    try:
                        chunk = await watchdog.wait(anext(stream, None))
                    except TimeoutError:
                        if clock.monotonic() >= deadline:
                            raise DeadlineExceeded(conclude.late(attempt, profile)) from None
                        what = "no first token" if attempt.first_at < 0.0 else "silence in the stream"
                        raise TimedOut(f"{what} within {patience:g} s") from None
                    if chunk is None:
                        break
                    if attempt.take(chunk):
                        yield chunk
                        patience = policy.idle_timeout_s
                        watchdog.move(min(clock.monotonic() + patience, deadline))
        finally:
            watchdog.close()
        if not attempt.finish_reason:
            if attempt.first_at >= 0.0:
                raise StreamBroken("the answer ended without saying why")
            raise ProtocolViolation("the answer ended before it began")


def charged_by(request: GenerateRequest, forecast: Forecast) -> GenerateRequest:
    """The request as it is to be charged: with the service that it was priced for, where the backend has its price.

    A batch price is one of the place where a request goes, not of a word in it.
    """
    service = forecast.service
    if not service or service == BATCH or service not in forecast.row.rates:
        return request
    return msgspec.structs.replace(request, service_tier=service)
