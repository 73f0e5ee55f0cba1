"""Records how each attempt went, exactly once, whatever ended it: the belief about speed, the circuit, money, metrics.

`begin` reserves the work in this replica's view of the load and hands out an `Attempt`; its `close` gives it back. A
second close does nothing, so `finally` is always safe.
"""

from __future__ import annotations

import math

from backends.contract import Chunk, Usage
from backends.errors import BackendError, QuotaExhausted, TimedOut
from router.clock import Clock
from router.dispatch.affinity import Affinity
from router.dispatch.fleet import Fleet, Member
from router.dispatch.learner import STREAMED_S, Learner
from router.dispatch.loads import Busy
from router.dispatch.passive import Passive
from router.dispatch.signals import hear
from router.dispatch.traffic import Traffic
from router.domain.outcome import AttemptOutcome, TokenUsage
from router.domain.rows import Forecast, Row
from router.prediction import money
from router.prediction.learning import LATE_SD
from router.prediction.output_length import OutputLength
from router.telemetry.metrics import Metrics

# How long a backend that says "too much" without saying for how long is left alone.
RATE_LIMITED_S = 1.0
OVERLOADED_S = 0.25
QUOTA_S = 60.0
MAX_LEFT_ALONE_S = 300.0
# When an attempt was looked at on its way, and the events that had come by then; the last two times.
UNMARKED = ((-1.0, 0), (-1.0, 0))
# Results that are no evidence about the backend's health.
CANCELLED = "CANCELLED"
DEADLINE = "DEADLINE_EXCEEDED"
OK = "OK"
# Results that say no more than that it took too long.
TOO_LONG = frozenset({CANCELLED, DEADLINE, TimedOut.code})


class Attempt:
    """One try at one backend. Times come from the feedback's clock.

    `late_at` is the 95 % quantile of when its first token was expected; `streamed`: more tokens came after the first;
    `marks` are the learner's.
    """

    def __init__(
        self,
        feedback: Feedback,
        forecast: Forecast,
        member: Member,
        *,
        permitted: bool,
        blocks: tuple[int, ...] = (),
    ) -> None:
        self.forecast = forecast
        self.blocks = blocks
        self.member = member
        self.row: Row = forecast.row
        self.started_at = feedback.clock.monotonic()
        self.first_at = -1.0
        self.last_at = -1.0
        self.events = 0
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.stop_sequence = ""
        self.upstream_queue_s: float | None = None
        self.upstream_prefill_s: float | None = None
        self.outcome: AttemptOutcome | None = None
        self._feedback = feedback
        self._permitted = permitted
        self._prefilling = forecast.fresh_tokens
        sd = forecast.ttft_sd
        # By what has ended: what others that wait still say now must not excuse this one.
        beyond = LATE_SD * sd - 0.5 * sd * sd - self.row.learned.ttft.shift
        self.late_at = self.started_at + forecast.ttft_s * math.exp(beyond)
        self.streamed = False
        self.marks = UNMARKED
        live = self.row.live
        feedback.busy.start(self.row.id, live, worth_usd_per_s=forecast.worth_usd_per_s)
        live.prefill_tokens += self._prefilling
        feedback.fleet.touched(self.row.id)

    def take(self, chunk: Chunk) -> bool:
        """Notes what a chunk says; True when it holds output for the caller."""
        if chunk.signals is not None:
            hear(self.row.live, chunk.signals, self._feedback.clock.monotonic())
        # A block of reasoning may hold nothing but its vendor's signature; the caller needs it all the same.
        has_output = chunk.events > 0 or bool(chunk.signed)
        if has_output:
            now = self._feedback.clock.monotonic()
            if self.first_at < 0.0:
                self.first_at = now
                self._end_prefill()
                self._feedback.learner.answered(self)
                self._feedback.fleet.touched(self.row.id)
                self._feedback.was_read(self, now)
            elif not self.streamed and now - self.first_at >= STREAMED_S:
                self.streamed = True
                self._feedback.learner.streamed(self, now)
            self.last_at = now
            self.events += chunk.events
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason.value
            self.stop_sequence = chunk.stop_sequence or ""
        if chunk.timings is not None:
            self.upstream_queue_s = chunk.timings.queue_s
            self.upstream_prefill_s = chunk.timings.prefill_s
        return has_output

    def close(self, result: str, error: BackendError | None = None) -> AttemptOutcome:
        """Ends the attempt. The first call counts; later ones return its outcome."""
        if self.outcome is None:
            self._end_prefill()
            self._feedback.busy.end(self.row.id, self.row.live, worth_usd_per_s=self.forecast.worth_usd_per_s)
            self.outcome = self._feedback.record(self, result, error)
            self._feedback.fleet.touched(self.row.id)
        return self.outcome

    def token_usage(self) -> TokenUsage:
        """What the backend counted; what was seen on the wire where it counted nothing."""
        usage = self.usage
        if usage is None or (usage.output == 0 and self.events):
            fed = int(self.forecast.input_tokens) if self.first_at >= 0.0 else 0
            return TokenUsage(input=fed, output=self.events, estimated=True)
        return TokenUsage(
            input=usage.input or int(self.forecast.input_tokens),
            cached_input=usage.cached_input,
            cache_write_input=usage.cache_write_input,
            output=usage.output,
            reasoning=usage.reasoning,
            estimated=usage.estimated or usage.input == 0,
        )

    def _end_prefill(self) -> None:
        live = self.row.live
        live.prefill_tokens = max(0.0, live.prefill_tokens - self._prefilling)
        self._prefilling = 0.0


class Feedback:
    """Where every outcome ends up.

    Attributes:
        fleet: what is told when a backend's load or belief changes.
        busy: the backends that this replica has work on, for the other replicas.
        passive: how attempts went lately, for the health that all replicas agree on.
        traffic: what each backend did lately, for people.
        learner: what attempts teach about speed and length.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        lengths: OutputLength,
        metrics: Metrics,
        clock: Clock,
        traffic: Traffic | None = None,
        affinity: Affinity | None = None,
    ) -> None:
        self.clock = clock
        self.traffic = traffic if traffic is not None else Traffic(now=clock.monotonic())
        self.busy = Busy()
        self.passive = Passive()
        self.learner = Learner(fleet=fleet, lengths=lengths)
        self._affinity = affinity
        self.fleet = fleet
        self._metrics = metrics

    def tick(self, now: float) -> None:
        """To be called a few times a second: what attempts say that have not ended, and what time alone changes."""
        self.learner.tick(now)

    def begin(
        self, forecast: Forecast, *, force: bool = False, seen: bool = True, blocks: tuple[int, ...] = ()
    ) -> Attempt | None:
        """Starts an attempt; None when the circuit of the backend does not permit one.

        `force` is for the case that every backend looks sick: then a closed door helps nobody. `seen` is False where
        the tokens go past this router, so that their absence means nothing. `blocks` are those of the prompt.
        """
        member = self.fleet.members.get(forecast.row.id)
        if member is None or member.adapter is None:
            return None
        now = self.clock.monotonic()
        permitted = member.breaker.permit(now)
        if not permitted and not force:
            return None
        member.rate_limit.refill(now)
        member.rate_limit.spend(forecast.input_tokens, forecast.output_tokens)
        attempt = Attempt(self, forecast, member, permitted=permitted, blocks=blocks)
        if seen:
            self.learner.begun(attempt)
        return attempt

    def record(self, attempt: Attempt, result: str, error: BackendError | None) -> AttemptOutcome:
        """Takes one ended attempt into account; called by `Attempt.close` alone."""
        now = self.clock.monotonic()
        row = attempt.row
        usage = attempt.token_usage()
        ttft = attempt.first_at - attempt.started_at if attempt.first_at >= 0.0 else None
        tpot = None
        if ttft is not None and usage.output > 1 and attempt.last_at > attempt.first_at:
            tpot = (attempt.last_at - attempt.first_at) / (usage.output - 1)
        if error is not None and error.signals is not None:
            hear(row.live, error.signals, now)
        self._judge(attempt, result, error, now)
        if result == OK:
            self.learner.done(attempt, usage, tpot, now)
        else:
            self.learner.gone(attempt, now, patient=result in TOO_LONG)
        self._remember(attempt, result, error, now)
        bill = self._bill(attempt.forecast, usage, tpot or attempt.forecast.tpot_s)
        outcome = AttemptOutcome(
            backend=row.id,
            model=row.model,
            result=result,
            detail=error.message if error is not None else "",
            duration_s=now - attempt.started_at,
            ttft_s=ttft,
            tpot_s=tpot,
            usage=usage,
            cost_usd=bill.cost_usd,
            cost_amortised_usd=bill.amortised_usd,
            energy_j=bill.energy_j,
            carbon_g=bill.carbon_g,
            counts_against_health=error.counts_against_health if error is not None else False,
            retry_after_s=error.retry_after_s if error is not None else None,
        )
        # A backend that was removed meanwhile has no series any more, and must not get new ones that nobody removes.
        if row.id in self.fleet.members:
            self.traffic.record(attempt.forecast, outcome, now)
            self._metrics.attempt(outcome)
            if result == OK:
                self._metrics.predicted(outcome, ttft_s=attempt.forecast.ttft_s, tpot_s=attempt.forecast.tpot_s)
        return outcome

    def was_read(self, attempt: Attempt, now: float) -> None:
        """The first token came: the backend has the whole prompt in its cache."""
        if attempt.blocks and self._affinity is not None:
            self._affinity.read(attempt.row, attempt.blocks, now)

    def _remember(self, attempt: Attempt, result: str, error: BackendError | None, now: float) -> None:
        affinity, forecast = self._affinity, attempt.forecast
        if affinity is None:
            return
        if error is not None:
            affinity.failed(attempt.row, attempt.blocks, error)
        elif result == OK and attempt.blocks:
            if attempt.events == 0:  # of a pick: its tokens went past this router
                affinity.read(attempt.row, attempt.blocks, now)
            if attempt.usage is not None:
                affinity.told(attempt.row, forecast.input_tokens - forecast.fresh_tokens, attempt.usage, now)

    def _judge(self, attempt: Attempt, result: str, error: BackendError | None, now: float) -> None:
        breaker = attempt.member.breaker
        if error is None:
            if result == OK:
                breaker.success(now)
                self.passive.ok(attempt.row.id, now)
            else:
                breaker.no_verdict()
            return
        if error.counts_against_health:
            breaker.failure(now)
            self.passive.failed(attempt.row.id, now, error.code)
        else:
            breaker.no_verdict()
        pause = error.retry_after_s
        if error.code == "RATE_LIMITED":
            pause = RATE_LIMITED_S if pause is None else pause
        elif error.code in {"OVERLOADED", "WARMING"}:
            pause = OVERLOADED_S if pause is None else pause
        elif error.code == QuotaExhausted.code:
            pause = QUOTA_S if pause is None else max(pause, QUOTA_S)
        if pause is not None:
            live = attempt.row.live
            live.limited_until = max(live.limited_until, now + min(pause, MAX_LEFT_ALONE_S))

    @staticmethod
    def _bill(forecast: Forecast, usage: TokenUsage, tpot_s: float) -> money.Bill:
        """What was really used, by the same rules as the forecast; nothing where nothing was."""
        if usage.input == 0 and usage.output == 0:
            return money.Bill(cost_usd=0.0, amortised_usd=0.0, energy_j=0.0, carbon_g=0.0)
        return money.bill(
            forecast,
            prompt=usage.input,
            cached=usage.cached_input,
            written=usage.cache_write_input,
            output=usage.output,
            tpot_s=tpot_s,
        )
